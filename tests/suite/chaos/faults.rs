//! What goes wrong: servers, keys, the network, the workers themselves.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use cacheops_tests::servers::{
    Cluster, Mode, PATIENCE, Proxy, Sentinel, Server, slot_of, wait_at_most,
};

use super::crew::{Crew, Hand};
use super::database::TABLE;
use super::dice::Dice;
use super::home::Home;
use super::tenants::TENANTS;
use super::worker::PREFIX;

/// Something that goes wrong, and is over when it returns.
pub type Strike = fn(&Scene, &mut Dice);

/// Where it goes wrong.
pub struct Scene {
    pub crew: Crew,
    pub home: Home,
}

/// A fault with its name.
pub type Fault = (&'static str, Strike);

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

/// What befalls lines through a proxy.
pub const OF_LINES: [Fault; 5] = [
    ("silent line", |scene, dice| spoil(scene, dice, Mode::Silent)),
    ("line without replies", |scene, dice| spoil(scene, dice, Mode::SilentReplies)),
    ("line refused", |scene, dice| spoil(scene, dice, Mode::Refuse)),
    ("slow line", slow_line),
    ("line cut", cut),
];

/// What befalls workers.
pub const OF_WORKERS: [Fault; 2] =
    [("worker killed", worker_killed), ("worker stopped", worker_stopped)];

/// Lets something last.
fn hold(dice: &mut Dice, longest: u64) {
    thread::sleep(Duration::from_millis(dice.within(10, longest)));
}

fn killed_empty(scene: &Scene, dice: &mut Dice) {
    let server = scene.home.server(dice);
    server.kill();
    let _ = fs::remove_file(server.dir().join("dump.rdb"));
    hold(dice, 300);
    server.restart();
}

fn killed_with_old_dump(scene: &Scene, dice: &mut Dice) {
    let server = scene.home.server(dice);
    command(server, &["SAVE"]);
    hold(dice, 600);
    server.kill();
    server.restart();
}

fn killed_with_new_dump(scene: &Scene, dice: &mut Dice) {
    let server = scene.home.server(dice);
    command(server, &["SAVE"]);
    server.kill();
    hold(dice, 100);
    server.restart();
}

fn stopped(scene: &Scene, dice: &mut Dice) {
    let server = scene.home.server(dice);
    server.stop();
    hold(dice, scene.home.longest_silence());
    server.cont();
}

fn command(server: &Server, command: &[&str]) -> String {
    server.command(command).unwrap_or_default()
}

fn flushed(scene: &Scene, dice: &mut Dice) {
    let server = scene.home.server(dice);
    command(server, &[*dice.pick(&["FLUSHALL", "FLUSHDB"])]);
}

fn clients_killed(scene: &Scene, dice: &mut Dice) {
    command(scene.home.server(dice), &["CLIENT", "KILL", "TYPE", "normal"]);
}

/// Does something to keys that happen to be there.
fn meet(scene: &Scene, dice: &mut Dice, words: &[&str]) {
    let server = scene.home.server(dice);
    for _ in 0..dice.within(1, 60) {
        let key = command(server, &["RANDOMKEY"]);
        let mut whole = vec![words[0], &key];
        whole.extend(&words[1..]);
        command(server, &whole);
    }
}

fn keys_unlinked(scene: &Scene, dice: &mut Dice) {
    meet(scene, dice, &["UNLINK"]);
}

fn keys_expired(scene: &Scene, dice: &mut Dice) {
    meet(scene, dice, &["PEXPIRE", "3"]);
}

fn registry_unlinked(scene: &Scene, dice: &mut Dice) {
    unlink(scene, &registry(dice));
}

fn everything_unlinked(scene: &Scene, _: &mut Dice) {
    unlink(scene, &format!("{PREFIX}all"));
}

/// That of some tenant.
fn registry(dice: &mut Dice) -> String {
    format!("{PREFIX}{}:schemes:{TABLE}", dice.below(TENANTS))
}

/// Wherever the key is: the others refuse.
fn unlink(scene: &Scene, key: &str) {
    for server in scene.home.masters() {
        command(server, &["UNLINK", key]);
    }
}

/// Gives the server less memory than it uses.
fn press(scene: &Scene, dice: &mut Dice, policy: &str) {
    let server = scene.home.server(dice);
    let used = server.info("used_memory").parse::<u64>().unwrap();
    let room = used - dice.within(0, 200_000).min(used / 2);
    command(server, &["CONFIG", "SET", "maxmemory-policy", policy]);
    command(server, &["CONFIG", "SET", "maxmemory", &room.to_string()]);
    hold(dice, 600);
    command(server, &["CONFIG", "SET", "maxmemory", "0"]);
}

fn evicting(scene: &Scene, dice: &mut Dice) {
    let policy = *dice.pick(&["allkeys-lru", "allkeys-lfu", "allkeys-random"]);
    press(scene, dice, policy);
}

fn evicting_volatile(scene: &Scene, dice: &mut Dice) {
    let policies = ["volatile-lru", "volatile-lfu", "volatile-random", "volatile-ttl"];
    let policy = *dice.pick(&policies);
    press(scene, dice, policy);
}

fn full(scene: &Scene, dice: &mut Dice) {
    press(scene, dice, "noeviction");
}

/// Has some lines fail, one at least.
fn on_lines(scene: &Scene, dice: &mut Dice, fail: impl Fn(&Proxy)) {
    let proxies: Vec<&Proxy> = scene.crew.hands.iter().flat_map(|hand| &hand.proxies).collect();
    let chosen = dice.below(proxies.len() as u64 + 1) as usize;
    for (n, proxy) in proxies.iter().enumerate() {
        if chosen == n || chosen == proxies.len() {
            fail(proxy);
        }
    }
}

fn spoil(scene: &Scene, dice: &mut Dice, mode: Mode) {
    on_lines(scene, dice, |proxy| proxy.set(mode));
    hold(dice, 900);
    on_all_lines(scene, |proxy| proxy.set(Mode::Pass));
}

fn on_all_lines(scene: &Scene, what: impl Fn(&Proxy)) {
    scene.crew.hands.iter().flat_map(|hand| &hand.proxies).for_each(what);
}

fn slow_line(scene: &Scene, dice: &mut Dice) {
    let delay = Duration::from_millis(dice.within(1, 80));
    spoil(scene, dice, Mode::Delay(delay));
}

fn cut(scene: &Scene, dice: &mut Dice) {
    for _ in 0..dice.within(1, 5) {
        on_lines(scene, dice, Proxy::cut);
        hold(dice, 30);
    }
}

fn worker<'a>(scene: &'a Scene, dice: &mut Dice) -> &'a Hand {
    dice.pick(&scene.crew.hands)
}

