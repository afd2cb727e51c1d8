//! What goes wrong: servers, keys, the network, the workers themselves.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use cacheops_tests::servers::{
    Cluster, Mode, PATIENCE, Proxy, Sentinel, Server, slot_of, wait_at_most,
};

use super::database::TABLE;
use super::deployment::Deployment;
use super::rng::Rng;
use super::tenants::TENANTS;
use super::worker::PREFIX;
use super::workers::{Worker, Workers};

/// Something that goes wrong, and is over when it returns.
pub type Inject = fn(&Scenario, &mut Rng);

/// Where it goes wrong.
pub struct Scenario {
    pub workers: Workers,
    pub deployment: Deployment,
}

/// A fault with its name.
pub type Fault = (&'static str, Inject);

/// What befalls a single server.
pub const OF_ONE: [Fault; 3] = [
    ("server killed, empty afterwards", killed_empty),
    ("server killed, old dump", killed_with_old_dump),
    ("server killed, new dump", killed_with_new_dump),
];

/// What befalls a cluster.
pub const OF_CLUSTER: [Fault; 3] = [
    ("slot moved", slot_moved),
    ("failover", cluster_failover),
    ("slot of a stamp moved", stamp_moved),
];

/// What befalls a master under sentinels.
pub const OF_SENTINEL: [Fault; 8] = [
    ("failover", sentinel_failover),
    ("planned failover", planned_failover),
    ("planned failover, one sentinel lags", failover_with_a_laggard),
    ("planned failover, the old master is not told", failover_untold),
    ("planned failover and back, the master is not told", failover_and_back),
    ("master stopped and replaced", stopped_and_replaced),
    ("sentinel killed", sentinel_killed),
    ("sentinels stopped", sentinels_stopped),
];

/// What befalls any server.
pub const OF_SERVERS: [Fault; 10] = [
    ("server stopped", stopped),
    ("flush", flushed),
    ("clients killed", clients_killed),
    ("keys unlinked", keys_unlinked),
    ("keys expired", keys_expired),
    ("registry unlinked", registry_unlinked),
    ("stamp of everything unlinked", everything_unlinked),
    ("eviction", evicting),
    ("eviction of what has a time limit", evicting_volatile),
    ("no room", full),
];

/// What befalls connections through a proxy.
pub const OF_CONNECTIONS: [Fault; 5] = [
    ("silent connection", |scenario, rng| spoil(scenario, rng, Mode::Silent)),
    ("connection without replies", |scenario, rng| spoil(scenario, rng, Mode::SilentReplies)),
    ("connection refused", |scenario, rng| spoil(scenario, rng, Mode::Refuse)),
    ("slow connection", slow_connection),
    ("connection cut", cut),
];

/// What befalls workers.
pub const OF_WORKERS: [Fault; 2] =
    [("worker killed", worker_killed), ("worker stopped", worker_stopped)];

/// Lets something last.
fn hold(rng: &mut Rng, longest: u64) {
    thread::sleep(Duration::from_millis(rng.within(10, longest)));
}

fn killed_empty(scenario: &Scenario, rng: &mut Rng) {
    let server = scenario.deployment.server(rng);
    server.kill();
    let _ = fs::remove_file(server.dir().join("dump.rdb"));
    hold(rng, 300);
    server.restart();
}

fn killed_with_old_dump(scenario: &Scenario, rng: &mut Rng) {
    let server = scenario.deployment.server(rng);
    command(server, &["SAVE"]);
    hold(rng, 600);
    server.kill();
    server.restart();
}

fn killed_with_new_dump(scenario: &Scenario, rng: &mut Rng) {
    let server = scenario.deployment.server(rng);
    command(server, &["SAVE"]);
    server.kill();
    hold(rng, 100);
    server.restart();
}

fn stopped(scenario: &Scenario, rng: &mut Rng) {
    let server = scenario.deployment.server(rng);
    server.stop();
    hold(rng, scenario.deployment.longest_silence());
    server.cont();
}

fn command(server: &Server, command: &[&str]) -> String {
    server.command(command).unwrap_or_default()
}

fn flushed(scenario: &Scenario, rng: &mut Rng) {
    let server = scenario.deployment.server(rng);
    command(server, &[*rng.pick(&["FLUSHALL", "FLUSHDB"])]);
}

fn clients_killed(scenario: &Scenario, rng: &mut Rng) {
    command(scenario.deployment.server(rng), &["CLIENT", "KILL", "TYPE", "normal"]);
}

/// Does something to keys that happen to be there.
fn meet(scenario: &Scenario, rng: &mut Rng, words: &[&str]) {
    let server = scenario.deployment.server(rng);
    for _ in 0..rng.within(1, 60) {
        let key = command(server, &["RANDOMKEY"]);
        let mut whole = vec![words[0], &key];
        whole.extend(&words[1..]);
        command(server, &whole);
    }
}

fn keys_unlinked(scenario: &Scenario, rng: &mut Rng) {
    meet(scenario, rng, &["UNLINK"]);
}

fn keys_expired(scenario: &Scenario, rng: &mut Rng) {
    meet(scenario, rng, &["PEXPIRE", "3"]);
}

fn registry_unlinked(scenario: &Scenario, rng: &mut Rng) {
    unlink(scenario, &registry(rng));
}

fn everything_unlinked(scenario: &Scenario, _: &mut Rng) {
    unlink(scenario, &format!("{PREFIX}all"));
}

/// That of some tenant.
fn registry(rng: &mut Rng) -> String {
    format!("{PREFIX}{}:schemes:{TABLE}", rng.below(TENANTS))
}

/// Wherever the key is: the others refuse.
fn unlink(scenario: &Scenario, key: &str) {
    for server in scenario.deployment.masters() {
        command(server, &["UNLINK", key]);
    }
}

/// Gives the server less memory than it uses.
fn press(scenario: &Scenario, rng: &mut Rng, policy: &str) {
    let server = scenario.deployment.server(rng);
    let used = server.info("used_memory").parse::<u64>().unwrap();
    let room = used - rng.within(0, 200_000).min(used / 2);
    command(server, &["CONFIG", "SET", "maxmemory-policy", policy]);
    command(server, &["CONFIG", "SET", "maxmemory", &room.to_string()]);
    hold(rng, 600);
    command(server, &["CONFIG", "SET", "maxmemory", "0"]);
}

fn evicting(scenario: &Scenario, rng: &mut Rng) {
    let policy = *rng.pick(&["allkeys-lru", "allkeys-lfu", "allkeys-random"]);
    press(scenario, rng, policy);
}

fn evicting_volatile(scenario: &Scenario, rng: &mut Rng) {
    let policies = ["volatile-lru", "volatile-lfu", "volatile-random", "volatile-ttl"];
    let policy = *rng.pick(&policies);
    press(scenario, rng, policy);
}

fn full(scenario: &Scenario, rng: &mut Rng) {
    press(scenario, rng, "noeviction");
}

/// Has some lines fail, one at least.
fn on_connection(scenario: &Scenario, rng: &mut Rng, fail: impl Fn(&Proxy)) {
    let proxies: Vec<&Proxy> =
        scenario.workers.all.iter().flat_map(|worker| &worker.proxies).collect();
    let chosen = rng.below(proxies.len() as u64 + 1) as usize;
    for (n, proxy) in proxies.iter().enumerate() {
        if chosen == n || chosen == proxies.len() {
            fail(proxy);
        }
    }
}

fn spoil(scenario: &Scenario, rng: &mut Rng, mode: Mode) {
    on_connection(scenario, rng, |proxy| proxy.set(mode));
    hold(rng, 900);
    on_all_connections(scenario, |proxy| proxy.set(Mode::Pass));
}

fn on_all_connections(scenario: &Scenario, what: impl Fn(&Proxy)) {
    scenario.workers.all.iter().flat_map(|worker| &worker.proxies).for_each(what);
}

fn slow_connection(scenario: &Scenario, rng: &mut Rng) {
    let delay = Duration::from_millis(rng.within(1, 80));
    spoil(scenario, rng, Mode::Delay(delay));
}

fn cut(scenario: &Scenario, rng: &mut Rng) {
    for _ in 0..rng.within(1, 5) {
        on_connection(scenario, rng, Proxy::cut);
        hold(rng, 30);
    }
}

fn worker<'a>(scenario: &'a Scenario, rng: &mut Rng) -> &'a Worker {
    rng.pick(&scenario.workers.all)
}

