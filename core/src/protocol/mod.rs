//! The stamps protocol over a shared store, as decisions without I/O: which
//! commands a fill, a lookup and an invalidation send, and what follows from
//! the replies. The driver in `redis/` carries them out; the search in
//! `tests/protocol.rs` carries them out one by one, in every order.

mod command;
mod lease;
mod sweep;
mod token;
mod verdict;

pub(crate) use command::{Command, Reply};
pub(crate) use lease::{LeasePlan, TablePlan};
pub(crate) use sweep::{Next, Registry, Sweep, SweepTarget, Swept};
pub(crate) use token::Token;
pub(crate) use verdict::{Verdict, verdict};

/// The field of a registry that holds its epoch.
pub(crate) const EPOCH: &[u8] = b"_e";