fn worker_killed(scene: &Scene, dice: &mut Dice) {
    worker(scene, dice).replace();
}

fn worker_stopped(scene: &Scene, dice: &mut Dice) {
    let worker = worker(scene, dice);
    worker.signal("-STOP");
    hold(dice, 900);
    worker.signal("-CONT");
}

fn cluster(scene: &Scene) -> &Cluster {
    match &scene.home {
        Home::Cluster(cluster) => cluster,
        _ => panic!("this is for a cluster"),
    }
}

/// Moves the slot of a key that happens to be there.
fn slot_moved(scene: &Scene, dice: &mut Dice) {
    let key = command(scene.home.server(dice), &["RANDOMKEY"]);
    move_slot(scene, dice, &key);
}

/// Moves the slot of the registry or of the stamp of everything.
fn stamp_moved(scene: &Scene, dice: &mut Dice) {
    let key = if dice.once_in(2) { registry(dice) } else { format!("{PREFIX}all") };
    move_slot(scene, dice, &key);
}

fn move_slot(scene: &Scene, dice: &mut Dice, key: &str) {
    let (cluster, slot) = (cluster(scene), slot_of(key));
    let from = cluster.owner_of(slot);
    let place = |server: &&Server| {
        cluster.nodes().iter().position(|node| node.port() == server.port()).unwrap()
    };
    let mut others: Vec<usize> = scene.home.masters().iter().map(place).collect();
    others.retain(|node| *node != from);
    let to = *dice.pick(&others);
    cluster.begin_move(slot, from, to);
    hold(dice, 200);
    cluster.finish_move(slot, from, to);
}

