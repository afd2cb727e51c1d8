//! An exhaustive search of the states of the protocol.
//!
//! The search uses the decisions that ship: [`LeasePlan`](super::LeasePlan),
//! [`Sweep`](super::Sweep), [`verdict`](super::verdict), and what memory
//! concludes from tokens ([`stands_for`](super::stands_for) and its neighbours).
//! Around them is a small world: a store that executes one command at a time, a
//! row in a database, processes with threads and memory, and connections on which
//! pushes and replies keep their order. Any thread may take the next step, so a
//! thread may be slow, or crash, at any point. A fault may happen instead: one
//! key or all keys are lost; a connection breaks, or is given up although it
//! works; the bound passes without a heartbeat; the store goes back in time. In a
//! cluster, commands for different keys have no order, and neither have pushes
//! and replies.
//!
//! **Never stale**: a lookup never serves data that is older than what had been
//! announced when it began. In strict mode this includes the announcements of all
//! processes. In memory it includes those of the own process, and those that
//! others had made when the last heartbeat was answered, or one bound ago. There
//! are also hits, so that the property does not hold merely because nothing is
//! served.
//!
//! The search finds every way in [`broken`] to break the protocol, and prints the
//! shortest trace to a stale lookup.
//!
//! ```text
//! cargo test -p cacheops --features redis protocol::model
//! cargo test --release -p cacheops --features redis protocol::model -- --ignored --nocapture
//! ```
//!
//! The second command searches the worlds that take minutes. The model does not
//! cover: rows with several values (each matches one key of each scheme here),
//! time limits of fragments, single flight, commands that a server executes after
//! the process has given the connection up, and futures that are dropped midway.
//!
//! - `world`: the participants and the steps; `transitions`: what the checker sees of
//!   it; `worlds`: what is searched.
//! - `state`, `canon`: a state, and the canonical form of equivalent states.
//! - `names`, `server`: keys, commands and the store.
//! - `near`: memory; `lookup`, `lease`, `write`: what threads do.
//! - `connection`: pushes, heartbeats, faults.
//! - `search`, `tests`: the searches.
//! - `masters`: another search, of two servers that both call themselves master.

mod broken;
mod canon;
mod connection;
mod lease;
mod lookup;
mod masters;
mod names;
mod near;
mod search;
mod server;
mod state;
mod tests;
mod transitions;
mod world;
mod worlds;
mod write;
