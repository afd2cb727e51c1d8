//! A connection to one server, and what has to be true of a server.

use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, Pipeline,
    ProtocolVersion, PushInfo, RedisError, Value, cmd,
};

use super::wire::number;
use super::{Unfit, Why};

/// How a server is reached: where, as whom, in how long.
#[derive(Clone)]
pub(crate) struct Door {
    info: ConnectionInfo,
    ca: Option<Vec<u8>>,
    limit: Duration,
}

impl Door {
    pub(crate) fn new(url: &str, ca: Option<Vec<u8>>, limit: Duration) -> Result<Self, Unfit> {
        let info = url.into_connection_info().map_err(|error| bad_url(url, &error))?;
        if !info.addr().is_supported() {
            return Err(Unfit::config(format!(
                "this build of cacheops cannot reach {}: TLS needs the feature `redis-tls`, and a Unix socket a Unix",
                redacted(url)
            )));
        }
        let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
        Ok(Door { info: info.set_redis_settings(settings), ca, limit })
    }

    /// The same for another server.
    pub(crate) fn at(&self, host: &str, port: u16) -> Self {
        let addr = match self.info.addr() {
            ConnectionAddr::TcpTls { insecure, tls_params, .. } => ConnectionAddr::TcpTls {
                host: host.to_owned(),
                port,
                insecure: *insecure,
                tls_params: tls_params.clone(),
            },
            _ => ConnectionAddr::Tcp(host.to_owned(), port),
        };
        Door { info: self.info.clone().set_addr(addr), ..self.clone() }
    }

    /// The same as another user; without a database, which sentinels lack.
    pub(crate) fn of_sentinel(&self, login: Option<&(Option<String>, Option<String>)>) -> Self {
        let old = self.info.redis_settings();
        let (user, password) = match login {
            Some((user, password)) => (user.as_deref(), password.as_deref()),
            None => (old.username(), old.password()),
        };
        let mut new = redis::RedisConnectionInfo::default().set_protocol(ProtocolVersion::RESP3);
        if let Some(user) = user {
            new = new.set_username(user);
        }
        if let Some(password) = password {
            new = new.set_password(password);
        }
        Door { info: self.info.clone().set_redis_settings(new), ..self.clone() }
    }

    pub(crate) fn host(&self) -> &str {
        match self.info.addr() {
            ConnectionAddr::Tcp(host, _) | ConnectionAddr::TcpTls { host, .. } => host,
            _ => "localhost",
        }
    }

    /// Where it leads, for people.
    pub(crate) fn address(&self) -> String {
        self.info.addr().to_string()
    }

    pub(crate) fn is_tls(&self) -> bool {
        matches!(self.info.addr(), ConnectionAddr::TcpTls { .. })
    }

    /// Connects; `on_push` hears what the server says unasked, before any
    /// answer that it sends afterwards is handed out, and when the connection
    /// has ended.
    pub(crate) async fn open(
        &self,
        on_push: impl Fn(PushInfo) + Send + Sync + 'static,
    ) -> Result<Connection, Unfit> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.limit))
            .set_response_timeout(None)
            .set_pipeline_buffer_size(1024)
            .set_push_sender(move |push| {
                on_push(push);
                Ok::<(), redis::aio::SendError>(())
            });
        let client = self.client()?;
        let opening = client.get_multiplexed_async_connection_with_config(&config);
        match tokio::time::timeout(self.limit, opening).await {
            Ok(Ok(connection)) => Ok(Connection(connection)),
            Ok(Err(error)) => Err(self.explain(&error)),
            Err(_) => Err(Unfit::away(format!(
                "{} does not answer within {:?}",
                self.info.addr(),
                self.limit
            ))),
        }
    }

    fn client(&self) -> Result<Client, Unfit> {
        let client = match &self.ca {
            #[cfg(feature = "redis-tls")]
            Some(ca) if self.is_tls() => Client::build_with_tls(
                self.info.clone(),
                redis::TlsCertificates { client_tls: None, root_cert: Some(ca.clone()) },
            ),
            _ => Client::open(self.info.clone()),
        };
        client.map_err(|error| self.explain(&error))
    }

    /// What went wrong in connecting, and what to do.
    fn explain(&self, error: &RedisError) -> Unfit {
        let addr = self.info.addr();
        let text = format!("{addr}: {error}");
        if matches!(error.kind(), redis::ErrorKind::RESP3NotSupported) {
            return Unfit::server(format!(
                "{addr} does not speak RESP3: it needs Redis 7, Valkey 8 or Dragonfly"
            ));
        }
        let login = matches!(error.kind(), redis::ErrorKind::AuthenticationFailed)
            || matches!(error.code(), Some("NOAUTH" | "WRONGPASS" | "NOPERM"));
        if login {
            return Unfit::config(format!(
                "{text}: check user and password in the URL, as `redis://user:password@…`"
            ));
        }
        if error.kind() == redis::ErrorKind::InvalidClientConfig {
            return Unfit::config(text);
        }
        Unfit::away(text)
    }
}

