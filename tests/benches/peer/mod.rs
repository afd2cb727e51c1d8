//! Our side of the comparison: a cache, a plain client beside it, and lines of
//! JSON.

use std::hint::black_box;
use std::time::{Duration, Instant};

use cacheops::Cacheops;
use redis::{Cmd, FromRedisValue, from_redis_value};
use serde_json::{Value as Json, json};

use crate::over_redis::{Raw, fragment, settings};

/// What every fragment has.
pub const TIMEOUT: Duration = Duration::from_secs(3600);
/// As long as a fragment's key.
const PLAIN: &str = "plain0000000000000000000000000000000000000000";

pub struct Peer {
    mode: String,
    url: String,
    pub raw: Raw,
}

impl Peer {
    pub fn new(port: &str, mode: &str) -> Self {
        let url = format!("redis://127.0.0.1:{port}/");
        Peer { mode: mode.to_owned(), raw: Raw::connect(&url), url }
    }

    /// A process of its own, as far as the server can tell.
    pub fn process(&self, compresses: bool) -> Cacheops {
        let redis = settings(&self.url, self.mode == "strict");
        let redis = if compresses { redis } else { redis.compress_above(usize::MAX) };
        let cache = Cacheops::builder().memory_limit(4 << 30).time_to_live(TIMEOUT);
        cache.redis(redis).build().unwrap()
    }

    /// A line of the median and the 10th and 90th percentile.
    pub fn say(&self, what: &str, mut times: Vec<f64>, unit: &str, more: Json) {
        times.sort_by(f64::total_cmp);
        let at = |share: f64| hundredths(times[(share * (times.len() - 1) as f64) as usize]);
        let mut line = json!({
            "peer": "cacheops for Rust", "mode": self.mode, "what": what, "p50": at(0.5),
            "p10": at(0.1), "p90": at(0.9), "n": times.len(), "unit": unit,
        });
        if let (Some(line), Json::Object(more)) = (line.as_object_mut(), more) {
            line.extend(more);
        }
        println!("{line}");
    }

    pub fn ask<T: FromRedisValue>(&self, words: &[&str]) -> T {
        let mut command = Cmd::new();
        command.arg(words);
        from_redis_value(self.raw.ask(&command)).unwrap()
    }

    pub fn flush(&self) {
        self.ask::<()>(&["FLUSHDB"]);
    }

    pub fn info(&self, section: &str, field: &str) -> u64 {
        let text: String = self.ask(&["INFO", section]);
        let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        line.map_or(0, |line| line.trim().parse().unwrap())
    }

    /// What gets a plain value: the measure of the machine.
    pub fn plain_get(&self) -> impl FnMut() {
        self.ask::<()>(&["SET", PLAIN, fragment(), "EX", "3600"]);
        let mut command = Cmd::new();
        command.arg("GET").arg(PLAIN);
        move || drop(black_box(self.raw.ask(&command)))
    }

    /// Times the cases by turns, each so often a round as it is told to, and a
    /// plain GET with them: last.
    pub fn in_turns<'a>(&'a self, mut cases: Vec<Case<'a>>, rounds: u32) -> Vec<Vec<f64>> {
        cases.push((100, Box::new(self.plain_get())));
        let mut times = vec![Vec::new(); cases.len()];
        for round in 0..rounds + 3 {
            for ((often, run), times) in cases.iter_mut().zip(&mut times) {
                let found = (0..*often).map(|_| timed(&mut *run));
                match round {
                    // The first rounds warm up.
                    0..3 => found.for_each(drop),
                    _ => times.extend(found),
                }
            }
        }
        self.ask::<()>(&["DEL", PLAIN]);
        times
    }
}

/// How often a round, and what.
pub type Case<'a> = (u32, Box<dyn FnMut() + 'a>);

/// Microseconds of one run.
pub fn timed(run: impl FnOnce()) -> f64 {
    let start = Instant::now();
    run();
    start.elapsed().as_nanos() as f64 / 1000.0
}

pub fn median(times: &[f64]) -> f64 {
    let mut times = times.to_vec();
    times.sort_by(f64::total_cmp);
    hundredths(times[times.len() / 2])
}

fn hundredths(figure: f64) -> f64 {
    (figure * 100.0).round() / 100.0
}
