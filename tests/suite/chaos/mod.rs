//! Chaos: several processes read and write over one database and one Redis, while
//! servers, keys, connections and the processes themselves fail. An oracle checks that
//! no served fragment is stale.
//!
//! - `worker`: a worker process, which is this binary again; `reads` and `writes` are
//!   what it does.
//! - `database`: rows with versions in a file that all workers share; `tenants`: the
//!   tenants of the rows, and the tenant of a thread.
//! - `oracle`: which versions may be served; `rng`: random numbers from a seed.
//! - `deployment`: the servers.
//! - `workers`, `faults`, `report`: the test itself, which starts the workers and
//!   injects faults, and what the workers report.
//!
//! The seed of a run decides who does what. It does not decide how the processes
//! interleave.

mod database;
mod deployment;
mod faults;
mod oracle;
mod reads;
mod report;
mod rng;
mod tenants;
mod worker;
mod workers;
mod writes;

use std::env;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cacheops_tests::servers::{Cluster, Mode, PATIENCE, Proxy, Sentinel, Server, wait_at_most};

use database::Database;
use deployment::Deployment;
use faults::{
    Fault, OF_CLUSTER, OF_CONNECTIONS, OF_ONE, OF_SENTINEL, OF_SERVERS, OF_WORKERS, Scenario,
    inject_faults,
};
use report::{Log, Report};
use rng::Rng;
use worker::{Bug, JOB, Job, Servers};
use workers::{Worker, Workers};

/// The bound of the bounded workers.
const BOUND: Duration = Duration::from_millis(300);

/// The delay of pushes, where it is to be noticed.
const DELAY: Duration = Duration::from_millis(10);

/// The worker process: another test starts this binary with a job.
#[test]
#[ignore = "the other tests start it"]
fn worker_at_work() {
    if let Ok(job) = env::var(JOB) {
        worker::run(serde_json::from_str(&job).unwrap());
    }
}

/// Two strict workers and two within a bound; one of each queues invalidations. With a
/// single server one of each is behind a proxy; each sees the sentinels through
/// proxies of its own.
fn scenario(deployment: Deployment, seed: u64, bug: Option<Bug>) -> Scenario {
    let path = deployment.file("rows");
    Database::create(&path);
    let log = Arc::new(Log::new());
    let bound = if bug == Some(Bug::Late) { DELAY / 10 } else { BOUND };
    let worker = |n: u64| {
        let (proxies, servers) = match &deployment {
            Deployment::One(server) if n.is_multiple_of(2) => {
                let proxy = Proxy::start(server.port());
                let url = server.url_at(proxy.port());
                (vec![proxy], Servers::One(url))
            }
            Deployment::Sentinel(all) => {
                let proxies: Vec<Proxy> =
                    all.sentinels().iter().map(|one| Proxy::start(one.port())).collect();
                let behind = all.sentinels().iter().zip(&proxies);
                let urls = behind.map(|(one, proxy)| one.url_at(proxy.port())).collect();
                (proxies, Servers::Sentinel(all.master_name().to_owned(), urls))
            }
            _ => (Vec::new(), deployment.servers()),
        };
        let job = Job {
            number: n,
            servers,
            database: path.clone(),
            bound: (n < 2).then_some(bound),
            queues: n == 1 || n == 2,
            memory: if n == 3 { 100_000 } else { 64 << 20 },
            seed: seed.wrapping_add(n * 1_000),
            bug,
        };
        Worker::start(job, proxies, &log)
    };
    let all = (0..4).map(worker).collect();
    Scenario { workers: Workers { all, log }, deployment }
}

/// Injects faults for this time, or one round of them: into the servers, and at the same
/// time into what is around them.
fn run(
    deployment: Deployment,
    time: Duration,
    servers: &[&[Fault]],
    around: &[&[Fault]],
) -> Report {
    let seed = seed();
    println!("CHAOS_SEED={seed}");
    let scenario = scenario(deployment, seed, None);
    scenario.workers.wait_for_hits();
    let injected = thread::scope(|scope| {
        let around =
            scope.spawn(|| inject_faults(&scenario, &around.concat(), time, Rng::new(seed + 1)));
        let mut injected = inject_faults(&scenario, &servers.concat(), time, Rng::new(seed));
        injected.extend(around.join().unwrap());
        injected
    });
    let log = scenario.workers.log.clone();
    let report = scenario.workers.end(&injected);
    println!("{report}");
    assert!(!log.has_complaints(), "CHAOS_SEED={seed}\n{}", log.excerpt());
    assert_eq!(report.tally.stale, 0, "CHAOS_SEED={seed}");
    report
}

