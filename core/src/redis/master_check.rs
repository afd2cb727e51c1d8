//! Whether the server is still the master, where sentinels name it.
//!
//! A lookup, an invalidation or a heartbeat begins a [`MasterCheck`] before it sends
//! anything, and confirms the master when it has the replies. This is enough, because
//! no server is used before a majority has named it; `docs/decisions.md` has the
//! argument.

use std::time::Instant;

use super::error::LinkError;
use super::link::Link;
use super::state::SharedState;
use crate::protocol::{Decision, Ticket};

/// A check in progress. It has no ticket if there are no sentinels, or if they need not
/// be asked.
#[must_use]
pub(crate) struct MasterCheck {
    ticket: Option<Ticket>,
    /// The earliest time at which the sentinels were asked.
    pub(crate) since: Instant,
}

/// Why a server is not confirmed as the master.
#[derive(Debug)]
pub(crate) enum MasterCheckError {
    /// A majority names another master, or this one under a later epoch.
    OtherMaster(LinkError),
    /// No majority has answered.
    NoMajority(LinkError),
}

impl From<MasterCheckError> for LinkError {
    fn from(error: MasterCheckError) -> LinkError {
        match error {
            MasterCheckError::OtherMaster(error) | MasterCheckError::NoMajority(error) => error,
        }
    }
}

impl SharedState {
    /// Begins a check: the sentinels are asked from now on.
    pub(crate) fn begin_master_check(&self) -> MasterCheck {
        let since = Instant::now();
        MasterCheck { ticket: self.sentinels.as_ref().map(|all| all.ask()), since }
    }

    /// Begins a check for a lookup. One that may rely on memory needs none.
    pub(crate) fn begin_lookup_check(&self) -> MasterCheck {
        match self.sentinels {
            Some(_) if self.options.is_strict() || !self.is_trusted() => self.begin_master_check(),
            _ => MasterCheck { ticket: None, since: self.origin },
        }
    }

    /// Confirms that `link` leads to the master. This waits for the sentinels, for one
    /// operation timeout at most.
    pub(crate) async fn confirm_master(
        &self,
        link: &Link,
        check: &MasterCheck,
    ) -> Result<(), MasterCheckError> {
        let (Some(sentinels), Some(ticket)) = (&self.sentinels, check.ticket) else {
            return Ok(());
        };
        let decision = match sentinels.decision(ticket) {
            Some(decision) => decision,
            None => {
                let limit = self.options.operation_timeout;
                let decided = self.within(limit, sentinels.decided(ticket)).await;
                decided.ok_or_else(|| {
                    MasterCheckError::NoMajority(LinkError::sentinels_timeout(limit))
                })?
            }
        };
        match decision {
            Decision::Named(master) if Some(&master) == link.master.as_ref() => Ok(()),
            Decision::Named(master) => Err(MasterCheckError::OtherMaster(LinkError::new(format!(
                "the sentinels name another master: {}:{}, by epoch {}",
                master.host, master.port, master.epoch
            )))),
            Decision::NoMajority(failure) => {
                Err(MasterCheckError::NoMajority(LinkError::new(failure.reason)))
            }
        }
    }
}
