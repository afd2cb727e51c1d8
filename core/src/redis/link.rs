//! The connections of one session: one, or one to each master of a cluster.

use std::pin::pin;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use futures_util::future::{join_all, try_join_all};
use redis::{Pipeline, Value};
use sha1::{Digest, Sha1};
use tokio::runtime::Handle;

use super::bulk::Bulk;
use super::error::LinkError;
use super::node::{Connection, Heartbeat};
use super::slots::{SLOTS, read_redirection, slot_of};
use super::wire;
use crate::protocol::{Command, Master, Reply};

/// The connections of one session, from setup until they are given up.
pub(crate) struct Link {
    /// The number of the session, which is never used again.
    pub(crate) session: u64,
    pub(crate) nodes: Vec<Server>,
    routes: Option<RwLock<Box<[u16; SLOTS]>>>,
    /// Whether a push comes before replies that already show the change.
    pub(crate) is_causal: bool,
    /// The fingerprint of the servers: the same servers have the same one.
    pub(crate) fingerprint: [u8; FINGERPRINT_LEN],
    /// The master that the sentinels named during setup.
    pub(crate) master: Option<Arc<Master>>,
    limit: Duration,
    handle: Handle,
}

/// One of the servers.
#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) connection: Connection,
    /// The connection for large values.
    pub(crate) bulk: Arc<Bulk>,
    /// Its identity, which changes if it goes back in time.
    pub(crate) id: String,
    /// Its data during setup.
    pub(crate) data: String,
}

/// The servers of a session.
pub(crate) struct Topology {
    pub(crate) nodes: Vec<Server>,
    /// The server of each slot of a cluster, by its position.
    pub(crate) routes: Option<Box<[u16; SLOTS]>>,
    /// Whether each server sends a push before replies that already show the change.
    pub(crate) is_causal: bool,
}

/// The length of a server fingerprint.
pub(crate) const FINGERPRINT_LEN: usize = 8;

/// How many redirections are followed for one command.
const MOST_REDIRECTIONS: usize = 8;

impl Link {
    /// A session over these servers. It belongs to the runtime that this is called in.
    pub(crate) fn new(
        session: u64,
        topology: Topology,
        master: Option<Arc<Master>>,
        limit: Duration,
    ) -> Self {
        let Topology { nodes, routes, is_causal } = topology;
        Link {
            session,
            // Connections have no order among each other.
            is_causal: is_causal && nodes.len() == 1,
            fingerprint: fingerprint_of(&nodes, master.as_deref()),
            nodes,
            routes: routes.map(RwLock::new),
            master,
            limit,
            handle: Handle::current(),
        }
    }

    /// Whether one command deletes all its keys in one atomic step, and commands are
    /// executed in order.
    pub(crate) fn drops_atomically(&self) -> bool {
        self.routes.is_none() && self.is_causal
    }

    /// Sends commands, in one round trip unless a server redirects. Each server
    /// executes its commands in order.
    pub(crate) async fn run(&self, commands: &[Command]) -> Result<Vec<Reply>, LinkError> {
        if commands.is_empty() {
            return Ok(Vec::new());
        }
        match &self.routes {
            None => self.run_at_one(commands).await,
            Some(routes) => self.in_time(self.run_in_cluster(routes, commands)).await,
        }
    }

    /// [`run`](Self::run) for commands that are encoded already.
    pub(crate) async fn run_ready(
        &self,
        commands: &[Command],
        written: &Pipeline,
    ) -> Result<Vec<Reply>, LinkError> {
        match &self.routes {
            None => self.send_to_one(commands, written).await,
            Some(_) => self.run(commands).await,
        }
    }

    async fn run_at_one(&self, commands: &[Command]) -> Result<Vec<Reply>, LinkError> {
        self.send_to_one(commands, &wire::pipeline(commands)).await
    }