fn seed() -> u64 {
    let given = env::var("CHAOS_SEED").ok().map(|seed| seed.parse().expect("a seed is a number"));
    given.unwrap_or_else(|| SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64)
}

/// As long as `CHAOS_SECONDS` says; a minute without.
fn long() -> Duration {
    let given = env::var("CHAOS_SECONDS").ok().map(|seconds| seconds.parse().unwrap());
    Duration::from_secs(given.unwrap_or(60))
}

fn over_one_server(time: Duration) -> Report {
    let server = Deployment::One(Server::start());
    run(server, time, &[&OF_ONE, &OF_SERVERS], &[&OF_CONNECTIONS, &OF_WORKERS])
}

fn over_a_cluster(time: Duration) -> Report {
    let cluster = Deployment::Cluster(Cluster::start_with_replicas(3));
    run(cluster, time, &[&OF_CLUSTER, &OF_SERVERS], &[&OF_WORKERS])
}

fn sentinels() -> Deployment {
    let all = Sentinel::start();
    all.allow_failovers();
    Deployment::Sentinel(Box::new(all))
}

fn over_sentinels(time: Duration) -> Report {
    run(sentinels(), time, &[&OF_SENTINEL, &OF_SERVERS], &[&OF_CONNECTIONS, &OF_WORKERS])
}

/// All faults once.
#[test]
fn nothing_stale() {
    let report = over_one_server(Duration::ZERO);
    let tally = report.tally;
    assert_eq!(report.faults.len(), 20);
    // It was no empty run.
    assert!(tally.reads > 1_000, "{tally:?}");
    assert!(tally.near_hits > 200 && tally.shared_hits > 200, "{tally:?}");
    assert!(tally.misses > 500 && tally.stored > 200, "{tally:?}");
    assert!(tally.invalidations > 100 && tally.outages > 0, "{tally:?}");
}

/// Two masters at once in every way, while the sentinels fail too.
#[test]
fn nothing_stale_over_sentinels() {
    let report = run(sentinels(), Duration::ZERO, &[&OF_SENTINEL], &[&OF_CONNECTIONS]);
    let tally = report.tally;
    assert_eq!(report.faults.len(), OF_SENTINEL.len() + OF_CONNECTIONS.len());
    assert!(tally.reads > 1_000 && tally.near_hits + tally.shared_hits > 300, "{tally:?}");
    assert!(tally.invalidations > 100 && tally.outages > 0, "{tally:?}");
}

#[test]
#[ignore = "takes as long as CHAOS_SECONDS says"]
fn nothing_stale_for_long() {
    over_one_server(long());
}

#[test]
#[ignore = "takes as long as CHAOS_SECONDS says"]
fn nothing_stale_for_long_over_a_cluster() {
    over_a_cluster(long());
}

#[test]
#[ignore = "takes as long as CHAOS_SECONDS says"]
fn nothing_stale_for_long_over_sentinels() {
    over_sentinels(long());
}

/// The oracle finds an application that makes a mistake.
fn is_found(bug: Bug) {
    let scenario = scenario(Deployment::One(Server::start()), seed(), Some(bug));
    scenario.workers.wait_for_hits();
    if matches!(bug, Bug::Late | Bug::Lax) {
        let proxies = scenario.workers.all.iter().flat_map(|worker| &worker.proxies);
        proxies.for_each(|proxy| proxy.set(Mode::Delay(DELAY)));
    }
    let found = wait_at_most(PATIENCE, || scenario.workers.log.has_complaints());
    assert!(found, "{bug:?} is not found: {}", scenario.workers.end(&[]));
}

#[test]
fn a_change_that_is_not_invalidated_is_seen() {
    is_found(Bug::Forget);
}

#[test]
fn data_read_before_the_lookup_is_seen() {
    is_found(Bug::Early);
}

#[test]
fn a_bound_where_none_is_said_is_seen() {
    is_found(Bug::Lax);
}

#[test]
fn a_prefix_of_another_tenant_is_seen() {
    is_found(Bug::Mixed);
}

#[test]
fn a_push_beyond_the_bound_is_seen() {
    is_found(Bug::Late);
}
