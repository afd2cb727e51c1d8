//! The connection: invalidation pushes, what counts while pushes may be missing, and
//! the runtimes of applications.

use std::cell::Cell;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use cacheops::{Cacheops, Consistency, Credentials, Error, Outcome, Redis, WriteEvent};
use cacheops_tests::servers::{Mode, Proxy, Server};
use futures_util::FutureExt;

use super::{LONG, changed, is_live, patient, process, read, row, rows, strict, until};

/// A process behind a proxy.
fn behind(server: &Server, proxy: &Proxy, redis: impl FnOnce(Redis) -> Redis) -> Cacheops {
    process(redis(Redis::url(server.url_at(proxy.port())).operation_timeout(LONG)))
}

#[test]
fn hits_come_from_memory_and_invalidations_by_push() {
    let server = Server::start();
    let (one, two) = (process(patient(&server)), process(patient(&server)));
    let database = Cell::new(1);
    read(&one, 1, &database);
    assert_eq!(read(&two, 1, &database), (1, false));
    assert_eq!(two.stats().shared_hits, 1);
    let gets = || -> u64 {
        let line = server.info("cmdstat_get");
        let calls = line.split("calls=").nth(1).and_then(|rest| rest.split(',').next());
        calls.and_then(|calls| calls.parse().ok()).unwrap()
    };
    let before = gets();
    for _ in 0..100 {
        assert_eq!(read(&two, 1, &database), (1, false));
    }
    assert!(gets() - before < 50, "no hit asks; a heartbeat may");
    assert_eq!((two.stats().hits, two.stats().shared_hits), (101, 1));
    // Other rows do not matter.
    database.set(2);
    one.invalidate_obj("rows", &changed(2)).unwrap();
    assert_eq!(read(&two, 1, &database), (1, false));
    one.invalidate_obj("rows", &changed(1)).unwrap();
    assert_eq!(read(&one, 1, &database), (2, true), "one's own is seen at once");
    until("the push", || read(&two, 1, &database) == (2, false));
}

/// In strict mode nothing that was invalidated anywhere is found.
#[test]
fn strict_lookups_see_every_invalidation() {
    let server = Server::start();
    let (one, two) = (process(strict(&server)), process(patient(&server)));
    let database = Cell::new(0);
    for n in 1..300 {
        database.set(n);
        match n % 4 {
            0 => two.invalidate_model("rows").unwrap(),
            1 => two.invalidate_all().unwrap(),
            2 => two.invalidate_obj("rows", &serde_json::json!({"other": 1})).unwrap(),
            _ => two.invalidate_obj("rows", &changed(1)).unwrap(),
        }
        assert_eq!(read(&one, 1, &database), (n, true));
        assert_eq!(read(&one, 1, &database), (n, false));
        assert_eq!(read(&two, 1, &database).0, n);
    }
}

/// What another process may serve while the connection is silent, and how long.
fn partition(mode: Mode) {
    let server = Server::start();
    let proxy = Proxy::start(server.port());
    let bound = Duration::from_millis(300);
    let limit = Duration::from_millis(100);
    let redis =
        |redis: Redis| redis.consistency(Consistency::Bounded(bound)).operation_timeout(limit);
    let (one, two) = (process(patient(&server)), behind(&server, &proxy, redis));
    let database = Cell::new(1);
    read(&one, 1, &database);
    read(&two, 1, &database);
    proxy.set(mode);
    database.set(2);
    one.invalidate_obj("rows", &changed(1)).unwrap();
    let invalidated = Instant::now();
    let mut stale = 0;
    until("the bound", || {
        let began = Instant::now();
        let (value, _) = read(&two, 1, &database);
        let old = value == 1;
        stale += u32::from(old);
        assert!(!old || began <= invalidated + bound, "served {:?} later", began - invalidated);
        began > invalidated + 2 * bound
    });
    assert!(stale > 0, "within the bound it was served from memory");
    assert_eq!(read(&two, 1, &database).0, 2);
    proxy.set(Mode::Pass);
    until("the connection", || read(&two, 1, &database) == (2, false));
}

#[test]
fn a_silent_connection_is_within_the_bound() {
    partition(Mode::Silent);
}

#[test]
fn a_connection_without_replies_is_within_the_bound() {
    partition(Mode::SilentReplies);
}

#[test]
fn a_stopped_server_is_within_the_bound() {
    let server = Server::start();
    let bound = Duration::from_millis(200);
    let redis = patient(&server).operation_timeout(Duration::from_millis(100));
    let cache = process(redis.consistency(Consistency::Bounded(bound)));
    let database = Cell::new(1);
    read(&cache, 1, &database);
    server.stop();
    let stopped = Instant::now();
    database.set(2);
    until("the bound", || {
        let began = Instant::now();
        let (value, _) = read(&cache, 1, &database);
        assert!(value == 2 || began <= stopped + bound);
        value == 2
    });
    server.cont();
    until("the connection", || !read(&cache, 1, &database).1);
    // Nobody has invalidated anything: the fragment was found again.
    assert_eq!(read(&cache, 1, &database), (1, false));
}

