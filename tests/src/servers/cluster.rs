//! A cluster: masters that share the slots, and replicas of them.

use super::server::{REPLY, field};
use super::slots::{Known, known, slot_of};
use super::wire::Reply;
use super::{Options, PATIENCE, Server, wait_at_most};

const SLOTS: usize = 16_384;

/// A cluster without passwords. Its first nodes are the masters, in the order
/// of their slots, then come their replicas, in the same order.
#[derive(Debug)]
pub struct Cluster {
    nodes: Vec<Server>,
    ids: Vec<String>,
}

impl Cluster {
    /// So many masters, of Redis; three at least make a cluster that decides.
    ///
    /// # Panics
    ///
    /// If they do not become one.
    pub fn start(masters: usize) -> Cluster {
        Cluster::start_with(masters, 0, |options| options)
    }

    /// So many masters with a replica each, which follows when its master is
    /// killed.
    ///
    /// # Panics
    ///
    /// If they do not become one.
    pub fn start_with_replicas(masters: usize) -> Cluster {
        Cluster::start_with(masters, 1, |options| options)
    }

    /// So many masters with so many replicas each; `setup` has the last word
    /// on the settings of each node, but for TLS and passwords.
    ///
    /// # Panics
    ///
    /// If they do not become one.
    pub fn start_with(
        masters: usize,
        replicas: usize,
        setup: impl Fn(Options) -> Options,
    ) -> Cluster {
        let node = |_| setup(Server::options().cluster_node()).start();
        let nodes: Vec<Server> = (0..masters * (replicas + 1)).map(node).collect();
        let ids = nodes.iter().map(|node| order(node, &["CLUSTER", "MYID"])).collect();
        let cluster = Cluster { nodes, ids };
        cluster.share_slots(masters);
        cluster.introduce();
        cluster.wait_until("know each other", || cluster.all_know_all());
        cluster.replicate(masters);
        cluster.wait_until_ok();
        cluster
    }

    fn share_slots(&self, masters: usize) {
        for (index, node) in self.nodes[..masters].iter().enumerate() {
            let first = (index * SLOTS / masters).to_string();
            let last = ((index + 1) * SLOTS / masters - 1).to_string();
            order(node, &["CLUSTER", "ADDSLOTSRANGE", &first, &last]);
        }
    }

    fn introduce(&self) {
        for (index, node) in self.nodes.iter().enumerate() {
            // Epochs of their own: there is no conflict to settle.
            order(node, &["CLUSTER", "SET-CONFIG-EPOCH", &(index + 1).to_string()]);
        }
        for (index, node) in self.nodes.iter().enumerate() {
            for other in &self.nodes[..index] {
                order(node, &["CLUSTER", "MEET", "127.0.0.1", &other.port().to_string()]);
            }
        }
    }

    fn all_know_all(&self) -> bool {
        self.nodes.iter().all(|node| {
            let known = known(node);
            known.len() == self.nodes.len() && !known.iter().any(|known| known.is("handshake"))
        })
    }

    fn replicate(&self, masters: usize) {
        for (index, node) in self.nodes.iter().enumerate().skip(masters) {
            order(node, &["CLUSTER", "REPLICATE", &self.ids[index % masters]]);
        }
    }

    /// Where clients find its nodes.
    pub fn urls(&self) -> Vec<String> {
        self.nodes.iter().map(Server::url).collect()
    }

    /// All nodes: masters first, then replicas, as they were at the start.
    pub fn nodes(&self) -> &[Server] {
        &self.nodes
    }

    /// One node, to command, kill, stop or restart.
    ///
    /// # Panics
    ///
    /// If there are not so many.
    pub fn node(&self, index: usize) -> &Server {
        &self.nodes[index]
    }

    /// The slot of a key.
    pub fn slot_of(key: &str) -> u16 {
        slot_of(key)
    }

    /// The node that has a slot, as the first node sees it that runs.
    ///
    /// # Panics
    ///
    /// If nobody has it.
    pub fn owner_of(&self, slot: u16) -> usize {
        let node = self.going().next().expect("a node runs");
        let owner = self.owner_for(node, slot);
        owner.unwrap_or_else(|| panic!("slot {slot} has no owner:\n{}", node.log()))
    }

    fn owner_for(&self, node: &Server, slot: u16) -> Option<usize> {
        let owner = known(node).into_iter().find(|known| known.has(slot))?;
        self.ids.iter().position(|id| *id == owner.id)
    }

    fn going(&self) -> impl Iterator<Item = &Server> {
        self.nodes.iter().filter(|node| node.is_going())
    }

    /// Moves a slot with its keys, and returns when all nodes that run know.
    ///
    /// # Panics
    ///
    /// If `from` does not have it.
    pub fn move_slot(&self, slot: u16, from: usize, to: usize) {
        self.begin_move(slot, from, to);
        self.finish_move(slot, from, to);
    }

