//! How one server is reached: its address, the credentials, the time limit.

use std::time::Duration;

use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo,
    ProtocolVersion, PushInfo, RedisConnectionInfo,
};

use super::access::{Credentials, CredentialsSource, Tls, redacted};
use super::advice::{bad_url, explain, why_closed};
use super::error::SetupError;
use super::node::Connection;

/// How a server is reached.
#[derive(Clone)]
pub(crate) struct Endpoint {
    info: ConnectionInfo,
    #[cfg_attr(not(feature = "redis-tls"), allow(dead_code))]
    tls: Tls,
    /// Returns the credentials for each connection, instead of those of the URL.
    credentials: Option<CredentialsSource>,
    limit: Duration,
}

/// Whether a server is reached over TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    Plain,
    Tls,
}

impl Endpoint {
    pub(crate) fn new(
        url: &str,
        tls: &Tls,
        credentials: Option<&CredentialsSource>,
        limit: Duration,
    ) -> Result<Self, SetupError> {
        let info = url.into_connection_info().map_err(|error| bad_url(url, &error))?;
        if !info.addr().is_supported() {
            return Err(SetupError::invalid_config(format!(
                "this build of cacheops cannot reach {}: TLS needs the feature `redis-tls`, and a Unix socket a Unix",
                redacted(url)
            )));
        }
        if url.contains('#') && !matches!(info.addr(), ConnectionAddr::Unix(_)) {
            // The text behind `#` may be a password, so it is not quoted.
            return Err(SetupError::invalid_config(
                "the URL of a Redis cannot contain `#`: in a password, write it as `%23`; certificates are always checked: name those to trust with `Redis::ca`",
            ));
        }
        let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
        let info = info.set_redis_settings(settings);
        Ok(Endpoint { info, tls: tls.clone(), credentials: credentials.cloned(), limit })
    }

    /// The endpoint of another server, with the same settings.
    pub(crate) fn at(&self, host: &str, port: u16) -> Self {
        Endpoint {
            info: self.info.clone().set_addr(addr(host, port, self.transport())),
            ..self.clone()
        }
    }