/// After a cut, fragments are verified and not rendered again, and changes during the
/// cut are noticed.
#[test]
fn cut_connections_cost_no_renderings() {
    let server = Server::start();
    let proxy = Proxy::start(server.port());
    let (one, two) = (process(patient(&server)), behind(&server, &proxy, |redis| redis));
    let database = Cell::new(1);
    for id in 0..20 {
        read(&two, id, &database);
    }
    for round in 0..5 {
        database.set(2 + round);
        if round % 2 == 0 {
            proxy.cut();
        } else {
            server.command(&["CLIENT", "KILL", "TYPE", "normal"]).unwrap();
        }
        until("the connection of one", || one.invalidate_obj("rows", &changed(7)).is_ok());
        // The cut is noticed within the bound, and with it what changed.
        until("the push", || read(&two, 7, &database) == (2 + round, false));
        until("the connection", || !read(&two, 0, &database).1);
        for id in 0..20 {
            let expected = if id == 7 { 2 + round } else { 1 };
            assert_eq!(read(&two, id, &database), (expected, false), "row {id}, round {round}");
        }
    }
    assert!(two.stats().shared_hits >= 95);
}

/// Late pushes: a slow connection keeps the bound.
#[test]
fn a_slow_connection_is_within_the_bound() {
    let server = Server::start();
    let proxy = Proxy::start(server.port());
    proxy.set(Mode::Delay(Duration::from_millis(20)));
    let bound = Duration::from_millis(400);
    let (one, two) = (
        process(patient(&server)),
        behind(&server, &proxy, |redis| redis.consistency(Consistency::Bounded(bound))),
    );
    let database = Cell::new(0);
    for n in 1..20 {
        database.set(n);
        one.invalidate_obj("rows", &changed(1)).unwrap();
        let invalidated = Instant::now();
        until("the push", || {
            let began = Instant::now();
            let (value, _) = read(&two, 1, &database);
            assert!(value == n || began <= invalidated + bound);
            value == n
        });
        // Its own it sees at once.
        database.set(100 + n);
        two.invalidate_obj("rows", &changed(1)).unwrap();
        assert_eq!(read(&two, 1, &database).0, 100 + n);
    }
}

/// A process that was suspended verifies before it serves.
#[test]
fn an_idle_connection_is_verified_before_a_hit() {
    let server = Server::start();
    let bound = Duration::from_millis(1);
    let (one, two) = (
        process(patient(&server)),
        process(patient(&server).consistency(Consistency::Bounded(bound))),
    );
    let database = Cell::new(1);
    for n in 2..100 {
        read(&two, 1, &database);
        database.set(n);
        one.invalidate_obj("rows", &changed(1)).unwrap();
        thread::sleep(bound);
        assert_eq!(read(&two, 1, &database).0, n);
    }
}

#[test]
fn connections_close_with_the_last_handle() {
    let server = Server::start();
    let clients = || {
        let list = server.command(&["CLIENT", "LIST"]).unwrap();
        list.lines()
            .filter(|line| line.contains("lib-name=redis-rs") || line.contains("resp=3"))
            .count()
    };
    let cache = process(patient(&server));
    let other = cache.clone();
    assert_eq!(clients(), 1);
    drop(cache);
    read(&other, 1, &Cell::new(1));
    assert_eq!(clients(), 1);
    drop(other);
    until("the end", || clients() == 0);
    // The thread holds what its connection is made with, until it ends.
    let held = Arc::new(());
    let holding = |_| {
        let held = held.clone();
        let tell = move || Ok(Credentials::new(None, format!("{held:?}")));
        process(patient(&server).credentials(tell))
    };
    let many: Vec<Cacheops> = (0..5).map(holding).collect();
    assert_eq!(clients(), 5);
    assert!(Arc::strong_count(&held) > 5);
    drop(many);
    assert_eq!(Arc::strong_count(&held), 1, "a thread goes on");
    // Dropping also waits while a connection is set up in vain.
    let lost = process(patient(&server).connect_timeout(LONG));
    server.stop();
    server.kill();
    drop(lost);
}

/// Synchronous calls in an asynchronous handler, on one thread, and handles
/// that end there.
#[test]
fn works_inside_a_single_threaded_runtime() {
    let server = Server::start();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let cache = process(strict(&server));
        let database = Cell::new(1);
        assert_eq!(read(&cache, 1, &database), (1, true));
        assert_eq!(read(&cache, 1, &database), (1, false));
        let get = |value: u64| {
            row(&cache, 2).get_or_fill_async(move || async move { Ok::<_, Error>(value) })
        };
        assert_eq!(get(5).await.unwrap(), 5);
        assert_eq!(get(6).await.unwrap(), 5);
        // A synchronous one inside of an asynchronous one.
        let nested = row(&cache, 3)
            .get_or_fill_async(|| async { Ok::<_, Error>(read(&cache, 4, &database).0) });
        assert_eq!(nested.await.unwrap(), 1);
        let events = [cacheops::WriteEvent::table("rows")];
        cache.invalidate_batch_async(events).await.unwrap();
        assert_eq!(get(7).await.unwrap(), 7);
        assert!(cache.get_last_invalidation(["rows"]).is_some());
    });
    // The same without a runtime.
    let cache = process(patient(&server));
    let get = row(&cache, 9).get_or_fill_async(|| async { Ok::<_, Error>(1) });
    assert_eq!(futures_executor::block_on(get).unwrap(), 1);
}

