//! A search of the protocol through all its states.
//!
//! The decisions are the shipped ones: [`LeasePlan`](super::LeasePlan),
//! [`Sweep`](super::Sweep), [`verdict`](super::verdict) and what memory makes
//! of tokens ([`stands_for`](super::stands_for) and its neighbours). Around
//! them is a small world: a store that carries out one command at a time, a
//! row in a database, processes with threads and memory, and lines between
//! them on which news and replies keep their order. Any thread may take the
//! next step, and so be slow, or crash, at any point; a mishap may come
//! instead: a key is lost, or all are; a connection breaks, or is given up
//! while it still works; the bound passes without a heartbeat; the store goes
//! back in time. In a cluster the commands for different keys keep no order,
//! and news and replies keep none either.
//!
//! **Never stale**: a lookup never serves data older than what had been
//! announced when it began. In strict mode that is all that was announced by
//! any process; in memory what its own process has announced, and what others
//! had when the last heartbeat was answered, or a bound ago. And hits there
//! are, lest this be true because nothing is ever served.
//!
//! Each way in [`broken`] to break the protocol is found out, and the search
//! prints the shortest trace to a stale lookup.
//!
//! ```text
//! cargo test -p cacheops --features redis protocol::model
//! cargo test --release -p cacheops --features redis protocol::model -- --ignored --nocapture
//! ```
//!
//! The latter searches the worlds that take minutes. Not in the model: rows
//! with several values (each spells one key of each scheme here), time limits
//! of fragments, single flight, commands that a server carries out after the
//! process has given their connection up, and futures that are dropped on the
//! way.
//!
//! - `world`: who takes part, and the steps; `worlds`: what is searched.
//! - `state`, `canon`: a state, and the one form of all its likes.
//! - `names`, `server`: keys, commands and the store.
//! - `near`: memory; `lookup`, `lease`, `write`: what threads do.
//! - `line`: news, heartbeats, mishaps.
//! - `search`, `tests`: the searches.
//! - `masters`: another search, of two servers that both call themselves master.

mod broken;
mod canon;
mod lease;
mod line;
mod lookup;
mod masters;
mod names;
mod near;
mod search;
mod server;
mod state;
mod tests;
mod world;
mod worlds;
mod write;
