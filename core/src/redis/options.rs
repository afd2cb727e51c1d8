//! Settings for the connection to Redis.

use std::fmt;
use std::time::Duration;

use super::access::{Credentials, CredentialsSource, Tls};
use super::consistency::Consistency;
use super::servers::Servers;
use crate::error::{Error, ErrorKind};

/// A Redis, Valkey or Dragonfly as the shared tier of a cache: its address, and
/// the settings for the connection. [`Builder::redis`](crate::Builder::redis)
/// also accepts a URL alone.
///
/// Nothing is checked or connected before [`build`](crate::Builder::build). All
/// durations must be at least a millisecond and, except for
/// [`retention`](Self::retention), at most a hundred years.
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
/// Invalid settings are an error of `build`:
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

/// A hundred years: clocks overflow beyond that.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

impl Redis {
    /// One server, by its URL:
    /// `redis://[user:password@]host[:port][/database]`, `rediss://…` for TLS
    /// (feature `redis-tls`), or `redis+unix:///path[?db=1&user=…&pass=…]`.
    /// The default port is 6379, the default database 0. Escape special
    /// characters in user and password as in any URL: `p@ss` is `p%40ss`.
    pub fn url(url: impl Into<String>) -> Self {
        Redis::new(Servers::One(url.into()))
    }

    /// A cluster, by the URLs of some of its nodes. At least one of them must
    /// answer: it reports the others. The user, password and TLS of its URL
    /// apply to all nodes.
    pub fn cluster<U: Into<String>>(urls: impl IntoIterator<Item = U>) -> Self {
        Redis::new(Servers::Cluster(urls.into_iter().map(Into::into).collect()))
    }

    /// The master that Sentinel knows by a name, with the URLs of all
    /// sentinels. More than half of all existing sentinels must answer, and
    /// name the same master. If they do not, or too few are listed,
    /// [`build`](crate::Builder::build) fails with
    /// [`Unavailable`](ErrorKind::Unavailable); later, nothing is served from
    /// the cache and invalidations are errors. The user, password, database
    /// and TLS of the first URL apply to the master. They also apply to the
    /// sentinels, unless [`sentinel_login`](Self::sentinel_login) is set.
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

    /// User and password for the sentinels, if they differ from those of the
    /// master; by default those of each URL. With `None` twice, the sentinels
    /// get no credentials.
    pub fn sentinel_login(mut self, user: Option<&str>, password: Option<&str>) -> Self {
        self.sentinel_login = Some((user.map(str::to_owned), password.map(str::to_owned)));
        self
    }

    /// A function that returns user and password for each connection, instead
    /// of the URL: for passwords that are rotated, and tokens that expire. An
    /// open connection keeps the credentials that it began with. The
    /// sentinels get them too, unless
    /// [`sentinel_login`](Self::sentinel_login) is set.
    ///
    /// `tell` runs on a thread of its own, for at most
    /// [`connect_timeout`](Self::connect_timeout). While it fails, the server
    /// counts as unreachable, and the cache calls it again.
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

    /// The certificates to trust instead of those of the system, in PEM. If
    /// no connection uses TLS, this is an error of `build`.
    pub fn ca(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.tls = self.tls.ca(pem);
        self
    }

    /// The certificates to trust and to present, for all connections with
    /// TLS. If there are none, this is an error of `build`.
    pub fn tls(mut self, tls: Tls) -> Self {
        self.tls = tls;
        self
    }

    /// The certificates for the sentinels, if they differ from those of the
    /// master. The scheme of the sentinels' URLs says whether they use TLS.
    pub fn sentinel_tls(mut self, tls: Tls) -> Self {
        self.sentinel_tls = Some(tls);
        self
    }

    /// Whether the master that the sentinels name uses TLS; by default as in
    /// the first URL. Ignored without Sentinel.
    pub fn master_tls(mut self, is_tls: bool) -> Self {
        self.master_tls = Some(is_tls);
        self
    }

    /// The longest time for connecting to one server; one second by default.
    pub fn connect_timeout(mut self, limit: Duration) -> Self {
        self.connect_timeout = limit;
        self
    }

    /// The longest time for a round trip to Redis, or for an answer of the
    /// sentinels; 250 milliseconds by default. After that, the cache abandons
    /// the round trip and the connection. If Redis is silent, a page loses
    /// this time once, and nothing more until Redis answers again.
    pub fn operation_timeout(mut self, limit: Duration) -> Self {
        self.operation_timeout = limit;
        self
    }

    /// How long a lookup may still find what another process has invalidated;
    /// at most one second by default.
    pub fn consistency(mut self, consistency: Consistency) -> Self {
        self.consistency = consistency;
        self
    }

    /// Queues invalidations that cannot be delivered, instead of returning an
    /// error. Off by default. The queue holds at most `rows` changed rows,
    /// tables and names; beyond that it holds whole tables, and finally
    /// everything. When Redis is back, the queue is delivered first, in
    /// order. Until then this process serves nothing from Redis.
    ///
    /// **Other processes that reach Redis serve the old data until then**,
    /// and for good if this process ends first. The default is the safe
    /// choice: an error, after which the application can roll back, try
    /// again, or refuse the write. This setting also lets
    /// [`build`](crate::Builder::build) succeed while Redis is unreachable:
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

    /// How long fragments and stamps stay in Redis; seven days by default. A
    /// fragment with a shorter time limit expires earlier. This limits what
    /// is left of pages that nobody requests any more. What is in use is
    /// rendered again once in this time.
    pub fn retention(mut self, retention: Duration) -> Self {
        self.retention = retention;
        self
    }

    /// How long callers in other processes wait for a process that fills the
    /// same fragment, before they fill it themselves; two seconds by default.
    /// A process that dies while it fills delays nobody longer. If
    /// [`Builder::wait_timeout`](crate::Builder::wait_timeout) is shorter, it
    /// applies.
    pub fn lock_limit(mut self, limit: Duration) -> Self {
        self.lock_limit = limit;
        self
    }

    /// The size in bytes from which texts and values are compressed (LZ4), if
    /// that saves an eighth; 1,024 by default. `usize::MAX` means never.
    pub fn compress_above(mut self, bytes: usize) -> Self {
        self.compress_above = bytes;
        self
    }

    pub(crate) fn is_strict(&self) -> bool {
        self.consistency == Consistency::Strict
    }

    /// The number of listed sentinels, if there are any.
    pub(crate) fn sentinels(&self) -> Option<usize> {
        match &self.servers {
            Servers::Sentinel { sentinels, .. } => Some(sentinels.len()),
            _ => None,
        }
    }

    /// The size in bytes of the largest value that is sent to Redis, after
    /// compression; 8 MiB by default. A larger value stays in the memory of
    /// the process that made it, if there is room. Values of 256 KiB and more
    /// use a second connection to each server. If the server closes a new
    /// connection of this kind, or answers with an error, as it does above
    /// its own limit (`proto-max-bulk-len`), values of this size or larger
    /// are not sent for a minute.
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
                "redis: no URL is given: name at least one node or sentinel",
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