    async fn send_to_one(
        &self,
        commands: &[Command],
        written: &Pipeline,
    ) -> Result<Vec<Reply>, LinkError> {
        // Pinned in place: the future is large, and moving it takes time.
        let sending = pin!(self.nodes[0].connection.send(written, wire::answers(commands)));
        wire::replies(commands, self.in_time(sending).await?)
    }

    /// Sends a heartbeat to all servers. The result has the time of the first server,
    /// and counts from when the earliest was sent. An error if a server has other data
    /// than during setup. A single server also reads the key `everything`; a cluster
    /// has one database, which nobody can exchange.
    pub(crate) async fn heartbeat(&self, everything: &[u8]) -> Result<Heartbeat, LinkError> {
        let everything = self.routes.is_none().then_some(everything);
        let heartbeats = self.nodes.iter().map(|node| node.connection.heartbeat(everything));
        let heartbeats = self.in_time(try_join_all(heartbeats)).await?;
        let is_other = |(node, heartbeat): (&Server, &Heartbeat)| node.data != heartbeat.data;
        if self.nodes.iter().zip(&heartbeats).any(is_other) {
            return Err(LinkError::exchanged("the server's data may have been exchanged"));
        }
        let all = heartbeats.into_iter().reduce(|a, b| Heartbeat { sent: a.sent.min(b.sent), ..a });
        all.ok_or_else(|| LinkError::new("no server"))
    }

    /// Writes a large value by a connection of its own. If the server closes that, the
    /// session goes on.
    pub(crate) async fn store(&self, key: Vec<u8>, value: Vec<u8>, limit: Option<Duration>) {
        let node = match &self.routes {
            None => 0,
            Some(routes) => {
                let routes = routes.read().unwrap_or_else(|poisoned| poisoned.into_inner());
                usize::from(routes[slot_of(&key)])
            }
        };
        let bytes = value.len();
        let mut pipeline = Pipeline::new();
        pipeline.add_command(wire::write(&Command::Set(key, value, limit)));
        self.nodes[node].bulk.send(pipeline, bytes, self.limit, &self.handle).await;
    }

    /// For each server a key that begins with `stem` and that it serves, if there is
    /// one.
    pub(crate) fn a_key_of_each(&self, stem: &str) -> Vec<Vec<u8>> {
        let keys = (0..64 * self.nodes.len()).map(|n| format!("{stem}{n}").into_bytes());
        let Some(routes) = &self.routes else { return keys.take(1).collect() };
        let routes = routes.read().unwrap_or_else(|poisoned| poisoned.into_inner());
        let mut found = vec![None; self.nodes.len()];
        for key in keys {
            if let Some(place) = found.get_mut(usize::from(routes[slot_of(&key)])) {
                place.get_or_insert(key);
            }
        }
        found.into_iter().flatten().collect()
    }

    /// Applies the operation timeout.
    async fn in_time<T>(
        &self,
        work: impl Future<Output = Result<T, LinkError>>,
    ) -> Result<T, LinkError> {
        let timer = {
            let _context = self.handle.enter();
            tokio::time::timeout(self.limit, work)
        };
        timer.await.unwrap_or_else(|_| Err(LinkError::timeout(self.limit)))
    }

