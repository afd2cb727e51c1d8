//! Which Redis, and how it is spoken to.

use std::fmt;
use std::time::Duration;

use super::access::{Credentials, CredentialsSource, Tls, redacted};
use super::endpoint::Endpoint;
use super::error::SetupError;
use crate::error::{Error, ErrorKind};

/// A Redis, Valkey or Dragonfly as the shared tier of a cache: where it is, and
/// how it is spoken to. A URL alone will do:
/// [`Builder::redis`](crate::Builder::redis) takes either.
///
/// Nothing is checked, and nobody connected to, before
/// [`build`](crate::Builder::build). All durations must be a millisecond or
/// more there, and a hundred years or less but for
/// [`retention`](Self::retention).
///
/// ```
/// use std::time::Duration;
/// use cacheops::{Consistency, Redis};
///
/// // One server: TCP, TLS (`rediss://`) or a Unix socket (`redis+unix:///run/redis.sock`).
/// let one = Redis::url("redis://user:password@10.0.0.1:6379/0");
///
/// // A cluster, by some of its nodes.
/// let cluster = Redis::cluster(["redis://10.0.0.1:6379", "redis://10.0.0.2:6379"]);
///
/// // The master that Sentinel knows by a name.
/// let sentinels = [1, 2, 3].map(|n| format!("redis://10.0.0.{n}:26379"));
/// let sentinel = Redis::sentinel("mymaster", sentinels)
///     .consistency(Consistency::Strict)
///     .operation_timeout(Duration::from_millis(100));
/// ```
///
/// What makes no sense, or will not do, is an error of `build`:
///
/// ```
/// use cacheops::{Cacheops, ErrorKind};
///
/// let error = Cacheops::builder().redis("http://example.org").build().unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::InvalidConfig);
/// assert!(error.to_string().contains("it looks like `redis://"));
/// ```
#[derive(Clone)]
#[must_use]
pub struct Redis {
    pub(crate) servers: Servers,
    pub(crate) sentinel_login: Option<(Option<String>, Option<String>)>,
    pub(crate) credentials: Option<CredentialsSource>,
    pub(crate) tls: Tls,
    pub(crate) sentinel_tls: Option<Tls>,
    pub(crate) master_tls: Option<bool>,
    pub(crate) connect_timeout: Duration,
    pub(crate) operation_timeout: Duration,
    pub(crate) consistency: Consistency,
    pub(crate) queue_limit: Option<usize>,
    pub(crate) retention: Duration,
    pub(crate) lock_limit: Duration,
    pub(crate) compress_above: usize,
    pub(crate) value_limit: usize,
}

#[derive(Clone)]
pub(crate) enum Servers {
    One(String),
    Cluster(Vec<String>),
    Sentinel { master: String, sentinels: Vec<String> },
}

/// What a lookup may still find of what *another* process has invalidated;
/// bounded by one second by default. In the process that invalidates it is
/// nothing, always, once the call has returned.
///
/// ```
/// use std::time::Duration;
/// use cacheops::{Consistency, Redis};
///
/// assert_eq!(Consistency::default(), Consistency::Bounded(Duration::from_secs(1)));
/// let strict = Redis::url("redis://localhost").consistency(Consistency::Strict);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Consistency {
    /// Hits are answered from process memory, and Redis tells of changes by
    /// push, mostly within a millisecond. Where news may be missing, since the
    /// connection is gone or silent, nothing is answered from memory that was
    /// invalidated longer ago than this. A third of it, a second at most, is
    /// the time between two signs of life that each server is asked for.
    Bounded(Duration),
    /// Redis is asked on every hit, in one trip: no lookup finds what was
    /// invalidated anywhere before it began. For fragments that a page asked
    /// for the last time too, the lookup began with the page's first.
    Strict,
}

/// A hundred years: clocks overflow beyond.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

impl Default for Consistency {
    /// Bounded by a second.
    fn default() -> Self {
        Consistency::Bounded(Duration::from_secs(1))
    }
}

impl Redis {
    /// One server, by its URL: `redis://[user:password@]host[:port][/database]`,
    /// `rediss://…` for TLS (feature `redis-tls`), or
    /// `redis+unix:///path[?db=1&user=…&pass=…]`. The port is 6379 and the
    /// database 0 where the URL names none. Special characters in user and
    /// password are escaped as in any URL: `p@ss` is `p%40ss`.
    pub fn url(url: impl Into<String>) -> Self {
        Redis::new(Servers::One(url.into()))
    }