#[test]
fn observers_are_told_where_a_hit_came_from() {
    use std::sync::Mutex;
    let server = Server::start();
    let outcomes: Arc<Mutex<Vec<Outcome>>> = Arc::default();
    let noted = outcomes.clone();
    let redis = patient(&server).operation_timeout(Duration::from_millis(200));
    let watched = Cacheops::builder()
        .redis(redis.consistency(Consistency::Bounded(Duration::from_secs(60))))
        .on_cache_read(move |read| noted.lock().unwrap().push(read.outcome))
        .build()
        .unwrap();
    let other = process(patient(&server));
    let database = Cell::new(1);
    let get = || {
        read(&watched, 1, &database);
        outcomes.lock().unwrap().pop().unwrap()
    };
    read(&other, 1, &database);
    assert_eq!(get(), Outcome::SharedHit);
    assert_eq!(get(), Outcome::Hit);
    other.invalidate_obj("rows", &changed(1)).unwrap();
    until("the push", || get() == Outcome::StampChanged);
    assert_eq!(get(), Outcome::Hit);
    // Another fragment of the row creates a stamp that this one does not have.
    other.invalidate_obj("rows", &changed(1)).unwrap();
    row(&other, 1).extra(&1).get_or_fill(|| Ok::<_, Error>(1)).unwrap();
    until("the push", || get() == Outcome::StampChanged);
    assert_eq!(get(), Outcome::Hit);
    server.command(&["DEL", "conj:rows:id=1"]).unwrap();
    server.command(&["DEL", "all"]).unwrap();
    // The second lookup may come while the first one refills the fragment.
    until("the pushes", || get() != Outcome::Hit);
    until("a fill after both", || get() == Outcome::Hit);
    server.kill();
    until("the end of the connection", || !is_live(&watched));
    until("the breaker", || matches!(get(), Outcome::Unverified));
    read(&watched, 2, &database);
    assert_eq!(outcomes.lock().unwrap().pop(), Some(Outcome::BreakerOpen));
    let stats = watched.stats();
    assert!(stats.unverified > 0 && stats.breaker_open > 0 && stats.shared_hits > 0);
}

/// More fragments than prepared revalidations, and fragments that replace others.
#[test]
fn concurrent_strict_lookups_are_exact() {
    const MANY: u64 = 4_200;
    let server = Server::start();
    let (cache, other) = (process(strict(&server)), process(strict(&server)));
    let page = |cache: &Cacheops, value: u64| {
        let page = cache.page();
        let get = |id: u64| {
            let call = cache.cached_as(rows(id % 50)).extra(&id).lock(false).page(&page);
            call.get_or_fill(|| Ok::<_, Error>(value)).unwrap()
        };
        (0..MANY).map(get).collect::<Vec<u64>>()
    };
    assert!(page(&cache, 1).iter().all(|value| *value == 1));
    for round in 2..4 {
        other.invalidate_objs("rows", (0..25).map(changed)).unwrap();
        let expected = |id: u64| if id % 50 < 25 { round } else { 1 };
        for _ in 0..2 {
            let found = page(&cache, round);
            assert!((0..MANY).zip(&found).all(|(id, value)| *value == expected(id)));
        }
    }
}

/// An invalidation whose future is dropped is still delivered, and it never reaches
/// other processes without the one that began it.
#[test]
fn a_dropped_invalidation_is_still_delivered() {
    let server = Server::start();
    let other = process(strict(&server));
    for polls in 0..6 {
        let cache = process(patient(&server));
        let database = Cell::new(1);
        let change = || WriteEvent::insert("rows", &changed(1));
        // The schemes are known from then on.
        read(&cache, 1, &database);
        cache.invalidate_batch([change()]).unwrap();
        read(&cache, 1, &database);
        database.set(2);
        let mut invalidation = Some(Box::pin(cache.invalidate_batch_async([change()])));
        for _ in 0..polls {
            let poll = |future: &mut _| FutureExt::now_or_never(future).is_some();
            if invalidation.as_mut().is_some_and(poll) {
                invalidation = None;
            }
            // Answered after what was sent before.
            cache.get_last_invalidation(["rows"]);
        }
        drop(invalidation);
        let there = read(&other, 1, &database).0;
        assert!(read(&cache, 1, &database).0 >= there, "after {polls} polls");
        until("the rest", || read(&other, 1, &database).0 == 2);
        until("the push", || read(&cache, 1, &database).0 == 2);
        cache.invalidate_all().unwrap();
    }
}
