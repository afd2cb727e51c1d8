//! Finding the servers and connecting to them.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use redis::{PushInfo, cmd};

use super::bulk::Bulk;
use super::consistency::Consistency;
use super::endpoint::{Endpoint, Transport};
use super::error::SetupError;
use super::identity::Identity;
use super::link::{Link, Server, Topology};
use super::options::Redis;
use super::rights::Rights;
use super::sentinels::{Sentinels, WatchedSentinels};
use super::servers::Servers;
use super::slots::{Range, SLOTS, read_slots};
use crate::protocol::{Decision, Master};

/// Called for each push, with the session of its connection.
pub(crate) type OnPush = Arc<dyn Fn(u64, PushInfo) + Send + Sync>;

/// How to find the servers.
pub(crate) struct Discovery {
    endpoints: Vec<Endpoint>,
    kind: Kind,
    operation_timeout: Duration,
    consistency: Consistency,
    rights: Rights,
    /// Whether the check of the rights has passed; it runs until then.
    has_rights: AtomicBool,
    on_push: OnPush,
}

enum Kind {
    One,
    Cluster,
    Sentinel { master: String, sentinels: Vec<Endpoint> },
}

impl Discovery {
    pub(crate) fn new(
        options: &Redis,
        rights: Rights,
        on_push: OnPush,
    ) -> Result<Self, SetupError> {
        let (tls, credentials) = (&options.tls, options.credentials.as_ref());
        let endpoint = |url: &String| Endpoint::new(url, tls, credentials, options.connect_timeout);
        let (endpoints, kind) = match &options.servers {
            Servers::One(url) => (vec![endpoint(url)?], Kind::One),
            Servers::Cluster(urls) => {
                (urls.iter().map(endpoint).collect::<Result<_, _>>()?, Kind::Cluster)
            }
            Servers::Sentinel { master, sentinels } => {
                let endpoints: Vec<Endpoint> =
                    sentinels.iter().map(endpoint).collect::<Result<_, _>>()?;
                let sentinels =
                    endpoints.iter().map(|endpoint| of_sentinel(options, endpoint)).collect();
                let endpoints =
                    endpoints.iter().map(|endpoint| of_master(options, endpoint)).collect();
                (endpoints, Kind::Sentinel { master: master.clone(), sentinels })
            }
        };
        let sentinels = match &kind {
            Kind::Sentinel { sentinels, .. } => sentinels.as_slice(),
            _ => &[],
        };
        check_tls(options, &endpoints, sentinels)?;
        if endpoints.iter().chain(sentinels).any(Endpoint::is_tls) {
            install_tls();
        }
        let (operation_timeout, consistency) = (options.operation_timeout, options.consistency);
        let rights = match kind {
            Kind::Cluster => rights.in_cluster(),
            _ => rights,
        };
        let has_rights = AtomicBool::new(false);
        Ok(Discovery {
            endpoints,
            kind,
            operation_timeout,
            consistency,
            rights,
            has_rights,
            on_push,
        })
    }

    /// Connects to all servers of a session: to one, to the masters of a cluster, or to
    /// the master that `sentinels` name.
    pub(crate) async fn link(
        &self,
        session: u64,
        sentinels: Option<&Sentinels>,
    ) -> Result<Link, SetupError> {
        let master = match sentinels {
            Some(sentinels) => Some(named(sentinels).await?),
            None => None,
        };
        let topology = match (&self.kind, &master) {
            (Kind::Cluster, _) => self.cluster(session).await?,
            (_, Some(master)) => {
                let endpoint = self.endpoints[0].at(&master.host, master.port);
                self.single(session, &endpoint, &master.host, master.port).await?
            }
            _ => self.single(session, &self.endpoints[0], "", 0).await?,
        };
        self.has_rights.store(true, Ordering::Relaxed);
        Ok(Link::new(session, topology, master, self.operation_timeout))
    }

    async fn single(
        &self,
        session: u64,
        endpoint: &Endpoint,
        host: &str,
        port: u16,
    ) -> Result<Topology, SetupError> {
        let (server, is_causal) = self.join(session, endpoint, host, port).await?;
        Ok(Topology { nodes: vec![server], routes: None, is_causal })
    }

    /// The sentinels to ask, if there are any.
    pub(crate) fn watched_sentinels(&self) -> Option<WatchedSentinels> {
        let Kind::Sentinel { master, sentinels } = &self.kind else { return None };
        let (endpoints, master) = (sentinels.clone(), master.clone());
        Some(WatchedSentinels { endpoints, master, limit: self.operation_timeout })
    }