    /// A cluster, by the URLs of some of its nodes, of which one must answer: it
    /// tells the others. User, password and TLS of its URL are used for all of
    /// them.
    pub fn cluster<U: Into<String>>(urls: impl IntoIterator<Item = U>) -> Self {
        Redis::new(Servers::Cluster(urls.into_iter().map(Into::into).collect()))
    }

    /// The master that Sentinel knows by a name; the URLs are those of all
    /// sentinels. More than half of the sentinels that there are must answer, and
    /// name one master: without them, or where fewer are listed,
    /// [`build`](crate::Builder::build) fails with
    /// [`Unavailable`](ErrorKind::Unavailable), and later nothing is served and
    /// invalidations are errors. User, password, database and TLS of the first are used for
    /// the master; for the sentinels as well, unless
    /// [`sentinel_login`](Self::sentinel_login) says otherwise.
    pub fn sentinel<U: Into<String>>(
        master: impl Into<String>,
        urls: impl IntoIterator<Item = U>,
    ) -> Self {
        let sentinels = urls.into_iter().map(Into::into).collect();
        Redis::new(Servers::Sentinel { master: master.into(), sentinels })
    }

    fn new(servers: Servers) -> Self {
        Redis {
            servers,
            sentinel_login: None,
            credentials: None,
            tls: Tls::new(),
            sentinel_tls: None,
            master_tls: None,
            connect_timeout: Duration::from_secs(1),
            operation_timeout: Duration::from_millis(250),
            consistency: Consistency::default(),
            queue_limit: None,
            retention: Duration::from_secs(7 * 24 * 3600),
            lock_limit: Duration::from_secs(2),
            compress_above: 1024,
            value_limit: 8 << 20,
        }
    }

    /// User and password for the sentinels, where they are not the master's; by
    /// default those of each URL. With `None` twice they are spoken to without.
    pub fn sentinel_login(mut self, user: Option<&str>, password: Option<&str>) -> Self {
        self.sentinel_login = Some((user.map(str::to_owned), password.map(str::to_owned)));
        self
    }

    /// Tells user and password of each connection that is made, instead of the
    /// URL: for passwords that are rotated, and tokens that expire. An open
    /// connection goes on with those that it began with. Sentinels are told
    /// them too, unless [`sentinel_login`](Self::sentinel_login) is set.
    ///
    /// `tell` runs in a thread of its own, and may take as long as
    /// [`connect_timeout`](Self::connect_timeout). While it fails the server
    /// counts as away, and it is asked again.
    ///
    /// ```
    /// use cacheops::{Credentials, Redis};
    ///
    /// let redis = Redis::url("redis://10.0.0.1").credentials(|| {
    ///     let password = std::fs::read_to_string("/run/secrets/redis")?;
    ///     Ok(Credentials::new(Some("web"), password.trim_end()))
    /// });
    /// ```
    pub fn credentials(
        mut self,
        tell: impl Fn() -> Result<Credentials, Box<dyn std::error::Error + Send + Sync>>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        self.credentials = Some(CredentialsSource::new(tell));
        self
    }

    /// The certificates to trust instead of those of the system, in PEM. It is
    /// an error of `build` where nothing is reached over TLS.
    pub fn ca(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.tls = self.tls.ca(pem);
        self
    }

    /// The certificates to trust and to show, for whatever is reached over TLS:
    /// where nothing is, it is an error of `build`.
    pub fn tls(mut self, tls: Tls) -> Self {
        self.tls = tls;
        self
    }

    /// The certificates for the sentinels, where they are not the master's. The
    /// scheme of their URLs says whether they speak TLS.
    pub fn sentinel_tls(mut self, tls: Tls) -> Self {
        self.sentinel_tls = Some(tls);
        self
    }

    /// Whether the master that the sentinels name speaks TLS; by default it
    /// does if the first URL says so. Another kind of server ignores this.
    pub fn master_tls(mut self, is_tls: bool) -> Self {
        self.master_tls = Some(is_tls);
        self
    }

    /// The longest that connecting to one server may take; one second by
    /// default.
    pub fn connect_timeout(mut self, limit: Duration) -> Self {
        self.connect_timeout = limit;
        self
    }

