//! Why connecting failed, and what to do about it.

use std::time::Duration;

use redis::{ConnectionAddr, RedisError};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use super::access::redacted;
use super::error::SetupError;

pub(super) fn bad_url(url: &str, error: &RedisError) -> SetupError {
    let text = error.to_string();
    // The detail quotes the URL, which may contain a password.
    let detail = error.detail().map(|detail| format!(": {detail}")).unwrap_or_default();
    let text = text.strip_suffix(&detail).unwrap_or("it does not parse");
    SetupError::invalid_config(format!(
        "{:?} is no URL of a Redis ({text}): it looks like `redis://[user:password@]host[:port][/database]`, `rediss://…` for TLS, or `redis+unix:///path`",
        redacted(url)
    ))
}

/// Turns an error of the client library into one that says what to do.
pub(super) fn explain(addr: &ConnectionAddr, error: &RedisError) -> SetupError {
    let text = format!("{addr}: {error}");
    if matches!(error.kind(), redis::ErrorKind::RESP3NotSupported) {
        return SetupError::unfit_server(format!(
            "{addr} does not speak RESP3: it needs Redis 7, Valkey 8 or Dragonfly"
        ));
    }
    let login = matches!(error.kind(), redis::ErrorKind::AuthenticationFailed)
        || matches!(error.code(), Some("NOAUTH" | "WRONGPASS" | "NOPERM"));
    if login {
        return SetupError::invalid_config(format!(
            "{text}: check user and password in the URL, as `redis://user:password@…`"
        ));
    }
    if text.contains("refused to switch database") {
        return SetupError::invalid_config(format!(
            "{text}: check the database at the end of the URL, as `redis://host/0`; a cluster has 0 only"
        ));
    }
    if let Some(advice) = about_certificates(&text) {
        return SetupError::invalid_config(format!("{text}: {advice}"));
    }
    if error.kind() == redis::ErrorKind::InvalidClientConfig {
        return SetupError::invalid_config(text);
    }
    SetupError::unavailable(text)
}

/// Advice for a failed TLS handshake. It comes as an I/O error, so only its text tells.
fn about_certificates(text: &str) -> Option<&'static str> {
    let has = |words: &[&str]| words.iter().any(|word| text.contains(word));
    if has(&["CertificateRequired", "HandshakeFailure", "BadCertificate", "CertificateUnknown"]) {
        return Some(
            "the server asks for a certificate of the client that it trusts: give one with `Tls::client_certificate`",
        );
    }
    if has(&["received fatal alert: UnknownCA", "CertificateExpired", "CertificateRevoked"]) {
        return Some("the server does not accept the certificate of `Tls::client_certificate`");
    }
    if has(&["invalid peer certificate"]) {
        return Some(
            "name the certificates to trust with `Redis::ca`, and reach the server by a name that is in its certificate",
        );
    }
    None
}

/// What a server says before it closes a new connection, as Redis does when there are
/// too many clients. The client library reports a broken pipe only.
pub(super) async fn why_closed(
    addr: &ConnectionAddr,
    error: &RedisError,
    limit: Duration,
) -> Option<String> {
    let ConnectionAddr::Tcp(host, port) = addr else { return None };
    if !error.is_io_error() || error.is_connection_refusal() {
        return None;
    }
    let ask = async {
        let mut stream = TcpStream::connect((host.as_str(), *port)).await.ok()?;
        let mut said = [0; 256];
        let length = stream.read(&mut said).await.ok()?;
        let line = String::from_utf8_lossy(&said[..length]).into_owned();
        Some(line.strip_prefix('-')?.trim_end().to_owned())
    };
    // A server that accepts the connection sends nothing by itself.
    let patience = limit.min(Duration::from_millis(100));
    tokio::time::timeout(patience, ask).await.ok().flatten()
}

#[cfg(test)]
mod tests {
    use redis::{ConnectionAddr, RedisError};

    use super::explain;

    #[test]
    fn refusals_say_what_to_do() {
        let addr = ConnectionAddr::Tcp("h".to_owned(), 1);
        let said = |text: &str| {
            let error = RedisError::from(std::io::Error::other(text.to_owned()));
            let error = explain(&addr, &error);
            (error.is_unavailable(), error.text().to_owned())
        };
        let (is_unavailable, text) = said("received fatal alert: CertificateRequired");
        assert!(!is_unavailable && text.contains("Tls::client_certificate"), "{text}");
        let (is_unavailable, text) = said("invalid peer certificate: UnknownIssuer");
        assert!(!is_unavailable && text.contains("Redis::ca"), "{text}");
        assert!(said("connection reset by peer").0);
    }
}
