//! Lost keys, full servers, and servers that go back in time.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use cacheops::{Cacheops, Consistency, Error};
use cacheops_tests::servers::{Sentinel, Server};

use super::{changed, patient, process, read, row, strict, until};

/// Whichever key is lost, the fragments that depend on it are misses and then right.
#[test]
fn losing_any_key_is_never_stale() {
    let server = Server::start();
    let keys = ["all", "schemes:rows", "conj:rows:id=1", "frag:*", "last", "lock:*", "*"];
    for redis in [patient, strict] {
        for lost in keys {
            let (one, two) = (process(redis(&server)), process(redis(&server)));
            let database = Cell::new(1);
            read(&one, 1, &database);
            read(&two, 1, &database);
            for key in server.command(&["KEYS", lost]).unwrap().lines() {
                server.command(&["DEL", key]).unwrap();
            }
            // A change right after the loss, which may have taken the scheme
            // along that it would be found by.
            database.set(2);
            one.invalidate_obj("rows", &changed(1)).unwrap();
            assert_eq!(read(&one, 1, &database).0, 2, "{lost}");
            until("the push", || read(&two, 1, &database).0 == 2);
            server.command(&["FLUSHALL"]).unwrap();
        }
    }
}

#[test]
fn a_flush_is_never_stale() {
    let server = Server::start();
    let cache = process(patient(&server));
    let database = Cell::new(1);
    for command in ["FLUSHALL", "FLUSHDB"] {
        for n in 1..50 {
            read(&cache, 1, &database);
            server.command(&[command]).unwrap();
            database.set(n);
            cache.invalidate_obj("rows", &changed(1)).unwrap();
            assert_eq!(read(&cache, 1, &database).0, n);
        }
    }
}

/// Readers and writers over a server that evicts all the time, or is full: no lookup
/// is older than what was announced.
fn under_pressure(policy: &str) {
    const ROWS: usize = 40;
    let server =
        Server::options().arg("--maxmemory", "3mb").arg("--maxmemory-policy", policy).start();
    let caches = [process(strict(&server)), process(patient(&server))];
    let versions: Vec<AtomicU64> = (0..ROWS).map(|_| AtomicU64::new(1)).collect();
    let floors: Vec<AtomicU64> = (0..ROWS).map(|_| AtomicU64::new(0)).collect();
    let written = AtomicUsize::new(0);
    let text = "x".repeat(20_000);
    thread::scope(|scope| {
        for (writer, cache) in caches.iter().enumerate() {
            let (versions, floors, written) = (&versions, &floors, &written);
            scope.spawn(move || {
                for n in 0..150 {
                    let id = (n * 7 + writer * 3) % ROWS;
                    let next = versions[id].fetch_add(1, Ordering::SeqCst) + 1;
                    cache.invalidate_obj("rows", &changed(id as u64)).unwrap();
                    floors[id].fetch_max(next, Ordering::SeqCst);
                }
                written.fetch_add(1, Ordering::SeqCst);
            });
        }
        let (cache, versions, floors, written, text) =
            (&caches[0], &versions, &floors, &written, &text);
        scope.spawn(move || {
            let mut n = 0;
            while written.load(Ordering::SeqCst) < 2 {
                n += 1;
                let id = n % ROWS;
                let least = floors[id].load(Ordering::SeqCst);
                let place = row(cache, id as u64).extra(&(n / ROWS % 10));
                let (value, _) = place
                    .get_or_fill(|| {
                        Ok::<_, Error>((versions[id].load(Ordering::SeqCst), text.clone()))
                    })
                    .unwrap();
                assert!(value >= least, "{policy}: served {value}, and {least} was announced");
            }
        });
    });
    // Every invalidation was delivered, although the server is full.
    assert!(caches[0].stats().invalidations >= 150);
}

#[test]
fn every_eviction_policy_is_never_stale() {
    for policy in [
        "noeviction",
        "allkeys-lru",
        "allkeys-lfu",
        "allkeys-random",
        "volatile-lru",
        "volatile-lfu",
        "volatile-random",
        "volatile-ttl",
    ] {
        under_pressure(policy);
    }
}

/// At its limit, a server refuses writes and still takes invalidations.
#[test]
fn a_full_server_is_never_stale() {
    let server = Server::start();
    let (cache, other) = (process(patient(&server)), process(strict(&server)));
    let database = Cell::new(1);
    read(&cache, 1, &database);
    read(&other, 1, &database);
    let noted = cache.get_last_invalidation(["rows"]);
    server.command(&["CONFIG", "SET", "maxmemory", "1"]).unwrap();
    database.set(2);
    cache.invalidate_obj("rows", &changed(1)).unwrap();
    assert_eq!(read(&cache, 1, &database), (2, true));
    assert_eq!(read(&other, 1, &database), (2, true));
    assert_eq!(read(&cache, 1, &database), (2, true), "nothing can be kept");
    assert!(cache.get_last_invalidation(["rows"]) > noted);
    cache.invalidate_model("rows").unwrap();
    cache.invalidate_all().unwrap();
    server.command(&["CONFIG", "SET", "maxmemory", "0"]).unwrap();
    assert_eq!(read(&cache, 1, &database), (2, true));
    assert_eq!(read(&cache, 1, &database), (2, false));
}

