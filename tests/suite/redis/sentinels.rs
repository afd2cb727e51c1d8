//! Two masters at once: the one counts that a majority of the sentinels names.

use std::cell::Cell;
use std::time::{Duration, Instant};

use cacheops::{Cacheops, Consistency, ErrorKind, LinkState, Redis};
use cacheops_tests::servers::{Mode, Proxy, Sentinel, Server};

use super::{changed, is_live, process, read, try_process, until};

const BOUND: Duration = Duration::from_millis(100);

/// Nothing times out.
fn patient(sentinel: &Sentinel, urls: Vec<String>) -> Redis {
    Redis::sentinel(sentinel.master_name(), urls).operation_timeout(Duration::from_secs(5))
}

fn strict(sentinel: &Sentinel, urls: Vec<String>) -> Redis {
    patient(sentinel, urls).consistency(Consistency::Strict)
}

fn bounded(sentinel: &Sentinel, urls: Vec<String>) -> Redis {
    patient(sentinel, urls).consistency(Consistency::Bounded(BOUND))
}

fn session(cache: &Cacheops) -> u64 {
    cache.shared_status().unwrap().sessions
}

/// Processes that have the row, with heartbeats at different times.
fn crowd(redis: impl Fn() -> Redis, database: &Cell<u64>) -> Vec<Cacheops> {
    let join = |_| {
        let process = process(redis());
        assert_eq!(read(&process, 1, database).0, database.get());
        process
    };
    (0..6).map(join).collect()
}

/// Waits until one of them has moved to another master. Returns which one.
fn first_to_move(crowd: &[Cacheops], before: &[u64]) -> usize {
    let mut first = None;
    let has_moved = |n: &usize| session(&crowd[*n]) > before[*n] && is_live(&crowd[*n]);
    until("a move", || {
        first = (0..crowd.len()).find(has_moved);
        first.is_some()
    });
    first.unwrap()
}

/// All read until the failover is over. Returns how long after now the last lookup began
/// that found the old value.
fn last_stale(sentinel: &Sentinel, readers: &[Cacheops], database: &Cell<u64>) -> Option<Duration> {
    let announced = Instant::now();
    let mut last = None;
    let mut is_over = false;
    let over = Instant::now() + Duration::from_secs(20);
    while !is_over && Instant::now() < over {
        is_over = !Sentinel::is_master(sentinel.master());
        for reader in readers {
            let asked = announced.elapsed();
            if read(reader, 1, database).0 < database.get() {
                last = Some(asked);
            }
        }
    }
    last
}

/// `SENTINEL FAILOVER`: nobody dies, no network is cut, and for a moment there are two
/// masters. The first process that has moved invalidates the row.
fn failover(redis: impl Fn(&Sentinel) -> Redis) -> Option<Duration> {
    let sentinel = Sentinel::start();
    sentinel.calm_down();
    let database = Cell::new(1);
    let crowd = crowd(|| redis(&sentinel), &database);
    let before: Vec<u64> = crowd.iter().map(session).collect();
    sentinel.begin_failover(0);
    let writer = first_to_move(&crowd, &before);
    database.set(2);
    crowd[writer].invalidate_obj("rows", &changed(1)).unwrap();
    last_stale(&sentinel, &crowd, &database)
}

#[test]
fn strict_reads_are_exact_in_a_planned_failover() {
    let stale = failover(|it| strict(it, it.sentinel_urls()));
    assert_eq!(stale, None, "so long after an announcement had returned");
}

#[test]
fn bounded_reads_keep_the_bound_in_a_planned_failover() {
    let stale = failover(|it| bounded(it, it.sentinel_urls()));
    assert!(stale.is_none_or(|stale| stale <= BOUND), "stale for {stale:?}");
}

/// The last process to move invalidates, at a master that may be deposed by now. The
/// invalidation succeeds only if it reaches all processes.
#[test]
fn invalidations_in_a_planned_failover_reach_the_new_master() {
    let sentinel = Sentinel::start();
    sentinel.calm_down();
    let database = Cell::new(1);
    let crowd = crowd(|| strict(&sentinel, sentinel.sentinel_urls()), &database);
    let before: Vec<u64> = crowd.iter().map(session).collect();
    sentinel.begin_failover(0);
    let first = first_to_move(&crowd, &before);
    read(&crowd[first], 1, &database);
    database.set(2);
    let late = (0..crowd.len()).rfind(|n| *n != first).unwrap();
    // Failed invalidations are tried again, as an application does.
    until("the delivery", || crowd[late].invalidate_obj("rows", &changed(1)).is_ok());
    assert_eq!(last_stale(&sentinel, &crowd, &database), None);
}

/// A process that reaches the old master and no sentinel, while the sentinels have named
/// another master and cannot reach the old one.
struct Apart {
    sentinel: Sentinel,
    proxies: Vec<Proxy>,
    cut_off: Cacheops,
    other: Cacheops,
    database: Cell<u64>,
}

