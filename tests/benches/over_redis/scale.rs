//! What things weigh in the memory of a server.

use std::time::Duration;

use cacheops::{Cacheops, Error, QuerySet, is_in};
use cacheops_tests::servers::Server;
use redis::Pipeline;

use super::{Raw, settings};

const FRAGMENTS: u64 = 20_000;
const TIMEOUT: u64 = 3_600;

/// Weighs on a server, which it flushes.
pub struct Scale<'a> {
    server: &'a Server,
    raw: Raw,
}

impl<'a> Scale<'a> {
    pub fn new(server: &'a Server) -> Self {
        Scale { server, raw: Raw::connect(&server.url()) }
    }

    /// Bytes of a plain value, by SET with EX, under a key as long as that of a
    /// fragment.
    pub fn plain(&self, value: &dyn Fn(u64) -> String) -> f64 {
        self.each(|| {
            for chunk in 0..FRAGMENTS / 500 {
                let mut pipeline = Pipeline::new();
                for n in chunk * 500..(chunk + 1) * 500 {
                    let key = format!("frag:{n:040}");
                    pipeline.cmd("SET").arg(key).arg(value(n)).arg("EX").arg(TIMEOUT);
                }
                self.raw.send(&pipeline);
            }
        })
    }

    /// Bytes of a fragment with so many conjunctions of its own, or else one
    /// that all share; without what the server remembers of who has read it.
    pub fn fragment(&self, compresses: bool, own: u64, value: &dyn Fn(u64) -> String) -> f64 {
        self.track_at_most("1");
        let each = self.each(|| self.fill(compresses, own, value));
        self.track_at_most("1000000");
        each
    }

    /// Bytes that the server keeps for each fragment with a conjunction of its
    /// own and each process that has read them.
    pub fn tracked(&self) -> f64 {
        let value = |n: u64| n.to_string();
        let all = self.each(|| self.fill(false, 1, &value));
        all - self.fragment(false, 1, &value)
    }

    fn fill(&self, compresses: bool, own: u64, value: &dyn Fn(u64) -> String) {
        let redis = settings(&self.server.url(), false);
        let redis = if compresses { redis } else { redis.compress_above(usize::MAX) };
        let cache = Cacheops::builder().redis(redis).build().unwrap();
        for n in 0..FRAGMENTS {
            let values = if own == 0 { 0..1 } else { n * own..(n + 1) * own };
            let set = QuerySet::table("articles").filter(is_in("category", values));
            let cached = cache.cached_as(set).extra(&n).time_to_live(Duration::from_secs(TIMEOUT));
            cached.lock(false).get_or_fill(|| Ok::<_, Error>(value(n))).unwrap();
        }
    }

    fn track_at_most(&self, keys: &str) {
        self.server.command(&["CONFIG", "SET", "tracking-table-max-keys", keys]).unwrap();
    }

    fn each(&self, fill: impl FnOnce()) -> f64 {
        self.server.command(&["FLUSHALL"]).unwrap();
        let before = self.used();
        fill();
        (self.used() - before) / FRAGMENTS as f64
    }

    /// Bytes in use, when the server has come to rest.
    fn used(&self) -> f64 {
        std::thread::sleep(Duration::from_millis(300));
        self.server.info("used_memory").parse().unwrap()
    }
}