/// Has the replica miss the last changes, then kills its master.
fn kill_ahead_of_replica(master: &Server, dice: &mut Dice) {
    command(master, &["CLIENT", "KILL", "TYPE", "replica"]);
    hold(dice, 300);
    master.kill();
}

fn cluster_failover(scene: &Scene, dice: &mut Dice) {
    let cluster = cluster(scene);
    let node = cluster.owner_of(slot_of(&dice.roll().to_string()));
    kill_ahead_of_replica(cluster.node(node), dice);
    cluster.wait_for_failover(node);
    cluster.node(node).restart();
    cluster.wait_until_ok();
}

/// As they are once they agree on a master.
fn sentinels(scene: &Scene) -> &Sentinel {
    let Home::Sentinel(all) = &scene.home else { panic!("this is for sentinels") };
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

fn planned_failover(scene: &Scene, dice: &mut Dice) {
    let all = sentinels(scene);
    let by = dice.below(3) as usize;
    begin_failover(all, by);
    end_failover(all, by);
}

/// One sentinel hears of it late.
fn failover_with_a_laggard(scene: &Scene, dice: &mut Dice) {
    let all = sentinels(scene);
    let late = dice.below(3) as usize;
    let by = (late + 1) % 3;
    all.sentinels()[late].stop();
    begin_failover(all, by);
    hold(dice, 3_000);
    all.sentinels()[late].cont();
    end_failover(all, by);
}

/// The sentinels do not reach the old master: there are two for a while.
fn failover_untold(scene: &Scene, dice: &mut Dice) {
    let all = sentinels(scene);
    all.keep_master();
    let by = dice.below(3) as usize;
    begin_failover(all, by);
    all.wait_for_planned_failover(by);
    hold(dice, 2_000);
    all.release(all.replica());
    all.replica().wait_in_sync(all.master());
}

/// It is made the master again before it was told that it was none.
fn failover_and_back(scene: &Scene, dice: &mut Dice) {
    let all = sentinels(scene);
    all.keep_master();
    for _ in 0..2 {
        let by = dice.below(3) as usize;
        begin_failover(all, by);
        all.wait_for_planned_failover(by);
        hold(dice, 1_000);
    }
    all.release(all.master());
    all.replica().wait_in_sync(all.master());
}

/// It is a master still when it wakes.
fn stopped_and_replaced(scene: &Scene, _: &mut Dice) {
    let all = sentinels(scene);
    all.master().stop();
    all.wait_for_failover();
    all.replica().cont();
    all.replica().wait_in_sync(all.master());
}

fn sentinel_killed(scene: &Scene, dice: &mut Dice) {
    let one = dice.pick(sentinels(scene).sentinels());
    one.kill();
    hold(dice, 1_500);
    one.restart();
}

/// One or two of them.
fn sentinels_stopped(scene: &Scene, dice: &mut Dice) {
    let stopped = &sentinels(scene).sentinels()[..dice.within(1, 2) as usize];
    stopped.iter().for_each(Server::stop);
    hold(dice, 900);
    stopped.iter().for_each(Server::cont);
}

fn sentinel_failover(scene: &Scene, dice: &mut Dice) {
    let all = sentinels(scene);
    kill_ahead_of_replica(all.master(), dice);
    all.wait_for_failover();
    all.replica().restart();
    all.replica().wait_in_sync(all.master());
}

/// Strikes for so long, and once with everything at least; how often with what.
pub fn rage(scene: &Scene, faults: &[Fault], time: Duration, mut dice: Dice) -> Vec<&'static str> {
    let (began, mut struck) = (Instant::now(), Vec::new());
    let mut order = faults.to_vec();
    while struck.len() < order.len() || began.elapsed() < time {
        dice.shuffle(&mut order);
        for (name, strike) in &order {
            let log = &scene.crew.log;
            log.note(name);
            strike(scene, &mut dice);
            log.note(&format!("  over: {name}"));
            struck.push(*name);
            if log.has_complaints() {
                return struck;
            }
            // Now and then the next one comes before all is well again.
            if dice.once_in(3) {
                hold(&mut dice, 100);
            } else {
                scene.crew.wait_for_hits();
                hold(&mut dice, 200);
            }
        }
    }
    struck
}