    /// Begins to move a slot: `from` answers ASK for keys that it does not
    /// have, `to` takes them, and no key has moved yet.
    ///
    /// # Panics
    ///
    /// If `from` does not have it.
    pub fn begin_move(&self, slot: u16, from: usize, to: usize) {
        let slot = slot.to_string();
        order(&self.nodes[to], &["CLUSTER", "SETSLOT", &slot, "IMPORTING", &self.ids[from]]);
        order(&self.nodes[from], &["CLUSTER", "SETSLOT", &slot, "MIGRATING", &self.ids[to]]);
    }

    /// Moves the keys of a slot after [`Cluster::begin_move`], then the slot.
    ///
    /// # Panics
    ///
    /// If the move has not begun.
    pub fn finish_move(&self, slot: u16, from: usize, to: usize) {
        while self.move_keys(slot, from, to) {}
        let name = slot.to_string();
        let tell = |node| order(node, &["CLUSTER", "SETSLOT", &name, "NODE", &self.ids[to]]);
        tell(&self.nodes[to]);
        tell(&self.nodes[from]);
        self.wait_until("know of a move", || {
            self.going().all(|node| self.owner_for(node, slot) == Some(to))
        });
    }

    /// Moves some keys of a slot; whether there were any.
    fn move_keys(&self, slot: u16, from: usize, to: usize) -> bool {
        let (from, port) = (&self.nodes[from], self.nodes[to].port().to_string());
        let keys =
            binary(from, &[b"CLUSTER", b"GETKEYSINSLOT", slot.to_string().as_bytes(), b"100"]);
        let Reply::Array(keys) = keys else { panic!("GETKEYSINSLOT answered {keys:?}") };
        let mut command: Vec<&[u8]> = vec![b"MIGRATE", b"127.0.0.1", port.as_bytes(), b"", b"0"];
        command.extend([&b"5000"[..], b"REPLACE", b"KEYS"]);
        command.extend(keys.iter().filter_map(Reply::bytes));
        if keys.is_empty() {
            return false;
        }
        binary(from, &command);
        true
    }

    /// Waits until all nodes that run say that the cluster is well, agree on
    /// the slots, and replicas are connected. What was killed just now may not
    /// be missed yet: see [`Cluster::wait_for_failover`].
    ///
    /// # Panics
    ///
    /// If that does not happen within [`PATIENCE`].
    pub fn wait_until_ok(&self) {
        self.wait_until("become a cluster", || self.is_ok());
    }

    fn is_ok(&self) -> bool {
        let mut views = self.going().map(owners);
        let first = views.next();
        views.all(|view| Some(view) == first) && self.going().all(is_well)
    }

    /// Waits until nobody believes that `node`, which was killed or
    /// stopped, has slots, and the cluster is well again.
    ///
    /// # Panics
    ///
    /// If that does not happen within [`PATIENCE`].
    pub fn wait_for_failover(&self, node: usize) {
        let id = &self.ids[node];
        let believes = |at: &Server| {
            at.port() != self.nodes[node].port()
                && known(at).iter().any(|known| known.id == *id && !known.slots.is_empty())
        };
        self.wait_until("miss a node", || !self.going().any(believes));
        self.wait_until_ok();
    }

    fn wait_until(&self, what: &str, ready: impl FnMut() -> bool) {
        let logs = || self.nodes.iter().map(Server::log).collect::<Vec<_>>().join("\n\n");
        assert!(wait_at_most(PATIENCE, ready), "nodes do not {what}:\n{}", logs());
    }
}

/// A command that must succeed.
fn order(node: &Server, command: &[&str]) -> String {
    node.command(command).unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

/// As [`order`], of bytes.
fn binary(node: &Server, command: &[&[u8]]) -> Reply {
    let text = || String::from_utf8_lossy(&command.join(&b' ')).into_owned();
    match node.reply(REPLY, command) {
        Ok(Reply::Error(error)) => panic!("{}: {error}", text()),
        Ok(reply) => reply,
        Err(error) => panic!("{}: {error}", text()),
    }
}

/// Who has which slots, for a node.
fn owners(node: &Server) -> Vec<Known> {
    let mut owners = known(node);
    owners.retain(|known| !known.slots.is_empty());
    owners.sort_by(|a, b| a.slots.cmp(&b.slots));
    owners.iter_mut().for_each(|known| known.flags.clear());
    owners
}

fn is_well(node: &Server) -> bool {
    let Ok(info) = node.command(&["CLUSTER", "INFO"]) else { return false };
    let Ok(replication) = node.command(&["INFO", "replication"]) else { return false };
    field(&info, "cluster_state") == Some("ok")
        && field(&replication, "master_link_status").is_none_or(|status| status == "up")
}