    /// The longest that a trip to Redis, or an answer of the sentinels, may take
    /// before it is given up, and with it the connection; 250 milliseconds by default. A page that meets
    /// a silent Redis loses this once, and nothing more until it answers again.
    pub fn operation_timeout(mut self, limit: Duration) -> Self {
        self.operation_timeout = limit;
        self
    }

    /// What a lookup may still find of what another process has invalidated;
    /// bounded by a second by default.
    pub fn consistency(mut self, consistency: Consistency) -> Self {
        self.consistency = consistency;
        self
    }

    /// Keeps invalidations that cannot be delivered instead of returning an
    /// error: `rows` changed rows, tables and names at most, above which whole
    /// tables are kept, and in the end everything. Off by default.
    /// They are delivered, in order, before anything else once Redis is back,
    /// and until then this process serves nothing from it.
    ///
    /// **Other processes that do reach Redis go on serving what was
    /// invalidated here until then**, and for good if this process ends first.
    /// The safe choice is the default: an error, upon which the application
    /// can roll back, try again, or refuse the write. It also lets
    /// [`build`](crate::Builder::build) succeed while Redis is away:
    ///
    /// ```
    /// use cacheops::{Cacheops, LinkState, Redis};
    ///
    /// // Nobody listens there.
    /// let redis = Redis::url("redis://127.0.0.1:1").queue_invalidations(1_000);
    /// let cache = Cacheops::builder().redis(redis).build()?;
    /// cache.invalidate_model("articles")?;
    /// let status = cache.shared_status().unwrap();
    /// assert!(matches!(status.state, LinkState::Down(_)));
    /// assert_eq!(status.pending, 1);
    /// # Ok::<_, cacheops::Error>(())
    /// ```
    pub fn queue_invalidations(mut self, rows: usize) -> Self {
        self.queue_limit = Some(rows.max(1));
        self
    }

    /// How long fragments and stamps stay in Redis at most; seven days by
    /// default. A fragment with a shorter time limit goes by that. It bounds
    /// what is left behind by pages that nobody asks for any more; what is in
    /// use is made anew once in so long.
    pub fn retention(mut self, retention: Duration) -> Self {
        self.retention = retention;
        self
    }

    /// The longest that callers in other processes wait for one that fills the
    /// same fragment, before they fill it themselves; two seconds by default.
    /// A holder that dies delays nobody beyond it. Where
    /// [`Builder::wait_timeout`](crate::Builder::wait_timeout) is shorter, it counts.
    pub fn lock_limit(mut self, limit: Duration) -> Self {
        self.lock_limit = limit;
        self
    }

    /// From how many bytes on texts and values are compressed (LZ4), if that
    /// saves an eighth; 1,024 by default. `usize::MAX` is never.
    pub fn compress_above(mut self, bytes: usize) -> Self {
        self.compress_above = bytes;
        self
    }

    pub(crate) fn is_strict(&self) -> bool {
        self.consistency == Consistency::Strict
    }

    /// How many sentinels are listed, if any.
    pub(crate) fn sentinels(&self) -> Option<usize> {
        match &self.servers {
            Servers::Sentinel { sentinels, .. } => Some(sentinels.len()),
            _ => None,
        }
    }

    /// The longest value that is sent to Redis, in bytes as it lies there,
    /// compressed; 8 MiB by default. What is longer stays in the memory of the
    /// process that made it, if there is room. Values of 256 KiB and more go by
    /// a second connection to each server. If it closes a new one of these, or
    /// answers an error, as it does above its own limit (`proto-max-bulk-len`),
    /// values as long are not sent for a minute.
    pub fn value_limit(mut self, bytes: usize) -> Self {
        self.value_limit = bytes;
        self
    }

    pub(crate) fn bound(&self) -> Duration {
        match self.consistency {
            Consistency::Bounded(bound) => bound,
            Consistency::Strict => Duration::from_secs(1),
        }
    }

    /// The way to a sentinel, which its URL says.
    pub(super) fn of_sentinel(&self, endpoint: &Endpoint) -> Endpoint {
        let tls = self.sentinel_tls.as_ref().unwrap_or(&self.tls);
        endpoint.of_sentinel(self.sentinel_login.as_ref()).over(endpoint.is_tls(), tls)
    }