    /// The endpoint over another transport, with these certificates.
    pub(crate) fn over(&self, transport: Transport, tls: &Tls) -> Self {
        let addr = match self.info.addr() {
            ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } => {
                addr(host, *port, transport)
            }
            other => other.clone(),
        };
        Endpoint { info: self.info.clone().set_addr(addr), tls: tls.clone(), ..self.clone() }
    }

    /// The endpoint as a sentinel is reached: with another login, and without a
    /// database, which sentinels do not have.
    pub(crate) fn of_sentinel(&self, login: Option<&(Option<String>, Option<String>)>) -> Self {
        let old = self.info.redis_settings();
        let (user, password) = match login {
            Some((user, password)) => (user.as_deref(), password.as_deref()),
            None => (old.username(), old.password()),
        };
        let new = RedisConnectionInfo::default().set_protocol(ProtocolVersion::RESP3);
        let new = logged_in(new, user, password);
        let credentials = self.credentials.clone().filter(|_| login.is_none());
        Endpoint { info: self.info.clone().set_redis_settings(new), credentials, ..self.clone() }
    }

    pub(crate) fn host(&self) -> &str {
        match self.info.addr() {
            ConnectionAddr::Tcp(host, _) | ConnectionAddr::TcpTls { host, .. } => host,
            _ => "localhost",
        }
    }

    /// The address, for messages.
    pub(crate) fn address(&self) -> String {
        self.info.addr().to_string()
    }

    /// The user of the URL. `None` for the default user, or if credentials are returned
    /// later.
    pub(super) fn user(&self) -> Option<&str> {
        self.info.redis_settings().username().filter(|_| self.credentials.is_none())
    }

    /// Whether the user may be one that lacks rights.
    pub(super) fn may_lack_rights(&self) -> bool {
        self.credentials.is_some() || self.user().is_some()
    }

    pub(crate) fn transport(&self) -> Transport {
        match self.info.addr() {
            ConnectionAddr::TcpTls { .. } => Transport::Tls,
            _ => Transport::Plain,
        }
    }

    pub(crate) fn is_tls(&self) -> bool {
        self.transport() == Transport::Tls
    }

    /// Connects. `on_push` is called for each push, before any later reply is returned,
    /// and when the connection ends.
    pub(crate) async fn open(
        &self,
        on_push: impl Fn(PushInfo) + Send + Sync + 'static,
    ) -> Result<Connection, SetupError> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.limit))
            .set_response_timeout(None)
            .set_pipeline_buffer_size(1024)
            .set_push_sender(move |push| {
                on_push(push);
                Ok::<(), redis::aio::SendError>(())
            });
        let client = self.client().await?;
        let opening = client.get_multiplexed_async_connection_with_config(&config);
        match tokio::time::timeout(self.limit, opening).await {
            Ok(Ok(connection)) => Ok(Connection::new(connection)),
            Ok(Err(error)) => Err(match why_closed(self.info.addr(), &error, self.limit).await {
                Some(said) => SetupError::unavailable(format!("{}: {said}", self.info.addr())),
                None => explain(self.info.addr(), &error),
            }),
            Err(_) => Err(SetupError::unavailable(format!(
                "{} does not answer within {:?}",
                self.info.addr(),
                self.limit
            ))),
        }
    }

    async fn client(&self) -> Result<Client, SetupError> {
        let info = self.info_now().await?;
        let client = match self.certificates() {
            #[cfg(feature = "redis-tls")]
            Some(certificates) => Client::build_with_tls(info, certificates),
            _ => Client::open(info),
        };
        client.map_err(|error| explain(self.info.addr(), &error))
    }

    /// The connection settings with the current credentials. The application's function
    /// runs on a thread of its own, because the supervisor's thread drives all time
    /// limits.
    async fn info_now(&self) -> Result<ConnectionInfo, SetupError> {
        let Some(source) = self.credentials.clone() else { return Ok(self.info.clone()) };
        let telling = tokio::task::spawn_blocking(move || source.tell());
        let told = match tokio::time::timeout(self.limit, telling).await {
            Ok(Ok(told)) => told,
            Ok(Err(_)) => Err("the function panicked".to_owned()),
            Err(_) => Err(format!("no answer within {:?}", self.limit)),
        };
        let told = told.map_err(|error| {
            SetupError::unavailable(format!(
                "{}: `Redis::credentials` failed: {error}",
                self.info.addr()
            ))
        })?;
        let Credentials { user, password } = &told;
        let settings = self.info.redis_settings();
        let anew = RedisConnectionInfo::default()
            .set_protocol(ProtocolVersion::RESP3)
            .set_db(settings.db());
        let anew = logged_in(anew, user.as_deref(), Some(password));
        Ok(self.info.clone().set_redis_settings(anew))
    }

    #[cfg(feature = "redis-tls")]
    fn certificates(&self) -> Option<redis::TlsCertificates> {
        if !self.is_tls() || self.tls.is_default() {
            return None;
        }
        let client_tls = self.tls.client.as_ref().map(|client| redis::ClientTlsConfig {
            client_cert: client.certificate.clone(),
            client_key: client.key.clone(),
        });
        Some(redis::TlsCertificates { client_tls, root_cert: self.tls.ca.clone() })
    }

    #[cfg(not(feature = "redis-tls"))]
    fn certificates(&self) -> Option<()> {
        None
    }
}

fn addr(host: &str, port: u16, transport: Transport) -> ConnectionAddr {
    let host = host.to_owned();
    match transport {
        Transport::Tls => ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None },
        Transport::Plain => ConnectionAddr::Tcp(host, port),
    }
}

fn logged_in(
    info: RedisConnectionInfo,
    user: Option<&str>,
    password: Option<&str>,
) -> RedisConnectionInfo {
    let info = user.into_iter().fold(info, |info, user| info.set_username(user));
    password.into_iter().fold(info, |info, password| info.set_password(password))
}
