//! What a server says of itself: which one it is, which data it holds, and whether
//! the cache can use it.

use redis::Value;

use super::consistency::Consistency;
use super::error::SetupError;

/// What a server says of itself.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    /// Changes with each start of the server, and whenever the server takes over the
    /// data of another.
    pub(crate) id: String,
    /// The part that may change while the server runs.
    pub(crate) data: String,
    pub(crate) is_master: bool,
    /// Whether the server sends a push before replies that already show the change.
    pub(crate) is_causal: bool,
}

impl Identity {
    /// Checks whether the cache can use the server with this consistency.
    pub(crate) fn check(&self, host: &str, consistency: Consistency) -> Result<(), SetupError> {
        if !self.is_master {
            return Err(SetupError::unavailable(format!(
                "{host} is a replica: give the URL of its master, or let Sentinel name it (`Redis::sentinel`)"
            )));
        }
        if !self.is_causal && consistency != Consistency::Strict {
            return Err(SetupError::unfit_server(format!(
                "{host} is a Dragonfly, which may answer before it tells of earlier changes, so a heartbeat says nothing of what is in memory: use `Consistency::Strict` there"
            )));
        }
        Ok(())
    }
}

/// Commands that exchange data without a push, or that bring dropped stamps back.
const EXCHANGES: [&str; 2] = ["swapdb", "restore"];

/// The data that a server holds, by its answers to `INFO replication` and `INFO
/// commandstats`. It changes whenever the server takes over the data of another, or a
/// command exchanges it.
pub(super) fn data_of(replication: &str, commands: &str) -> String {
    let calls = |name: &str| {
        let calls = field(commands, &format!("cmdstat_{name}"))?.strip_prefix("calls=")?;
        calls.split(',').next()?.parse::<u64>().ok()
    };
    let exchanges: u64 = EXCHANGES.iter().filter_map(|name| calls(name)).sum();
    format!("{}/{exchanges}", field(replication, "master_replid").unwrap_or_default())
}

/// The text of a reply to INFO.
pub(super) fn text(info: Value) -> String {
    match info {
        Value::BulkString(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Value::VerbatimString { text, .. } | Value::SimpleString(text) => text,
        _ => String::new(),
    }
}

/// A field in the text of a reply to INFO.
pub(super) fn field<'t>(info: &'t str, name: &str) -> Option<&'t str> {
    let mut lines = info.lines();
    lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::{Consistency, Identity, data_of};

    #[test]
    fn exchanges_are_told() {
        let data = |commands: &str| data_of("role:master\r\nmaster_replid:abc\r\n", commands);
        assert_eq!(data(""), "abc/0");
        let restored =
            "cmdstat_restore:calls=2,usec=5\r\ncmdstat_restore-asking:calls=7,usec=1\r\n";
        assert_eq!(data(restored), "abc/2");
        assert_eq!(data("cmdstat_swapdb:calls=1,usec=5\r\n"), "abc/1");
    }

    #[test]
    fn what_does_not_order_pushes_is_for_strict_mode_only() {
        let server = |is_master, is_causal| Identity {
            id: String::new(),
            data: String::new(),
            is_master,
            is_causal,
        };
        assert!(server(true, true).check("h", Consistency::default()).is_ok());
        assert!(server(true, false).check("h", Consistency::Strict).is_ok());
        let error = server(true, false).check("h", Consistency::default()).unwrap_err();
        assert!(!error.is_unavailable() && error.text().contains("use `Consistency::Strict`"));
        assert!(server(false, true).check("h", Consistency::Strict).unwrap_err().is_unavailable());
    }
}