fn worker_killed(scenario: &Scenario, rng: &mut Rng) {
    worker(scenario, rng).replace();
}

fn worker_stopped(scenario: &Scenario, rng: &mut Rng) {
    let worker = worker(scenario, rng);
    worker.signal("-STOP");
    hold(rng, 900);
    worker.signal("-CONT");
}

fn cluster(scenario: &Scenario) -> &Cluster {
    match &scenario.deployment {
        Deployment::Cluster(cluster) => cluster,
        _ => panic!("this is for a cluster"),
    }
}

/// Moves the slot of a key that happens to be there.
fn slot_moved(scenario: &Scenario, rng: &mut Rng) {
    let key = command(scenario.deployment.server(rng), &["RANDOMKEY"]);
    move_slot(scenario, rng, &key);
}

/// Moves the slot of the registry or of the stamp of everything.
fn stamp_moved(scenario: &Scenario, rng: &mut Rng) {
    let key = if rng.once_in(2) { registry(rng) } else { format!("{PREFIX}all") };
    move_slot(scenario, rng, &key);
}

fn move_slot(scenario: &Scenario, rng: &mut Rng, key: &str) {
    let (cluster, slot) = (cluster(scenario), slot_of(key));
    let from = cluster.owner_of(slot);
    let place = |server: &&Server| {
        cluster.nodes().iter().position(|node| node.port() == server.port()).unwrap()
    };
    let mut others: Vec<usize> = scenario.deployment.masters().iter().map(place).collect();
    others.retain(|node| *node != from);
    let to = *rng.pick(&others);
    cluster.begin_move(slot, from, to);
    hold(rng, 200);
    cluster.finish_move(slot, from, to);
}

