//! Whether the data behind a connection is still the same data.
//!
//! Trust rests on pushes, and none come when data is exchanged as a whole: by
//! SWAPDB, or by keys that are restored from a dump. A master that has been a
//! replica for a moment calls itself master again. So each heartbeat reads what
//! tells: under which identity the server has its data, and whether the stamp
//! of everything is still the one that memory knows.

use super::LinkError;
use super::link::Link;
use super::node::{Heartbeat, field};
use super::state::SharedState;
use super::tier::token_in;
use crate::protocol::Token;
use crate::store::Stamp;
use crate::sync::Arc;

/// Commands that put other data in the place of what is there, and of which
/// nobody is told, or that bring stamps back which had been dropped.
const EXCHANGES: [&str; 2] = ["swapdb", "restore"];

/// Which data a server has, by its answers to `INFO replication` and `INFO
/// commandstats`: another one after every time that it took its data from
/// another server, or was made to exchange it.
pub(super) fn data_of(replication: &str, commands: &str) -> String {
    let calls = |name: &str| {
        let calls = field(commands, &format!("cmdstat_{name}"))?.strip_prefix("calls=")?;
        calls.split(',').next()?.parse::<u64>().ok()
    };
    let exchanges: u64 = EXCHANGES.iter().filter_map(|name| calls(name)).sum();
    format!("{}/{exchanges}", field(replication, "master_replid").unwrap_or_default())
}

/// The stamp of everything as memory knows it before a heartbeat is sent.
pub(super) struct Known {
    stamp: Arc<Stamp>,
    token: Option<Token>,
}

impl SharedState {
    /// What a heartbeat that is sent from now on is compared with.
    pub(super) fn known(&self) -> Known {
        let stamp = self.near.everything();
        let token = stamp.shared().and_then(|shared| shared.token());
        Known { stamp, token }
    }

    /// Distrusts memory if the stamp of everything is another one than it
    /// knows. An error where it is one of other servers.
    pub(super) fn compare(
        &self,
        link: &Link,
        known: &Known,
        heartbeat: &Heartbeat,
    ) -> Result<(), LinkError> {
        let (Some(_), Some(found)) = (known.token, &heartbeat.everything) else { return Ok(()) };
        if token_in(&known.stamp, found.as_deref(), link)? != known.token {
            self.near.all_changed();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::data_of;

    #[test]
    fn exchanges_are_told() {
        let data = |commands: &str| data_of("role:master\r\nmaster_replid:abc\r\n", commands);
        assert_eq!(data(""), "abc/0");
        let restored =
            "cmdstat_restore:calls=2,usec=5\r\ncmdstat_restore-asking:calls=7,usec=1\r\n";
        assert_eq!(data(restored), "abc/2");
        assert_eq!(data("cmdstat_swapdb:calls=1,usec=5\r\n"), "abc/1");
    }
}