fn bad_url(url: &str, error: &RedisError) -> Unfit {
    Unfit::config(format!(
        "{:?} is no URL of a Redis ({error}): it looks like `redis://[user:password@]host[:port][/database]`, `rediss://…` for TLS, or `redis+unix:///path`",
        redacted(url)
    ))
}

/// A URL, or what was taken for one, without what may be its password.
fn redacted(url: &str) -> String {
    let (scheme, rest) = url.split_at(url.find("://").map_or(0, |at| at + 3));
    let shown = match (rest.rfind('@'), rest.find('?')) {
        (None, None) => rest.to_owned(),
        (Some(at), None) => format!("…{}", &rest[at..]),
        (None, Some(query)) => format!("{}?…", &rest[..query]),
        (Some(at), Some(query)) if at < query => format!("…{}?…", &rest[at..query]),
        (Some(_), Some(_)) => "…".to_owned(),
    };
    format!("{scheme}{shown}")
}

/// A connection to one server.
#[derive(Clone)]
pub(crate) struct Connection(MultiplexedConnection);

/// What a server says of itself.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    /// Another one after every start of the server, and after every time that
    /// it took its data from another one.
    pub(crate) id: String,
    pub(crate) is_master: bool,
    /// Whether news of a change come before answers that already show it.
    pub(crate) is_causal: bool,
}

impl Connection {
    /// Sends a pipeline; the answers, errors of the server among them.
    pub(crate) async fn send(
        &self,
        pipeline: &Pipeline,
        answers: usize,
    ) -> Result<Vec<Value>, Why> {
        let mut connection = self.0.clone();
        connection
            .send_packed_commands(pipeline, 0, answers)
            .await
            .map_err(|error| Why::new(error.to_string()))
    }

    /// Sends one command.
    pub(crate) async fn ask(&self, command: &redis::Cmd) -> Result<Value, Why> {
        let mut connection = self.0.clone();
        match connection.send_packed_command(command).await {
            Ok(Value::ServerError(error)) => {
                Err(Why::new(format!("{} {}", error.code(), error.details().unwrap_or_default())))
            }
            Ok(value) => Ok(value),
            Err(error) => Err(Why::new(error.to_string())),
        }
    }

    /// Asks the server to tell of changes of what is read from now on.
    pub(crate) async fn track(&self) -> Result<(), Unfit> {
        let tracking = cmd("CLIENT").arg("TRACKING").arg("ON").arg("NOLOOP").to_owned();
        match self.ask(&tracking).await {
            Ok(_) => Ok(()),
            Err(why) => Err(Unfit::server(format!(
                "the server refuses CLIENT TRACKING ({why}): it needs Redis 7, Valkey 8 or Dragonfly, and a user who may call it"
            ))),
        }
    }