    /// Connects to a server that the cache writes to, and checks it.
    async fn join(
        &self,
        session: u64,
        endpoint: &Endpoint,
        host: &str,
        port: u16,
    ) -> Result<(Server, bool), SetupError> {
        let on_push = self.on_push.clone();
        let connection = endpoint.open(move |push| on_push(session, push)).await?;
        if endpoint.may_lack_rights() && !self.has_rights.load(Ordering::Relaxed) {
            self.rights.check(&connection, endpoint.host(), endpoint.user()).await?;
        }
        connection.track().await?;
        let identity = connection.identify().await?;
        identity.check(endpoint.host(), self.consistency)?;
        let bulk = Arc::new(Bulk::new(endpoint.clone()));
        let Identity { id, data, .. } = identity;
        let server = Server { host: host.to_owned(), port, connection, bulk, id, data };
        Ok((server, identity.is_causal))
    }

    /// Connects to all masters of a cluster, as the first node that answers lists them.
    async fn cluster(&self, session: u64) -> Result<Topology, SetupError> {
        let mut last = SetupError::unavailable("no node answers");
        for endpoint in &self.endpoints {
            match self.ask_for_slots(endpoint).await {
                Ok(ranges) => return self.join_all(session, endpoint, &ranges).await,
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    async fn ask_for_slots(&self, endpoint: &Endpoint) -> Result<Vec<Range>, SetupError> {
        let connection = endpoint.open(|_| {}).await?;
        let slots = connection.ask(&cmd("CLUSTER").arg("SLOTS").to_owned()).await;
        let slots = slots.map_err(|error| {
            SetupError::unfit_server(format!(
                "{} is not a node of a cluster ({error}): `Redis::url` is for a single server",
                endpoint.host()
            ))
        })?;
        read_slots(&slots)
            .ok_or_else(|| SetupError::unavailable("not all slots of the cluster are served"))
    }

    async fn join_all(
        &self,
        session: u64,
        seed: &Endpoint,
        ranges: &[Range],
    ) -> Result<Topology, SetupError> {
        let mut places: HashMap<(String, u16), u16> = HashMap::new();
        let mut servers = Vec::new();
        let mut routes = Box::new([0; SLOTS]);
        for range in ranges {
            let host = range.host.as_deref().unwrap_or(seed.host());
            let place = match places.get(&(host.to_owned(), range.port)) {
                Some(place) => *place,
                None => {
                    let endpoint = seed.at(host, range.port);
                    servers.push(self.join(session, &endpoint, host, range.port).await?.0);
                    let place = (servers.len() - 1) as u16;
                    places.insert((host.to_owned(), range.port), place);
                    place
                }
            };
            let Some(slots) = routes.get_mut(range.from..=range.to) else {
                return Err(SetupError::unavailable("the cluster reports slots that do not exist"));
            };
            slots.fill(place);
        }
        Ok(Topology { nodes: servers, routes: Some(routes), is_causal: false })
    }
}

/// The endpoint of a sentinel, by its URL.
fn of_sentinel(options: &Redis, endpoint: &Endpoint) -> Endpoint {
    let tls = options.sentinel_tls.as_ref().unwrap_or(&options.tls);
    endpoint.of_sentinel(options.sentinel_login.as_ref()).over(endpoint.transport(), tls)
}

/// The endpoint of the master, by the URL of a sentinel.
fn of_master(options: &Redis, endpoint: &Endpoint) -> Endpoint {
    let transport = match options.master_tls {
        Some(true) => Transport::Tls,
        Some(false) => Transport::Plain,
        None => endpoint.transport(),
    };
    endpoint.over(transport, &options.tls)
}

/// An error if certificates are given that no connection would use.
fn check_tls(
    options: &Redis,
    endpoints: &[Endpoint],
    sentinels: &[Endpoint],
) -> Result<(), SetupError> {
    let unused = |what: &str| {
        Err(SetupError::invalid_config(format!(
            "{what} is given, but no connection uses TLS: write `rediss://` in the URL"
        )))
    };
    let sentinels_use_tls = sentinels.iter().any(Endpoint::is_tls);
    let any_uses_tls = sentinels_use_tls || endpoints.iter().any(Endpoint::is_tls);
    match &options.sentinel_tls {
        Some(tls) if !tls.is_default() && !sentinels_use_tls => unused("`sentinel_tls`"),
        _ if !options.tls.is_default() && !any_uses_tls => unused("`ca` or `tls`"),
        _ => Ok(()),
    }
}

/// The master that a majority of the sentinels names.
async fn named(sentinels: &Sentinels) -> Result<Arc<Master>, SetupError> {
    match sentinels.decided(sentinels.ask()).await {
        Decision::Named(master) => Ok(master),
        Decision::NoMajority(failure) if failure.is_lasting => {
            Err(SetupError::invalid_config(failure.reason))
        }
        Decision::NoMajority(failure) => Err(SetupError::unavailable(failure.reason)),
    }
}

/// Installs a cryptography provider for TLS, unless the process has chosen one.
fn install_tls() {
    #[cfg(feature = "redis-tls")]
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // Another thread may install one at this moment, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
}