/// Has the replica miss the last changes, then kills its master.
fn kill_ahead_of_replica(master: &Server, rng: &mut Rng) {
    command(master, &["CLIENT", "KILL", "TYPE", "replica"]);
    hold(rng, 300);
    master.kill();
}

fn cluster_failover(scenario: &Scenario, rng: &mut Rng) {
    let cluster = cluster(scenario);
    let node = cluster.owner_of(slot_of(&rng.next().to_string()));
    kill_ahead_of_replica(cluster.node(node), rng);
    cluster.wait_for_failover(node);
    cluster.node(node).restart();
    cluster.wait_until_ok();
}

/// As they are once they agree on a master.
fn sentinels(scenario: &Scenario) -> &Sentinel {
    let Deployment::Sentinel(all) = &scenario.deployment else { panic!("this is for sentinels") };
    all.settle();
    all
}

/// Has one of the sentinels replace the master, as soon as it can.
fn begin_failover(all: &Sentinel, by: usize) {
    assert!(wait_at_most(PATIENCE, || all.try_failover(by)), "no failover");
}

fn end_failover(all: &Sentinel, by: usize) {
    all.wait_for_planned_failover(by);
    all.replica().wait_in_sync(all.master());
}

fn planned_failover(scenario: &Scenario, rng: &mut Rng) {
    let all = sentinels(scenario);
    let by = rng.below(3) as usize;
    begin_failover(all, by);
    end_failover(all, by);
}

/// One sentinel hears of it late.
fn failover_with_a_laggard(scenario: &Scenario, rng: &mut Rng) {
    let all = sentinels(scenario);
    let late = rng.below(3) as usize;
    let by = (late + 1) % 3;
    all.sentinels()[late].stop();
    begin_failover(all, by);
    hold(rng, 3_000);
    all.sentinels()[late].cont();
    end_failover(all, by);
}

/// The sentinels do not reach the old master: there are two for a while.
fn failover_untold(scenario: &Scenario, rng: &mut Rng) {
    let all = sentinels(scenario);
    all.keep_master();
    let by = rng.below(3) as usize;
    begin_failover(all, by);
    all.wait_for_planned_failover(by);
    hold(rng, 2_000);
    all.release(all.replica());
    all.replica().wait_in_sync(all.master());
}

/// It is made the master again before it was told that it was none.
fn failover_and_back(scenario: &Scenario, rng: &mut Rng) {
    let all = sentinels(scenario);
    all.keep_master();
    for _ in 0..2 {
        let by = rng.below(3) as usize;
        begin_failover(all, by);
        all.wait_for_planned_failover(by);
        hold(rng, 1_000);
    }
    all.release(all.master());
    all.replica().wait_in_sync(all.master());
}

/// It is a master still when it wakes.
fn stopped_and_replaced(scenario: &Scenario, _: &mut Rng) {
    let all = sentinels(scenario);
    all.master().stop();
    all.wait_for_failover();
    all.replica().cont();
    all.replica().wait_in_sync(all.master());
}

fn sentinel_killed(scenario: &Scenario, rng: &mut Rng) {
    let one = rng.pick(sentinels(scenario).sentinels());
    one.kill();
    hold(rng, 1_500);
    one.restart();
}

/// One or two of them.
fn sentinels_stopped(scenario: &Scenario, rng: &mut Rng) {
    let stopped = &sentinels(scenario).sentinels()[..rng.within(1, 2) as usize];
    stopped.iter().for_each(Server::stop);
    hold(rng, 900);
    stopped.iter().for_each(Server::cont);
}

fn sentinel_failover(scenario: &Scenario, rng: &mut Rng) {
    let all = sentinels(scenario);
    kill_ahead_of_replica(all.master(), rng);
    all.wait_for_failover();
    all.replica().restart();
    all.replica().wait_in_sync(all.master());
}

/// Strikes for so long, and once with everything at least; how often with what.
pub fn inject_faults(
    scenario: &Scenario,
    faults: &[Fault],
    time: Duration,
    mut rng: Rng,
) -> Vec<&'static str> {
    let (began, mut injected) = (Instant::now(), Vec::new());
    let mut order = faults.to_vec();
    while injected.len() < order.len() || began.elapsed() < time {
        rng.shuffle(&mut order);
        for (name, strike) in &order {
            let log = &scenario.workers.log;
            log.note(name);
            strike(scenario, &mut rng);
            log.note(&format!("  over: {name}"));
            injected.push(*name);
            if log.has_complaints() {
                return injected;
            }
            // Now and then the next one comes before all is well again.
            if rng.once_in(3) {
                hold(&mut rng, 100);
            } else {
                scenario.workers.wait_for_hits();
                hold(&mut rng, 200);
            }
        }
    }
    injected
}
