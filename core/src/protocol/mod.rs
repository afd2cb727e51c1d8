//! The protocol of stamps over a shared store, as decisions without I/O: which
//! commands a fill, a lookup and an invalidation send, and what follows from the
//! replies. The driver in `redis/` executes the commands. The search in `model/`
//! executes them one by one, in every order.

mod command;
mod lease;
#[cfg(test)]
mod model;
mod near;
mod quorum;
mod sweep;
mod token;
mod verdict;

pub(crate) use command::{Command, Key, Reply, Unless};
pub(crate) use lease::{LeasePlan, TablePlan};
pub(crate) use near::{
    MemoryTrust, SchemeState, StampRead, current, is_leased, is_other_epoch, stands_for,
};
pub(crate) use quorum::{Decision, Master, NoAnswer, Quorum, Ticket, View};
pub(crate) use sweep::{Next, Registry, Sweep, SweepTarget, Swept};
pub(crate) use token::Token;
pub(crate) use verdict::{Verdict, verdict};

/// The field of a registry that contains its epoch.
pub(crate) const EPOCH: &[u8] = b"_e";
