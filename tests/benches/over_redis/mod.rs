//! What benches over Redis share: a server, caches on it, a plain client to
//! compare with, and where all of them run.

mod place;
mod raw;
mod scale;
mod text;

use std::time::Duration;

use cacheops::{Cacheops, Consistency, Error, QuerySet, Redis, is_in};
use cacheops_tests::servers::{Sentinel, Server};

pub use place::{Place, each_place};
pub use raw::Raw;
pub use scale::Scale;
pub use text::fragment;

/// Nothing is given up for being slow.
const LONG: Duration = Duration::from_secs(60);

/// Settings for a server, strict or not.
pub fn settings(url: &str, strict: bool) -> Redis {
    let consistency = if strict { Consistency::Strict } else { Consistency::Bounded(LONG) };
    let redis = Redis::url(url).operation_timeout(LONG).connect_timeout(LONG);
    redis.consistency(consistency)
}

/// A process of its own, as far as the server can tell.
pub fn process(server: &Server, prefix: &str, strict: bool) -> Cacheops {
    let redis = settings(&server.url(), strict);
    Cacheops::builder().prefix(prefix).memory_limit(4 << 30).redis(redis).build().unwrap()
}

/// The same in strict mode over the master that sentinels name.
pub fn process_of(sentinel: &Sentinel, prefix: &str) -> Cacheops {
    let redis = Redis::sentinel(sentinel.master_name(), sentinel.sentinel_urls());
    let redis = redis.operation_timeout(LONG).connect_timeout(LONG);
    let redis = redis.consistency(Consistency::Strict);
    Cacheops::builder().prefix(prefix).memory_limit(4 << 30).redis(redis).build().unwrap()
}

/// The articles of `count` categories: as many conjunctions of one table.
pub fn articles(count: u32) -> QuerySet {
    QuerySet::table("articles").filter(is_in("category", 0..count))
}

/// The value of a fragment; one place in the source for all.
pub fn read(cache: &Cacheops, set: QuerySet, extra: u64) -> String {
    let fill = || Ok::<_, Error>(fragment().to_owned());
    cache.cached_as(set).extra(&extra).get_or_fill(fill).unwrap()
}
