//! The core of cacheops: fragments cached with granular, event-driven and
//! exact invalidation. It knows no template engine; the plugins
//! `minijinja-cacheops` and `tera-cacheops` add tags to MiniJinja and Tera.
//!
//! A **fragment** is a piece of output, or any value, that was made from
//! **querysets**. It is kept together with **stamps**: tokens that stood under
//! its querysets' **conjunctions** before anything was read. A change drops
//! the stamps that it meets, and a fragment is a hit only while all of its
//! stamps are the current ones. So what an invalidation costs grows with the
//! number of kinds of queries, never with the number of fragments, and a
//! fragment that was being made while its data changed is never served.
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
//! In one process that holds without exception. Over Redis (feature `redis`) it
//! holds in the process that called, and with `Consistency::Strict` in all
//! others. By default the others serve nothing older once the push of Redis has
//! arrived; without a push, they serve for at most one second what has been
//! invalidated. It holds if
//!
//! - every change is announced, **after** its commit, with all columns that
//!   querysets name (a row that lacks one invalidates its whole table);
//! - what a fragment shows is in its querysets, in its `extra`, or is looked
//!   up through the same cache while it is made, in the thread that makes it;
//! - the data is read after the fill began, not in a snapshot opened before.
//!
//! # Features
//!
//! | feature | default | what it adds |
//! |---|---|---|
//! | `tracing` | yes | events under the target `cacheops`: what is read and invalidated at debug level, failures and changes of the connection as warnings |
//! | `redis` | no | a shared tier: Redis, Valkey or Dragonfly, for many processes |
//! | `redis-tls` | no | TLS to it |

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
pub mod template;
mod value;
mod write;

pub use cache::{Builder, Cached, Cacheops};
pub use clock::{Clock, ManualClock, SystemClock};
pub use error::{Error, ErrorKind};
pub use fragment::TemplateUse;
pub use key::{FragmentKey, KeyWriter};
pub use observe::{
    CacheInvalidated, CacheRead, FragmentInfo, InvalidationFailed, Outcome, Stats, Target,
};
pub use prefix::PrefixQuery;
pub use profile::Profile;
pub use queryset::{
    Condition, QuerySet, all, any, compare, eq, gt, gte, is_in, is_null, like, lt, lte, ne, not,
    opaque,
};
pub use read::{Fill, Found, Hit, Lease, Page, Request};
#[cfg(feature = "redis")]
pub use redis::{Consistency, Credentials, LinkState, Redis, SharedStatus, Tls};
pub use store::Usage;
pub use value::{Row, Scalar};
pub use write::{PendingCommit, WriteEvent};