fn apart(redis: fn(&Sentinel, Vec<String>) -> Redis) -> Apart {
    let sentinel = Sentinel::start();
    sentinel.calm_down();
    let all = sentinel.sentinels().iter();
    let proxies: Vec<Proxy> = all.clone().map(|one| Proxy::start(one.port())).collect();
    let urls = all.zip(&proxies).map(|(one, proxy)| one.url_at(proxy.port())).collect();
    let cut_off = process(redis(&sentinel, urls));
    let other = process(redis(&sentinel, sentinel.sentinel_urls()));
    let database = Cell::new(1);
    assert_eq!(read(&cut_off, 1, &database), (1, true));
    until("the fragment", || read(&other, 1, &database) == (1, false));
    let before = session(&other);
    for proxy in &proxies {
        proxy.set(Mode::Refuse);
    }
    sentinel.keep_master();
    sentinel.begin_failover(0);
    until("the move", || session(&other) > before && is_live(&other));
    Apart { sentinel, proxies, cut_off, other, database }
}

#[test]
fn strict_reads_behind_a_partition_find_nothing() {
    let Apart { sentinel, proxies, cut_off, other, database } = &apart(strict);
    database.set(2);
    other.invalidate_obj("rows", &changed(1)).unwrap();
    for _ in 0..100 {
        assert_eq!(read(cut_off, 1, database).0, 2);
    }
    assert_eq!(sentinel.master().info("role"), "master", "it was not demoted");
    let LinkState::Down(why) = cut_off.shared_status().unwrap().state else {
        panic!("it is at the old master: {:?}", cut_off.shared_status());
    };
    assert!(why.contains("no 2 of 3 sentinels name the same master"), "{why}");
    proxies.iter().for_each(|proxy| proxy.set(Mode::Pass));
    until("the new master", || !read(cut_off, 1, database).1);
}

#[test]
fn bounded_reads_behind_a_partition_keep_the_bound() {
    let apart = apart(bounded);
    let Apart { cut_off, other, database, .. } = &apart;
    database.set(2);
    other.invalidate_obj("rows", &changed(1)).unwrap();
    let announced = Instant::now();
    while announced.elapsed() < 2 * BOUND {
        let asked = announced.elapsed();
        assert!(read(cut_off, 1, database).0 == 2 || asked <= BOUND, "stale after {asked:?}");
    }
}

