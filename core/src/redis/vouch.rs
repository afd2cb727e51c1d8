//! Whether the server at the other end is still the master, where sentinels
//! say who is.
//!
//! Whoever reads, announces or beats takes a [`Question`] first, and confirms
//! what it has done by the answer. That is enough on both sides, since nobody
//! uses a server before a majority has named it: `docs/decisions.md` has the
//! argument.

use std::time::Instant;

use super::Why;
use super::keeper::Keeper;
use super::link::Link;
use crate::protocol::{Decision, Ticket};

/// A question to the sentinels that is under way; none where there are none,
/// or nobody has to be asked.
#[must_use]
pub(crate) struct Question {
    ticket: Option<Ticket>,
    /// When it was asked at the earliest.
    pub(crate) since: Instant,
}

/// Why a link is not vouched for.
#[derive(Debug)]
pub(crate) enum Doubt {
    /// A majority names another master, or this one in a later epoch.
    Elsewhere(Why),
    /// No majority has answered.
    Nobody(Why),
}

impl From<Doubt> for Why {
    fn from(doubt: Doubt) -> Why {
        match doubt {
            Doubt::Elsewhere(why) | Doubt::Nobody(why) => why,
        }
    }
}

impl Keeper {
    /// Has the sentinels asked who the master is, from now on.
    pub(crate) fn ask_for_master(&self) -> Question {
        let since = Instant::now();
        Question { ticket: self.sentinels.as_ref().map(|all| all.ask()), since }
    }

    /// The same for a lookup: one that is in the bound needs no answer.
    pub(crate) fn ask_for_lookup(&self) -> Question {
        match self.sentinels {
            Some(_) if self.options.is_strict() || !self.is_trusted() => self.ask_for_master(),
            _ => Question { ticket: None, since: self.origin },
        }
    }

    /// Whether a majority says that `link` leads to the master; as long as an
    /// operation may take.
    pub(crate) async fn confirm(&self, link: &Link, question: &Question) -> Result<(), Doubt> {
        let (Some(sentinels), Some(ticket)) = (&self.sentinels, question.ticket) else {
            return Ok(());
        };
        let decision = match sentinels.decision(ticket) {
            Some(decision) => decision,
            None => {
                let limit = self.options.operation_timeout;
                let decided = self.within(limit, sentinels.decided(ticket)).await;
                decided.ok_or_else(|| Doubt::Nobody(Why::sentinels_silent(limit)))?
            }
        };
        match decision {
            Decision::Named(master) if Some(&master) == link.master.as_ref() => Ok(()),
            Decision::Named(master) => Err(Doubt::Elsewhere(Why::new(format!(
                "the sentinels name another master: {}:{}, by epoch {}",
                master.host, master.port, master.epoch
            )))),
            Decision::Divided(nothing) => Err(Doubt::Nobody(Why::new(nothing.why))),
        }
    }
}
