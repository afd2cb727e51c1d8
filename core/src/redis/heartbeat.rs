//! Heartbeats: they renew the trust in memory, and show whether the data behind a
//! connection is still the same.
//!
//! Trust rests on pushes, and none come when the data is exchanged as a whole: by
//! SWAPDB, by keys that are restored from a dump, or on a master that was briefly
//! a replica. So each heartbeat reads the identity of the server's data, and
//! compares the stamp of everything with the one in memory.

use std::sync::atomic::Ordering;

use super::error::LinkError;
use super::link::Link;
use super::master_check::MasterCheckError;
use super::node::Heartbeat;
use super::stamps::token_in;
use super::state::SharedState;
use crate::protocol::Token;
use crate::store::Stamp;
use crate::sync::Arc;
use crate::write::keys::everything_key;

/// Why a connection is given up when all keys have gone.
pub(super) const FLUSHED: &str = "all keys have gone: the server was flushed, or loads other data";

/// The stamp of everything as memory knows it before a heartbeat is sent.
struct KnownEverything {
    stamp: Arc<Stamp>,
    token: Option<Token>,
}

impl SharedState {
    /// Sends a heartbeat, whose reply comes behind all pushes up to now, and asks
    /// the sentinels whether the server is the master.
    pub(crate) async fn heartbeat(&self, link: &Link) -> Result<(), LinkError> {
        let check = self.begin_master_check();
        let known = self.known_everything();
        let compared = self.read_heartbeat(link).await.and_then(|heartbeat| {
            self.compare(link, &known, &heartbeat)?;
            Ok(heartbeat)
        });
        let mut heartbeat = match compared {
            Ok(heartbeat) => heartbeat,
            Err(error) => {
                self.disconnect(link.session, &error);
                return Err(error);
            }
        };
        match self.confirm_master(link, &check).await {
            Ok(()) => {
                heartbeat.sent = heartbeat.sent.min(check.since);
                self.renew_trust(link.session, &heartbeat);
                Ok(())
            }
            // Earlier heartbeats count until the bound is over.
            Err(MasterCheckError::NoMajority(_)) if self.is_trusted() => Ok(()),
            Err(MasterCheckError::OtherMaster(error) | MasterCheckError::NoMajority(error)) => {
                self.disconnect(link.session, &error);
                Err(error)
            }
        }
    }

    /// A heartbeat of all servers. An error if all keys have gone since their data
    /// was last looked at.
    pub(super) async fn read_heartbeat(&self, link: &Link) -> Result<Heartbeat, LinkError> {
        let heartbeat = link.heartbeat(&everything_key(&self.prefix)).await?;
        match self.flushes.load(Ordering::SeqCst) == self.flushes_seen.load(Ordering::SeqCst) {
            true => Ok(heartbeat),
            false => Err(LinkError::exchanged(FLUSHED)),
        }
    }

    fn known_everything(&self) -> KnownEverything {
        let stamp = self.near.everything();
        let token = stamp.shared().and_then(|shared| shared.token());
        KnownEverything { stamp, token }
    }

    /// Stops trusting memory if the stamp of everything has changed. An error if
    /// other servers have made it.
    fn compare(
        &self,
        link: &Link,
        known: &KnownEverything,
        heartbeat: &Heartbeat,
    ) -> Result<(), LinkError> {
        let (Some(_), Some(peeked)) = (known.token, &heartbeat.everything) else { return Ok(()) };
        if token_in(&known.stamp, peeked.value(), link)? != known.token {
            self.near.all_changed();
        }
        Ok(())
    }
}