#[test]
fn invalidating_at_a_deposed_master_is_an_error() {
    let apart = apart(bounded);
    let Apart { cut_off, other, database, proxies, .. } = &apart;
    assert_eq!(read(other, 1, database), (1, true), "all was dropped");
    database.set(2);
    let error = cut_off.invalidate_obj("rows", &changed(1)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(error.is_transient() && error.to_string().contains("sentinels"), "{error}");
    proxies.iter().for_each(|proxy| proxy.set(Mode::Pass));
    until("the delivery", || cut_off.invalidate_obj("rows", &changed(1)).is_ok());
    until("the push", || read(other, 1, database).0 == 2);
}

/// Queued invalidations go to the master that a majority names.
#[test]
fn invalidations_sent_to_a_deposed_master_are_queued() {
    let queueing = |it: &Sentinel, urls| bounded(it, urls).queue_invalidations(100);
    let apart = apart(queueing);
    let Apart { cut_off, other, database, proxies, .. } = &apart;
    assert_eq!(read(other, 1, database), (1, true), "all was dropped");
    database.set(2);
    cut_off.invalidate_obj("rows", &changed(1)).unwrap();
    assert_eq!(cut_off.shared_status().unwrap().pending, 1);
    proxies.iter().for_each(|proxy| proxy.set(Mode::Pass));
    until("the delivery", || cut_off.shared_status().unwrap().pending == 0);
    until("the push", || read(other, 1, database).0 == 2);
}

/// The old master is deposed while nobody can reach it; then the sentinels name it again.
/// It has never been a replica, and lacks the invalidations in between.
#[test]
fn a_repromoted_master_loses_its_fragments() {
    let Apart { sentinel, proxies, cut_off, other, database } = apart(strict);
    database.set(2);
    other.invalidate_obj("rows", &changed(1)).unwrap();
    drop(other);
    let id = sentinel.master().info("master_replid");
    until("a failover back", || sentinel.try_failover(0));
    until("all sentinels", || sentinel.all_name_master());
    assert_eq!(sentinel.master().info("master_replid"), id, "it is as it was");
    proxies.iter().for_each(|proxy| proxy.set(Mode::Pass));
    until("the link", || is_live(&cut_off));
    assert_eq!(read(&cut_off, 1, &database), (2, true));
}

/// Two of three sentinels are gone, so no majority names a master.
#[test]
fn nothing_is_served_without_a_majority() {
    let sentinel = Sentinel::start();
    let of_all = |redis: fn(&Sentinel, Vec<String>) -> Redis| {
        process(redis(&sentinel, sentinel.sentinel_urls()))
    };
    let (near, asks) = (of_all(bounded), of_all(strict));
    let database = Cell::new(1);
    read(&near, 1, &database);
    read(&asks, 1, &database);
    sentinel.sentinels()[..2].iter().for_each(Server::kill);
    assert_eq!(read(&asks, 1, &database), (1, true), "nothing is served");
    assert!(asks.invalidate_model("rows").is_err());
    until("the end of the bound", || !is_live(&near));
    assert_eq!(read(&near, 1, &database), (1, true));
    assert!(near.invalidate_model("rows").is_err());
    let error = try_process(strict(&sentinel, sentinel.sentinel_urls())).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    sentinel.sentinels()[..2].iter().for_each(Server::restart);
    until("a majority", || is_live(&near) && is_live(&asks));
    for cache in [&near, &asks] {
        assert_eq!(read(cache, 1, &database), (1, false), "nothing was lost");
        cache.invalidate_model("rows").unwrap();
        read(cache, 1, &database);
    }
}

fn heartbeats(server: &Server) -> u64 {
    let stats = server.command(&["INFO", "commandstats"]).unwrap();
    let time = stats.lines().find_map(|line| line.strip_prefix("cmdstat_time:calls="));
    time.and_then(|rest| rest.split(',').next()?.parse().ok()).unwrap_or(0)
}

fn wait_for_heartbeats(server: &Server, count: u64) {
    let before = heartbeats(server);
    until("the heartbeats", || heartbeats(server) >= before + count);
}

#[test]
fn a_sentinel_that_names_a_dead_master_is_outvoted() {
    let sentinel = Sentinel::start();
    let astray = Sentinel::astray();
    let urls = || [vec![astray.url()], sentinel.sentinel_urls()].concat();
    let cache = process(bounded(&sentinel, urls()));
    let database = Cell::new(1);
    read(&cache, 1, &database);
    drop(cache);
    astray.kill();
    let cache = process(bounded(&sentinel, urls()));
    let before = session(&cache);
    astray.restart();
    wait_for_heartbeats(sentinel.master(), 30);
    assert_eq!(
        (session(&cache), is_live(&cache)),
        (before, true),
        "a healthy connection is given up"
    );
}

/// A silent sentinel delays no heartbeat, no strict hit, and no process that starts.
#[test]
fn a_silent_sentinel_delays_nobody() {
    let sentinel = Sentinel::start();
    let proxy = Proxy::start(sentinel.sentinels()[0].port());
    let mut urls = sentinel.sentinel_urls();
    urls[0] = sentinel.sentinels()[0].url_at(proxy.port());
    let long = super::LONG;
    let asks = process(strict(&sentinel, urls.clone()).operation_timeout(long));
    let near = process(bounded(&sentinel, urls.clone()).operation_timeout(long));
    let database = Cell::new(1);
    read(&asks, 1, &database);
    let began = Instant::now();
    for mode in [Mode::Silent, Mode::Refuse, Mode::Silent] {
        proxy.set(mode);
        (0..50).for_each(|_| assert_eq!(read(&asks, 1, &database), (1, false)));
        wait_for_heartbeats(sentinel.master(), 30);
        assert!(is_live(&near) && is_live(&asks));
        process(strict(&sentinel, urls.clone()).operation_timeout(long));
    }
    assert!(began.elapsed() < long, "one waits for it: {:?}", began.elapsed());
}

/// Listing only some sentinels is an error, and so is listing one several times.
#[test]
fn too_few_listed_sentinels_are_an_error() {
    let sentinel = Sentinel::start();
    let urls = sentinel.sentinel_urls();
    let listed = |urls: Vec<String>| try_process(bounded(&sentinel, urls));
    let error = listed(vec![urls[0].clone()]).unwrap_err().to_string();
    assert!(error.contains("only 1 are listed: list all 3"), "{error}");
    let error = listed(vec![urls[0].clone(); 3]).unwrap_err().to_string();
    assert!(error.contains("no 2 of 3 sentinels name the same master"), "{error}");
    listed(urls[..2].to_vec()).unwrap();
}

/// The rights for sentinels that the handbook lists.
#[test]
fn least_privileges_of_sentinels_suffice() {
    let sentinel = Sentinel::start();
    for one in sentinel.sentinels() {
        let rules = "ACL SETUSER web on >pw resetchannels -@all +hello +sentinel|myid +sentinel|master +sentinel|get-master-addr-by-name";
        one.command(&rules.split(' ').collect::<Vec<_>>()).unwrap();
    }
    let redis = || strict(&sentinel, sentinel.sentinel_urls());
    process(redis().sentinel_login(Some("web"), Some("pw")));
    let error = try_process(redis().sentinel_login(Some("web"), Some("wrong"))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{error}");
    for one in sentinel.sentinels() {
        one.command(&["ACL", "SETUSER", "web", "-sentinel|master"]).unwrap();
    }
    let error = try_process(redis().sentinel_login(Some("web"), Some("pw"))).unwrap_err();
    assert!(error.to_string().contains("SENTINEL MASTER is refused"), "{error}");
}