    /// Reads who the server is, and whether it will do.
    pub(crate) async fn identify(&self) -> Result<Identity, Unfit> {
        let info = self.ask(&cmd("INFO")).await.map_err(|why| {
            Unfit::server(format!("the server refuses INFO ({why}): allow it to the user"))
        })?;
        let text = text(info);
        let field = |name: &str| field(&text, name);
        let version = field("redis_version").unwrap_or("0");
        let major: u32 = version.split('.').next().and_then(|n| n.parse().ok()).unwrap_or(0);
        let is_dragonfly = field("dragonfly_version").is_some();
        if major < 7 && !is_dragonfly {
            return Err(Unfit::server(format!(
                "the server is version {version}: it needs Redis 7, Valkey 8 or Dragonfly"
            )));
        }
        // Either changes when a server takes over what another had.
        let ids = [field("run_id"), field("master_replid")].map(Option::unwrap_or_default);
        if ids.iter().all(|id| id.is_empty()) {
            return Err(Unfit::server(
                "the server's INFO tells neither run_id nor master_replid: without one, a server that went back in time could not be told from one that did not",
            ));
        }
        Ok(Identity {
            id: ids.join("/"),
            is_master: matches!(field("role"), Some("master") | None),
            is_causal: !is_dragonfly,
        })
    }

    /// Asks the server how it is. Its answer comes after all news of earlier
    /// changes.
    pub(crate) async fn beat(&self) -> Result<Beat, Why> {
        let mut pipeline = Pipeline::new();
        pipeline.cmd("TIME").cmd("ROLE");
        pipeline.cmd("INFO").arg("stats").cmd("INFO").arg("memory");
        let sent = Instant::now();
        let mut values = self.send(&pipeline, 4).await?.into_iter();
        let mut next = || values.next().unwrap_or(Value::Nil);
        let time = match next() {
            Value::Array(parts) => {
                parts.first().and_then(number).zip(parts.get(1).and_then(number))
            }
            _ => None,
        };
        let (seconds, micros) =
            time.ok_or_else(|| Why::new("the server does not tell the time"))?;
        if let Value::Array(role) = next()
            && let Some(Value::BulkString(role)) = role.first()
            && role != b"master"
        {
            return Err(Why::new("the server is no master any more"));
        }
        let (stats, memory) = (text(next()), text(next()));
        let evicted = field(&stats, "evicted_keys").and_then(|count| count.parse().ok());
        let never_evicts = field(&memory, "maxmemory") == Some("0")
            || field(&memory, "maxmemory_policy") == Some("noeviction");
        Ok(Beat {
            sent,
            time: seconds * 1_000_000 + micros,
            evicted: evicted.unwrap_or(0),
            may_evict: !never_evicts,
        })
    }
}

/// How a server is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Beat {
    /// When it was asked.
    pub(crate) sent: Instant,
    /// Its time, in microseconds since 1970.
    pub(crate) time: u64,
    /// How many keys it has evicted since it was started.
    pub(crate) evicted: u64,
    /// Whether it may evict any.
    pub(crate) may_evict: bool,
}

/// The answer to INFO.
fn text(info: Value) -> String {
    match info {
        Value::BulkString(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Value::VerbatimString { text, .. } | Value::SimpleString(text) => text,
        _ => String::new(),
    }
}

/// A field in the answer to INFO.
fn field<'t>(info: &'t str, name: &str) -> Option<&'t str> {
    let mut lines = info.lines();
    lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::redacted;

    #[test]
    fn passwords_are_not_shown() {
        assert_eq!(redacted("redis://10.0.0.1:x/3"), "redis://10.0.0.1:x/3");
        let secrets = [
            "redis://web:secret@10.0.0.1:x",
            "redis://web:sec?ret@10.0.0.1:x",
            "redis://web:sec@ret@10.0.0.1:x",
            "redis://web:secret@10.0.0.1?db=x",
            "web:secret@10.0.0.1",
            "redis+unix:///run/redis.sock?pass=secret&db=x",
            "redis+unix:///run/redis.sock?pass=sec@ret&db=x",
        ];
        for url in secrets {
            let shown = redacted(url);
            assert!(!shown.contains("sec") && !shown.contains("ret"), "{shown}");
        }
    }
}
