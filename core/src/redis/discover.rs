//! Finding the servers and connecting to them.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use redis::{PushInfo, cmd};
use tokio::runtime::Handle;

use super::bulk::Bulk;
use super::door::Door;
use super::link::{Link, Server};
use super::node::Identity;
use super::options::{Redis, Servers};
use super::rights::Rights;
use super::sentinels::Sentinels;
use super::slots::{Range, SLOTS, read_slots};
use super::{Unfit, Why};
use crate::protocol::{Decision, Master};

/// What hears the pushes of a session.
pub(crate) type OnPush = Arc<dyn Fn(u64, PushInfo) + Send + Sync>;

/// Where to look for the servers.
pub(crate) struct Discovery {
    doors: Vec<Door>,
    kind: Kind,
    operation_timeout: Duration,
    is_strict: bool,
    rights: Rights,
    /// Whether the user was found to have them, which is asked until then.
    has_rights: AtomicBool,
    on_push: OnPush,
}

enum Kind {
    One,
    Cluster,
    Sentinel { master: String, sentinels: Vec<Door> },
}

impl Discovery {
    pub(crate) fn new(options: &Redis, rights: Rights, on_push: OnPush) -> Result<Self, Unfit> {
        let (tls, credentials) = (&options.tls, options.credentials.as_ref());
        let door = |url: &String| Door::new(url, tls, credentials, options.connect_timeout);
        let (doors, kind) = match &options.servers {
            Servers::One(url) => (vec![door(url)?], Kind::One),
            Servers::Cluster(urls) => {
                (urls.iter().map(door).collect::<Result<_, _>>()?, Kind::Cluster)
            }
            Servers::Sentinel { master, sentinels } => {
                let doors: Vec<Door> = sentinels.iter().map(door).collect::<Result<_, _>>()?;
                let sentinels = doors.iter().map(|door| options.of_sentinel(door)).collect();
                let doors = doors.iter().map(|door| options.of_master(door)).collect();
                (doors, Kind::Sentinel { master: master.clone(), sentinels })
            }
        };
        let sentinels = match &kind {
            Kind::Sentinel { sentinels, .. } => sentinels.as_slice(),
            _ => &[],
        };
        let is_tls = doors.iter().chain(sentinels).any(Door::is_tls);
        options.check_tls(is_tls, sentinels.iter().any(Door::is_tls))?;
        if is_tls {
            install_tls();
        }
        let (operation_timeout, is_strict) = (options.operation_timeout, options.is_strict());
        let has_rights = AtomicBool::new(false);
        Ok(Discovery { doors, kind, operation_timeout, is_strict, rights, has_rights, on_push })
    }

    /// Connects to all servers that take part; to the master that `sentinels`
    /// name, where there are any.
    pub(crate) async fn link(
        &self,
        session: u64,
        sentinels: Option<&Sentinels>,
    ) -> Result<Link, Unfit> {
        let master = match sentinels {
            Some(sentinels) => Some(named(sentinels).await?),
            None => None,
        };
        let (nodes, routes, is_causal) = match (&self.kind, &master) {
            (Kind::Cluster, _) => {
                let (nodes, routes) = self.cluster(session).await?;
                (nodes, Some(routes), false)
            }
            (_, Some(master)) => {
                let door = self.doors[0].at(&master.host, master.port);
                let (server, is_causal) =
                    self.join(session, &door, &master.host, master.port).await?;
                (vec![server], None, is_causal)
            }
            _ => {
                let (server, is_causal) = self.join(session, &self.doors[0], "", 0).await?;
                (vec![server], None, is_causal)
            }
        };
        self.has_rights.store(true, Ordering::Relaxed);
        let limit = self.operation_timeout;
        let link = Link::new(session, nodes, routes, is_causal, limit, Handle::current());
        Ok(link.of_master(master))
    }

