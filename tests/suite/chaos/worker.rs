//! A process that reads and writes: this binary once more, which runs a test
//! that does nothing unless it is given a job.

use std::io::Read as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use cacheops::{Cacheops, Consistency, Redis};
use cacheops_tests::engines::MiniJinja;
use serde::{Deserialize, Serialize};

use super::database::Database;
use super::oracle::Oracle;
use super::reads::{self, Lookup, Reader, Style};
use super::report::{Tally, say};
use super::tenants;
use super::writes::Writer;

/// The variable that holds the job.
pub const JOB: &str = "CACHEOPS_CHAOS_JOB";

/// Stands before all keys.
pub const PREFIX: &str = "chaos:";

/// Where the servers are.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Servers {
    One(String),
    Cluster(Vec<String>),
    Sentinel(String, Vec<String>),
}

/// A mistake that an application may make, for the oracle to see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Bug {
    /// Some changes are not invalidated.
    Forget,
    /// The database is read before the lookup.
    Early,
    /// The bound is longer than it is said to be.
    Late,
    /// There is a bound, and it is said to be strict.
    Lax,
    /// The prefix is now and then another tenant's.
    Mixed,
}

/// What a worker is to do.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Job {
    pub number: u64,
    pub servers: Servers,
    pub database: PathBuf,
    /// The bound on staleness; none is strict.
    pub bound: Option<Duration>,
    pub queues: bool,
    /// The bytes of its memory.
    pub memory: u64,
    pub seed: u64,
    pub bug: Option<Bug>,
}

/// A worker at work.
pub struct WorkerProcess {
    pub job: Job,
    pub cache: Cacheops,
    pub database: Arc<Database>,
    pub oracle: Oracle,
    pub pages: MiniJinja,
    tally: Mutex<Tally>,
    stops_writing: AtomicBool,
    stops_reading: AtomicBool,
}

impl Job {
    fn cache(&self) -> Cacheops {
        let redis = match self.servers.clone() {
            Servers::One(url) => Redis::url(url),
            Servers::Cluster(urls) => Redis::cluster(urls),
            Servers::Sentinel(name, urls) => Redis::sentinel(name, urls),
        };
        let redis = match (self.bound, self.bug) {
            (Some(_), Some(Bug::Late)) => redis
                .consistency(Consistency::Bounded(Duration::from_secs(60)))
                .operation_timeout(Duration::from_secs(60)),
            (Some(bound), _) => redis.consistency(Consistency::Bounded(bound)),
            (None, Some(Bug::Lax)) => redis.consistency(Consistency::default()),
            (None, _) => redis.consistency(Consistency::Strict),
        };
        // A holder that was killed is not waited for any longer.
        let redis = redis.lock_limit(Duration::from_millis(300));
        let redis = if self.queues { redis.queue_invalidations(30) } else { redis };
        let mixes = self.bug == Some(Bug::Mixed);
        let asked = Arc::new(AtomicU64::new(1));
        loop {
            let asked = asked.clone();
            let settings = Cacheops::builder()
                .prefix(PREFIX)
                .prefix_by(move |_| {
                    let is_wrong =
                        mixes && asked.fetch_add(1, Ordering::Relaxed).is_multiple_of(100);
                    format!("{}:", if is_wrong { 0 } else { tenants::present() })
                })
                .memory_limit(self.memory)
                .on_cache_read(reads::note);
            // Redis may be away at the moment.
            match settings.redis(redis.clone()).build() {
                Ok(cache) => return cache,
                Err(_) => thread::sleep(Duration::from_millis(10)),
            }
        }
    }
}

impl WorkerProcess {
    fn new(job: Job) -> WorkerProcess {
        let database = Arc::new(Database::open(&job.database));
        let oracle = Oracle::new(database.clone(), job.bound);
        let cache = job.cache();
        WorkerProcess {
            pages: reads::pages(&cache),
            cache,
            job,
            database,
            oracle,
            tally: Mutex::default(),
            stops_writing: AtomicBool::new(false),
            stops_reading: AtomicBool::new(false),
        }
    }

    pub fn stops_writing(&self) -> bool {
        self.stops_writing.load(Ordering::SeqCst)
    }

    pub fn tally(&self, note: impl FnOnce(&mut Tally)) {
        note(&mut self.tally.lock().unwrap());
    }

    fn read(&self, seed: u64, style: Style) {
        let mut reader = Reader::new(self, seed, style);
        while !self.stops_reading.load(Ordering::SeqCst) {
            reads::noted();
            let view = self.oracle.view();
            let served = reader.read();
            let took = view.age();
            let wrong = self.oracle.judge(&view, &served);
            let lookups = reads::noted();
            self.tally(|tally| {
                tally.reads += 1;
                tally.fragments += served.len() as u64;
                tally.time(took, || reads::slow_ones(&lookups, took));
                tally.stale += u64::from(wrong.is_some());
            });
            if let Some(wrong) = wrong {
                self.complain(&wrong, took, &lookups);
            }
            if style == Style::Rows {
                // Most are found at once: room is left for others.
                thread::sleep(Duration::from_micros(500));
            }
        }
    }

    fn complain(&self, wrong: &str, took: Duration, lookups: &[Lookup]) {
        let Job { number, bound, queues, .. } = &self.job;
        let status = self.cache.shared_status();
        say(&format!(
            "stale: worker {number} (bound {bound:?}, queues {queues}) after {took:?}: {wrong}\n    lookups: {lookups:?}\n    line: {status:?}"
        ));
    }

    fn report(&self) {
        let stats = self.cache.stats();
        let mut tally = self.tally.lock().unwrap().clone();
        tally.near_hits = stats.hits - stats.shared_hits;
        tally.shared_hits = stats.shared_hits;
        tally.misses = stats.misses;
        tally.stored = stats.stored;
        tally.outages = stats.unverified + stats.breaker_open;
        say(&format!("tally {}", serde_json::to_string(&tally).unwrap()));
    }
}

/// Works until the other process says that it is enough.
pub fn run(job: Job) {
    let worker = WorkerProcess::new(job);
    let (seed, linger) = (worker.job.seed, worker.job.bound.unwrap_or_default() * 2);
    thread::scope(|scope| {
        let is_brief = matches!(worker.job.bug, Some(Bug::Late | Bug::Lax));
        let style = if is_brief { Style::Rows } else { Style::Anything };
        for n in 0..2 {
            let worker = &worker;
            scope.spawn(move || worker.read(seed + n, style));
        }
        scope.spawn(|| worker.read(seed + 2, Style::Rows));
        scope.spawn(|| Writer::new(&worker, seed + 100).run());
        scope.spawn(|| {
            // It says so by closing the pipe, as its end does.
            let _ = std::io::stdin().read_to_end(&mut Vec::new());
            worker.stops_writing.store(true, Ordering::SeqCst);
            // What is still to be seen is seen by then.
            thread::sleep(linger + Duration::from_millis(100));
            worker.stops_reading.store(true, Ordering::SeqCst);
        });
        while !worker.stops_reading.load(Ordering::SeqCst) {
            thread::sleep(Duration::from_millis(50));
            worker.report();
        }
    });
    worker.report();
}
