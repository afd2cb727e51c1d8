//! Whether the server at the other end is still the master, where sentinels
//! say who is.
//!
//! Whoever reads, announces or beats takes a [`Question`] first, and confirms
//! what it has done by the answer. That is enough on both sides, since nobody
//! uses a server before a majority has named it: `docs/decisions.md` has the
//! argument.

use std::time::Instant;

use super::error::LinkError;
use super::link::Link;
use super::state::SharedState;
use crate::protocol::{Decision, Ticket};

/// A question to the sentinels that is under way; none where there are none,
/// or nobody has to be asked.
#[must_use]
pub(crate) struct MasterCheck {
    ticket: Option<Ticket>,
    /// When it was asked at the earliest.
    pub(crate) since: Instant,
}

/// Why a link is not vouched for.
#[derive(Debug)]
pub(crate) enum MasterCheckError {
    /// A majority names another master, or this one in a later epoch.
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
    /// Has the sentinels asked who the master is, from now on.
    pub(crate) fn begin_master_check(&self) -> MasterCheck {
        let since = Instant::now();
        MasterCheck { ticket: self.sentinels.as_ref().map(|all| all.ask()), since }
    }

    /// The same for a lookup: one that is in the bound needs no answer.
    pub(crate) fn begin_lookup_check(&self) -> MasterCheck {
        match self.sentinels {
            Some(_) if self.options.is_strict() || !self.is_trusted() => self.begin_master_check(),
            _ => MasterCheck { ticket: None, since: self.origin },
        }
    }

    /// Whether a majority says that `link` leads to the master; as long as an
    /// operation may take.
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