    /// The way to the master, by the URL of a sentinel.
    pub(super) fn of_master(&self, endpoint: &Endpoint) -> Endpoint {
        endpoint.over(self.master_tls.unwrap_or(endpoint.is_tls()), &self.tls)
    }

    /// Certificates that nobody would look at are a mistake.
    pub(super) fn check_tls(&self, is_tls: bool, at_sentinels: bool) -> Result<(), SetupError> {
        let unused = |what: &str| {
            Err(SetupError::invalid_config(format!(
                "{what} is given, and nothing is reached over TLS that would use it: write `rediss://` in the URL"
            )))
        };
        match &self.sentinel_tls {
            Some(tls) if !tls.is_default() && !at_sentinels => unused("`sentinel_tls`"),
            _ if !self.tls.is_default() && !is_tls => unused("`ca` or `tls`"),
            _ => Ok(()),
        }
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        let limits = [
            ("time limit for connecting", self.connect_timeout),
            ("time limit of an operation", self.operation_timeout),
            ("retention", self.retention.min(LONGEST)),
            ("limit of a lock", self.lock_limit),
            ("bound on staleness", self.bound()),
        ];
        for (what, limit) in limits {
            let wrong = match limit {
                _ if limit < Duration::from_millis(1) => "a millisecond or more",
                _ if limit > LONGEST => "a hundred years or less",
                _ => continue,
            };
            return Err(Error::new(
                ErrorKind::InvalidConfig,
                format!("redis: the {what} must be {wrong}, and is {limit:?}"),
            ));
        }
        let empty = match &self.servers {
            Servers::One(_) => false,
            Servers::Cluster(urls) => urls.is_empty(),
            Servers::Sentinel { sentinels, .. } => sentinels.is_empty(),
        };
        if empty {
            return Err(Error::new(
                ErrorKind::InvalidConfig,
                "redis: no URL is given: name one node or sentinel at least",
            ));
        }
        Ok(())
    }
}

/// Without passwords and keys.
impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let user = self.sentinel_login.as_ref().map(|(user, _)| user);
        f.debug_struct("Redis")
            .field("servers", &self.servers)
            .field("sentinel_login", &user)
            .field("credentials", &self.credentials)
            .field("tls", &self.tls)
            .field("sentinel_tls", &self.sentinel_tls)
            .field("master_tls", &self.master_tls)
            .field("connect_timeout", &self.connect_timeout)
            .field("operation_timeout", &self.operation_timeout)
            .field("consistency", &self.consistency)
            .field("queue_limit", &self.queue_limit)
            .field("retention", &self.retention)
            .field("lock_limit", &self.lock_limit)
            .field("compress_above", &self.compress_above)
            .finish()
    }
}

impl fmt::Debug for Servers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |urls: &[String]| urls.iter().map(|url| redacted(url)).collect::<Vec<_>>();
        match self {
            Servers::One(url) => f.debug_tuple("One").field(&redacted(url)).finish(),
            Servers::Cluster(urls) => f.debug_tuple("Cluster").field(&shown(urls)).finish(),
            Servers::Sentinel { master, sentinels } => f
                .debug_struct("Sentinel")
                .field("master", master)
                .field("sentinels", &shown(sentinels))
                .finish(),
        }
    }
}

impl From<&str> for Redis {
    fn from(url: &str) -> Self {
        Redis::url(url)
    }
}

impl From<String> for Redis {
    fn from(url: String) -> Self {
        Redis::url(url)
    }
}

impl From<&String> for Redis {
    fn from(url: &String) -> Self {
        Redis::url(url)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Consistency, Redis};

    #[test]
    fn limits_are_neither_nothing_nor_endless() {
        let redis = || Redis::url("redis://localhost");
        let said = |redis: Redis| redis.check().err().map(|error| error.to_string());
        assert_eq!(said(redis().retention(Duration::MAX)), None);
        let short = said(redis().lock_limit(Duration::ZERO)).unwrap_or_default();
        assert!(short.ends_with("limit of a lock must be a millisecond or more, and is 0ns"));
        let endless = Consistency::Bounded(Duration::MAX);
        let long = said(redis().consistency(endless)).unwrap_or_default();
        assert!(long.contains("bound on staleness must be a hundred years or less"), "{long}");
    }
}