/// A server that comes back with an old dump.
#[test]
fn a_server_restarted_from_an_old_dump_is_never_stale() {
    let server = Server::options().persistent().start();
    server.command(&["CONFIG", "SET", "appendonly", "no"]).unwrap();
    let cache = process(patient(&server));
    let database = Cell::new(1);
    read(&cache, 1, &database);
    server.command(&["SAVE"]).unwrap();
    database.set(2);
    cache.invalidate_obj("rows", &changed(1)).unwrap();
    server.kill();
    server.restart();
    let fresh = process(patient(&server));
    assert_eq!(read(&fresh, 1, &database), (2, true), "the dump holds the old one");
    until("the connection", || read(&cache, 1, &database).0 == 2);
    assert_eq!(read(&process(strict(&server)), 1, &database).0, 2);
}

/// A replica that is promoted behind its master.
#[test]
fn a_lagging_replica_that_is_promoted_is_never_stale() {
    let master = Server::start();
    let replica = Server::options().replica_of(&master).start();
    let cache = process(strict(&master));
    let database = Cell::new(1);
    read(&cache, 1, &database);
    replica.wait_in_sync(&master);
    replica.stop();
    database.set(2);
    cache.invalidate_obj("rows", &changed(1)).unwrap();
    master.kill();
    replica.cont();
    replica.promote();
    assert_eq!(read(&process(strict(&replica)), 1, &database), (2, true));
}

/// The same for processes that follow the sentinels.
#[test]
fn a_failover_to_a_lagging_replica_is_never_stale() {
    let sentinel = Sentinel::start();
    let redis = || {
        cacheops::Redis::sentinel(sentinel.master_name(), sentinel.sentinel_urls())
            .operation_timeout(Duration::from_millis(500))
    };
    let caches: [Cacheops; 2] =
        [process(redis()), process(redis().consistency(cacheops::Consistency::Strict))];
    let database = Cell::new(1);
    caches.iter().for_each(|cache| {
        read(cache, 1, &database);
    });
    sentinel.replica().wait_in_sync(sentinel.master());
    sentinel.replica().stop();
    database.set(2);
    until("delivery", || caches[0].invalidate_obj("rows", &changed(1)).is_ok());
    sentinel.kill_master();
    sentinel.replica().cont();
    sentinel.wait_for_failover();
    for cache in &caches {
        for _ in 0..50 {
            assert_eq!(read(cache, 1, &database).0, 2);
        }
        until("the connection", || !read(cache, 1, &database).1);
        assert_eq!(read(cache, 1, &database).0, 2);
    }
}

/// With NOLOOP a server would not push what it evicts for a connection's own writes.
#[test]
fn keys_evicted_by_own_writes_are_pushed() {
    let server = Server::start();
    let bounded = Consistency::Bounded(Duration::from_millis(300));
    let (cache, other) = (process(patient(&server).consistency(bounded)), process(strict(&server)));
    let (database, mut filled) = (Cell::new(1), 0);
    for lost in ["conj:rows:id=1", "schemes:rows", "all"] {
        read(&cache, 1, &database);
        let used = server.info("used_memory").trim().parse::<u64>().unwrap();
        server.command(&["CONFIG", "SET", "maxmemory-policy", "allkeys-random"]).unwrap();
        server.command(&["CONFIG", "SET", "maxmemory", &(used + 300_000).to_string()]).unwrap();
        // Others' commands, by which it would hear, are few.
        while server.command(&["EXISTS", lost]).unwrap().trim() != "0" {
            for _ in 0..100 {
                filled += 1;
                let big = || Ok::<_, Error>(incompressible(filled));
                cache.cached().extra(&filled).get_or_fill(big).unwrap();
            }
        }
        server.command(&["CONFIG", "SET", "maxmemory", "0"]).unwrap();
        database.set(database.get() + 1);
        other.invalidate_obj("rows", &changed(1)).unwrap();
        until("the push", || read(&cache, 1, &database).0 == database.get());
        other.invalidate_all().unwrap();
    }
}

fn incompressible(mut seed: u64) -> Vec<u64> {
    let next = move || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695);
        seed
    };
    std::iter::repeat_with(next).take(500).collect()
}

/// A full server refuses to register a scheme. The fragment must not be stored then,
/// although all its stamps exist.
#[test]
fn a_refused_scheme_registration_stores_nothing() {
    let server = Server::start();
    let cache = process(patient(&server));
    let database = Cell::new(1);
    let all = || cache.cached_as("rows").get_or_fill(|| Ok::<_, Error>(database.get())).unwrap();
    read(&cache, 1, &database);
    cache.invalidate_model("rows").unwrap();
    all();
    server.command(&["CONFIG", "SET", "maxmemory", "1"]).unwrap();
    read(&cache, 1, &database);
    server.command(&["CONFIG", "SET", "maxmemory", "0"]).unwrap();
    read(&cache, 1, &database);
    database.set(2);
    cache.invalidate_obj("rows", &changed(1)).unwrap();
    assert_eq!(read(&cache, 1, &database).0, 2);
}

/// The times of invalidations are lost, and the first one to be noted again is that of
/// another table.
#[test]
fn lost_invalidation_times_count_as_now() {
    let server = Server::start();
    let cache = process(patient(&server));
    read(&cache, 1, &Cell::new(1));
    cache.invalidate_model("rows").unwrap();
    let noted = cache.get_last_invalidation(["rows"]);
    assert!(noted.is_some());
    assert_eq!(cache.get_last_invalidation(["others"]), None);
    server.command(&["DEL", "last"]).unwrap();
    cache.invalidate_model("others").unwrap();
    for cache in [&cache, &process(patient(&server))] {
        let known = cache.get_last_invalidation(["rows"]);
        assert!(known > noted);
        assert_eq!(cache.get_last_invalidation(["rows"]), known, "it stays");
    }
}
