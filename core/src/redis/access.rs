//! Credentials and certificates for connections. Neither is ever printed.

use std::fmt;
use std::sync::Arc;

/// The certificates of TLS; see [`Redis::tls`](super::Redis::tls).
///
/// ```
/// use cacheops::{Redis, Tls};
///
/// # fn open(ca: &str, certificate: &str, key: &str) -> Redis {
/// let tls = Tls::new().ca(ca).client_certificate(certificate, key);
/// Redis::url("rediss://redis.example:6380").tls(tls)
/// # }
/// ```
#[derive(Clone, Default)]
#[must_use]
#[cfg_attr(not(feature = "redis-tls"), allow(dead_code))]
pub struct Tls {
    pub(super) ca: Option<Vec<u8>>,
    pub(super) client: Option<ClientCertificate>,
}

#[derive(Clone)]
#[cfg_attr(not(feature = "redis-tls"), allow(dead_code))]
pub(super) struct ClientCertificate {
    pub(super) certificate: Vec<u8>,
    pub(super) key: Vec<u8>,
}

impl Tls {
    /// Trusts the certificates of the system, and presents none.
    pub fn new() -> Self {
        Tls::default()
    }

    /// The certificates to trust instead of those of the system, in PEM.
    pub fn ca(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.ca = Some(pem.into());
        self
    }

    /// The client certificate, with the certificates that vouch for it, and
    /// its key, in PEM. Redis requires one by default (`tls-auth-clients
    /// yes`).
    pub fn client_certificate(
        mut self,
        certificate: impl Into<Vec<u8>>,
        key: impl Into<Vec<u8>>,
    ) -> Self {
        let (certificate, key) = (certificate.into(), key.into());
        self.client = Some(ClientCertificate { certificate, key });
        self
    }

    pub(super) fn is_default(&self) -> bool {
        self.ca.is_none() && self.client.is_none()
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("ca", &self.ca.is_some())
            .field("client_certificate", &self.client.is_some())
            .finish()
    }
}

/// A user and a password for one connection; see
/// [`Redis::credentials`](super::Redis::credentials).
///
/// ```
/// use cacheops::Credentials;
///
/// let shown = format!("{:?}", Credentials::new(Some("web"), "s3cret"));
/// assert!(!shown.contains("s3cret"));
/// ```
#[derive(Clone)]
pub struct Credentials {
    pub(super) user: Option<String>,
    pub(super) password: String,
}

impl Credentials {
    /// A password, and its user; without a user, that of the default user.
    #[must_use]
    pub fn new(user: Option<&str>, password: impl Into<String>) -> Self {
        Credentials { user: user.map(str::to_owned), password: password.into() }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("user", &self.user).finish_non_exhaustive()
    }
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Returns the credentials for a connection that is about to be opened.
#[derive(Clone)]
pub(crate) struct CredentialsSource(Arc<dyn Fn() -> Result<Credentials, BoxError> + Send + Sync>);

impl CredentialsSource {
    pub(super) fn new(
        tell: impl Fn() -> Result<Credentials, BoxError> + Send + Sync + 'static,
    ) -> Self {
        CredentialsSource(Arc::new(tell))
    }

    /// The credentials, or why there are none. It may block or panic.
    pub(super) fn tell(&self) -> Result<Credentials, String> {
        (self.0)().map_err(|error| error.to_string())
    }
}

impl fmt::Debug for CredentialsSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CredentialsSource")
    }
}

/// A URL, or a text that was meant as one, without a possible password.
pub(super) fn redacted(url: &str) -> String {
    let (scheme, rest) = url.split_at(url.find("://").map_or(0, |at| at + 3));
    let shown = match (rest.rfind('@'), rest.find('?')) {
        (None, None) => without_odd_port(rest),
        (Some(at), None) => format!("…{}", &rest[at..]),
        (None, Some(query)) => format!("{}?…", without_odd_port(&rest[..query])),
        (Some(at), Some(query)) if at < query => format!("…{}?…", &rest[at..query]),
        (Some(_), Some(_)) => "…".to_owned(),
    };
    format!("{scheme}{shown}")
}

/// A text in the place of the port that is not a port may be a password whose
/// host was forgotten.
fn without_odd_port(rest: &str) -> String {
    let authority = rest.split(['/', '#']).next().unwrap_or_default();
    let host_ends = if authority.starts_with('[') { authority.find(']').unwrap_or(0) } else { 0 };
    let Some(colon) = authority[host_ends..].find(':').map(|at| host_ends + at) else {
        return rest.to_owned();
    };
    if authority[colon + 1..].bytes().all(|byte| byte.is_ascii_digit()) {
        return rest.to_owned();
    }
    format!("{}:…", &authority[..colon])
}

#[cfg(test)]
mod tests {
    use super::{Credentials, Tls, redacted};
    use crate::Redis;

    #[test]
    fn passwords_are_not_shown() {
        assert_eq!(redacted("redis://10.0.0.1:6379/3"), "redis://10.0.0.1:6379/3");
        assert_eq!(redacted("redis://[::1]:6379/3"), "redis://[::1]:6379/3");
        assert_eq!(redacted("redis+unix:///run/a:b.sock"), "redis+unix:///run/a:b.sock");
        let secrets = [
            "redis://web:secret@10.0.0.1:x",
            "redis://web:sec?ret@10.0.0.1:x",
            "redis://web:sec@ret@10.0.0.1:x",
            "redis://web:secret@10.0.0.1?db=x",
            "redis://web:secret",
            "redis://web:sec:ret/3",
            "redis://:secret?db=3",
            "web:secret@10.0.0.1",
            "redis+unix:///run/redis.sock?pass=secret&db=x",
            "redis+unix:///run/redis.sock?pass=sec@ret&db=x",
        ];
        for url in secrets {
            let shown = redacted(url);
            assert!(!shown.contains("sec") && !shown.contains("ret"), "{shown}");
        }
    }

    #[test]
    fn nothing_that_holds_a_secret_prints_it() {
        let tls = || Tls::new().ca("s3cret").client_certificate("s3cret", "s3cret");
        let settings = [
            Redis::url("redis://web:s3cret@10.0.0.1"),
            Redis::url("redis://web:s3cret"),
            Redis::url("redis+unix:///run/redis.sock?pass=s3cret"),
            Redis::cluster(["redis://:s3cret@10.0.0.1", "redis://web:s3cret@10.0.0.2/"]),
            Redis::sentinel("m", ["redis://web:s3cret@10.0.0.1:26379"])
                .sentinel_login(Some("watch"), Some("s3cret"))
                .credentials(|| Ok(Credentials::new(None, "s3cret")))
                .tls(tls())
                .sentinel_tls(tls()),
        ];
        for redis in settings {
            let shown = format!("{redis:?} {redis:#?}");
            assert!(!shown.contains("s3cret"), "{shown}");
            let builder = crate::Cacheops::builder().redis(redis);
            assert!(!format!("{builder:?}").contains("s3cret"));
        }
    }
}