    /// Asks the sentinels whenever a caller wants it, without end.
    pub(crate) async fn serve(&self, sentinels: Arc<Sentinels>) {
        if let Kind::Sentinel { master, sentinels: doors } = &self.kind {
            sentinels.serve(doors.clone(), master.clone(), self.operation_timeout).await;
        }
    }

    /// Connects to a server that is to be written to.
    async fn join(
        &self,
        session: u64,
        door: &Door,
        host: &str,
        port: u16,
    ) -> Result<(Server, bool), Unfit> {
        let on_push = self.on_push.clone();
        let connection = door.open(move |push| on_push(session, push)).await?;
        if door.names_a_user() && !self.has_rights.load(Ordering::Relaxed) {
            let is_cluster = matches!(self.kind, Kind::Cluster);
            self.rights.check(&connection, door.host(), door.user(), is_cluster).await?;
        }
        connection.track().await?;
        let identity = connection.identify().await?;
        identity.check(door.host(), self.is_strict)?;
        let bulk = Arc::new(Bulk::new(door.clone()));
        let Identity { id, data, .. } = identity;
        let server = Server { host: host.to_owned(), port, connection, bulk, id, data };
        Ok((server, identity.is_causal))
    }

    /// Connects to all masters of a cluster, told by the first node that
    /// answers.
    async fn cluster(&self, session: u64) -> Result<(Vec<Server>, Box<[u16; SLOTS]>), Unfit> {
        let mut last = Unfit::away("no node answers");
        for door in &self.doors {
            match self.ask_for_slots(door).await {
                Ok(ranges) => return self.join_all(session, door, &ranges).await,
                Err(unfit) => last = unfit,
            }
        }
        Err(last)
    }

    async fn ask_for_slots(&self, door: &Door) -> Result<Vec<Range>, Unfit> {
        let connection = door.open(|_| {}).await?;
        let slots = connection.ask(&cmd("CLUSTER").arg("SLOTS").to_owned()).await;
        let slots = slots.map_err(|why| {
            Unfit::server(format!(
                "{} is no node of a cluster ({why}): `Redis::url` is for a single server",
                door.host()
            ))
        })?;
        read_slots(&slots).ok_or_else(|| Unfit::away("not all slots of the cluster are served"))
    }

    async fn join_all(
        &self,
        session: u64,
        seed: &Door,
        ranges: &[Range],
    ) -> Result<(Vec<Server>, Box<[u16; SLOTS]>), Unfit> {
        let mut places: HashMap<(String, u16), u16> = HashMap::new();
        let mut servers = Vec::new();
        let mut routes = Box::new([0; SLOTS]);
        for range in ranges {
            let host = range.host.as_deref().unwrap_or(seed.host());
            let place = match places.get(&(host.to_owned(), range.port)) {
                Some(place) => *place,
                None => {
                    let door = seed.at(host, range.port);
                    servers.push(self.join(session, &door, host, range.port).await?.0);
                    let place = (servers.len() - 1) as u16;
                    places.insert((host.to_owned(), range.port), place);
                    place
                }
            };
            let Some(slots) = routes.get_mut(range.from..=range.to) else {
                return Err(Unfit::away("the cluster tells of slots that there are not"));
            };
            slots.fill(place);
        }
        Ok((servers, routes))
    }
}

/// The master that a majority of the sentinels names.
async fn named(sentinels: &Sentinels) -> Result<Arc<Master>, Unfit> {
    match sentinels.decided(sentinels.ask()).await {
        Decision::Named(master) => Ok(master),
        Decision::Divided(nothing) if nothing.is_lasting => Err(Unfit::config(nothing.why)),
        Decision::Divided(nothing) => Err(Unfit::away(nothing.why)),
    }
}

/// TLS needs a provider of cryptography, and takes the one that the process
/// has chosen; where none is, this one.
fn install_tls() {
    #[cfg(feature = "redis-tls")]
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // Another may be chosen at this moment, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
}

impl From<Unfit> for Why {
    fn from(unfit: Unfit) -> Self {
        Why::new(unfit.text())
    }
}