    async fn run_in_cluster(
        &self,
        routes: &RwLock<Box<[u16; SLOTS]>>,
        commands: &[Command],
    ) -> Result<Vec<Reply>, LinkError> {
        // A command with several keys is split into one for each key.
        let parts: Vec<(usize, Command)> = commands
            .iter()
            .enumerate()
            .flat_map(|(n, command)| split(command).into_iter().map(move |part| (n, part)))
            .collect();
        let mut replies: Vec<Option<Reply>> = vec![None; commands.len()];
        let places = {
            let routes = routes.read().unwrap_or_else(|poisoned| poisoned.into_inner());
            parts.iter().map(|(_, part)| routes[slot_of(wire::key(part))]).collect::<Vec<u16>>()
        };
        let groups = (0..self.nodes.len()).map(|node| {
            let of_node = |(at, place): (usize, &u16)| (usize::from(*place) == node).then_some(at);
            let members: Vec<usize> = places.iter().enumerate().filter_map(of_node).collect();
            let parts = &parts;
            async move {
                let mut pipeline = Pipeline::with_capacity(members.len());
                let mut answers = 0;
                members.iter().for_each(|at| {
                    let part = &parts[*at].1;
                    wire::add(&mut pipeline, part, wire::write(part));
                    answers += wire::answers_to(part);
                });
                let mut values = match members.is_empty() {
                    true => Vec::new().into_iter(),
                    false => {
                        self.nodes[node].connection.send(&pipeline, answers).await?.into_iter()
                    }
                };
                let answer =
                    |at: usize| Some((at, values.nth(wire::answers_to(&parts[at].1) - 1)?));
                Ok::<_, LinkError>(members.into_iter().map_while(answer).collect::<Vec<_>>())
            }
        });
        for group in join_all(groups).await {
            for (at, value) in group? {
                let (n, part) = &parts[at];
                let asked = usize::from(places[at]);
                let reply = self.follow(routes, part, asked, value).await?;
                merge(&mut replies[*n], reply);
            }
        }
        let whole: Option<Vec<Reply>> = replies.into_iter().collect();
        whole.ok_or_else(|| LinkError::new("an answer is missing"))
    }

    /// Follows redirections of a command that the server `asked` has answered.
    async fn follow(
        &self,
        routes: &RwLock<Box<[u16; SLOTS]>>,
        command: &Command,
        mut asked: usize,
        mut value: Value,
    ) -> Result<Reply, LinkError> {
        for _ in 0..MOST_REDIRECTIONS {
            let Some(to) = read_redirection(&value) else {
                return wire::reply(command, value);
            };
            let host = to.host.unwrap_or(&self.nodes[asked].host);
            let is_it = |node: &Server| node.port == to.port && node.host == host;
            let Some(node) = self.nodes.iter().position(is_it) else {
                return Err(LinkError::new(format!(
                    "the cluster has a server that is not known yet: {host}:{}",
                    to.port
                )));
            };
            let mut pipeline = Pipeline::new();
            if let Some(slot) = to.moved {
                let mut routes = routes.write().unwrap_or_else(|poisoned| poisoned.into_inner());
                routes[slot] = node as u16;
            } else {
                pipeline.cmd("ASKING");
            }
            pipeline.add_command(wire::write(command));
            let answers = if to.moved.is_some() { 1 } else { 2 };
            let values = self.nodes[node].connection.send(&pipeline, answers).await?;
            value = values.into_iter().next_back().unwrap_or(Value::Nil);
            asked = node;
        }
        Err(LinkError::new("the cluster redirects a command without end"))
    }
}

/// The epoch of the sentinels is part of it: a master that was deposed, was never told,
/// and is promoted again has the same ids, and lacks the invalidations in between.
fn fingerprint_of(nodes: &[Server], master: Option<&Master>) -> [u8; FINGERPRINT_LEN] {
    let epoch = master.map(|master| master.epoch.to_string());
    let mut ids: Vec<&str> = nodes.iter().map(|node| node.id.as_str()).collect();
    ids.sort_unstable();
    ids.extend(epoch.as_deref());
    let digest: [u8; 20] = Sha1::digest(ids.join(",").as_bytes()).into();
    std::array::from_fn(|n| digest[n])
}

/// Splits a command into one for each key.
fn split(command: &Command) -> Vec<Command> {
    match command {
        Command::Unlink(keys) => {
            keys.iter().map(|key| Command::Unlink(vec![key.clone()])).collect()
        }
        other => vec![other.clone()],
    }
}

/// Adds the reply to a part of a command to the replies before.
fn merge(whole: &mut Option<Reply>, part: Reply) {
    *whole = Some(match (whole.take(), part) {
        (Some(Reply::Count(a)), Reply::Count(b)) => Reply::Count(a + b),
        (Some(Reply::Refused(error)), _) => Reply::Refused(error),
        (_, part) => part,
    });
}
