//! Redis, Valkey or Dragonfly as the shared tier.
//!
//! What an application says and is told:
//!
//! - `options`, `servers`, `consistency`, `access`: the settings, with credentials and
//!   certificates.
//! - `status`, `log`: the state of the connection, and log events for operators.
//!
//! Connections:
//!
//! - `endpoint`, `advice`: reaching a server, and what to do when that fails.
//! - `node`, `identity`, `rights`: a connection to one server, who the server is, and
//!   what the user may do there.
//! - `wire`, `slots`: commands and replies as redis-rs has them; the slots of a cluster.
//! - `link`, `bulk`: the connection to all servers of a session, and the one for large
//!   values.
//! - `discover`, `sentinels`: finding the servers; asking sentinels for the master.
//!
//! The state of a process:
//!
//! - `state`: what all threads share of the connection; `connection_state`,
//!   `server_clock`, `times`, `registries`, `lengths`, `pending`, `abandoned` and
//!   `key_waiters` are parts of it.
//! - `supervisor`: the thread that connects, watches the connection and connects again;
//!   `push` handles what servers push, `heartbeat` renews trust, `master_check` asks
//!   whether the server is still the master, `forked` is for child processes.
//!
//! Operations:
//!
//! - `tier`: what the core calls; `lookup` and `storing` are parts of it, and `prefetch`
//!   fetches the fragments of a page together.
//! - `search`, `revalidation`: looking a fragment up, and verifying one in memory.
//! - `lease`, `fill_lock`, `around`: the stamps of a fill, its lock, and what was read
//!   around it.
//! - `deliver`, `last_invalidation`: invalidations and their times.
//! - `stamps`, `stamp_map`, `held_stamps`, `codec`, `keys`, `bounded_map`: stamps and fragments as they
//!   lie in the store.

mod abandoned;
mod access;
mod advice;
mod around;
mod bounded_map;
mod bulk;
mod codec;
mod connection_state;
mod consistency;
mod deliver;
mod discover;
mod endpoint;
mod error;
mod fill_lock;
mod forked;
mod heartbeat;
mod held_stamps;
mod identity;
mod key_waiters;
mod keys;
mod last_invalidation;
mod lease;
mod lengths;
mod link;
mod log;
mod lookup;
mod master_check;
mod node;
mod options;
mod pending;
mod prefetch;
mod push;
mod registries;
mod revalidation;
mod rights;
mod search;
mod sentinels;
mod server_clock;
mod servers;
mod slots;
mod stamp_map;
mod stamps;
mod state;
mod status;
mod storing;
mod supervisor;
mod tier;
mod times;
mod wire;

pub(crate) use abandoned::AbandonedBatch;
pub use access::{Credentials, Tls};
pub(crate) use around::others_hold;
pub use consistency::Consistency;
pub(crate) use fill_lock::FillLock;
pub(crate) use lease::Leased;
pub(crate) use lookup::LookupResult;
pub use options::Redis;
pub use status::{LinkState, SharedFragment, SharedStatus};
pub(crate) use tier::Tier;
