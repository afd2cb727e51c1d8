//! The core of cacheops. It caches fragments, and invalidates exactly those that
//! a changed row affects. It works without a template engine. The plugins
//! `minijinja-cacheops` and `tera-cacheops` add tags to MiniJinja and Tera.
//!
//! A **fragment** is a piece of output, or any value, that was made from
//! **querysets**. The cache stores it with **stamps**: the tokens that its
//! querysets' **conjunctions** had before the fill read anything. A change drops
//! the stamps of the conjunctions that it matches. A fragment is a hit only while
//! all of its stamps are current. So the cost of an invalidation grows with the
//! number of kinds of queries, never with the number of fragments. And the cache
//! never serves a fragment that was being filled while its data changed.
//!
//! ```
//! use cacheops::{Cacheops, QuerySet, eq};
//!
//! let cache = Cacheops::in_memory();
//! let published = QuerySet::table("articles").filter(eq("status", "published"));
//! let count = cache.cached_as(&published).get_or_fill(|| {
//!     Ok::<_, cacheops::Error>(3) // ask the database
//! })?;
//! cache.invalidate_model("articles")?;
//! # assert_eq!(count, 3);
//! # Ok::<_, cacheops::Error>(())
//! ```
//!
//! # What is promised
//!
//! Once an `invalidate…` call has returned, no lookup that starts later
//! returns anything made from data read before the change that it announces.
//! In one process this holds without exception. Over Redis (feature `redis`) it
//! holds in the process that made the call, and with `Consistency::Strict` in all
//! other processes. By default, the other processes are up to date once the push
//! arrives; without one, they are stale for at most one second. This holds if
//!
//! - you announce every change, **after** its commit, with all columns that
//!   querysets filter on (a row that lacks one invalidates its whole table);
//! - everything that a fragment shows is in its querysets or in its `extra`, or
//!   the fill reads it through the same cache, on the thread that fills;
//! - the fill reads the data after it has begun, not in an older snapshot.
//!
//! # Features
//!
//! | feature | default | what it adds |
//! |---|---|---|
//! | `tracing` | yes | events with the target `cacheops`: reads and invalidations at debug level, failures and changes of the connection as warnings |
//! | `redis` | no | a shared tier for several processes: Redis, Valkey or Dragonfly |
//! | `redis-tls` | no | TLS for its connections |
//!
//! # Stability
//!
//! What these pages show follows semantic versioning. The hidden module
//! `template` is for the plugins of template engines, and may change in any
//! release: whoever builds on it depends on exactly one version, as they do.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod cache;
mod clock;
mod error;
mod fragment;
mod key;
mod observe;
mod prefix;
mod profile;
#[cfg(feature = "redis")]
mod protocol;
mod queryset;
mod read;
#[cfg(feature = "redis")]
mod redis;
mod shared;
mod store;
mod sync;
#[doc(hidden)]
pub mod template;
mod value;
mod write;

pub use cache::{Builder, Cached, Cacheops};
pub use clock::{Clock, ManualClock, SystemClock};
pub use error::{Error, ErrorKind, FillError};
pub use fragment::TemplateUse;
pub use key::{FragmentKey, KeyWriter, ParseKeyError};
pub use observe::{
    CacheInvalidated, CacheRead, FragmentInfo, InvalidationFailed, Outcome, Stats, Target,
};
pub use prefix::PrefixQuery;
pub use profile::Profile;
pub use queryset::{
    Condition, QuerySet, all, any, compare, eq, gt, gte, is_in, is_null, like, lt, lte, ne, not,
    opaque,
};
pub use read::{Fill, FillOwner, Found, Hit, Lease, Page, Request, RowReader};
#[cfg(feature = "redis")]
pub use redis::{Consistency, Credentials, LinkState, Redis, SharedFragment, SharedStatus, Tls};
pub use store::Usage;
pub use value::{Row, Scalar};
pub use write::{
    PendingCommit, Savepoint, Transaction, WriteEvent, no_invalidation, no_invalidation_async,
};
