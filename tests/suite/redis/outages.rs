//! Servers that are dead, silent or unreachable.

use std::cell::Cell;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use cacheops::{Cacheops, Error, ErrorKind, LinkState, Redis, WriteEvent};
use cacheops_tests::servers::{Mode, Proxy, Server};

use super::{LONG, changed, is_live, patient, process, read, row, strict, until};

const LIMIT: Duration = Duration::from_millis(400);

/// Renders a page of twenty fragments.
fn page(cache: &Cacheops, database: &Cell<u64>) -> Vec<u64> {
    (0..20).map(|id| read(cache, id, database).0).collect()
}

/// The first page waits for one operation timeout at most, the next ones do not wait.
fn page_over(redis: Redis, kill: impl FnOnce()) {
    let cache = process(redis.operation_timeout(LIMIT));
    let database = Cell::new(1);
    page(&cache, &database);
    kill();
    database.set(2);
    let began = Instant::now();
    page(&cache, &database);
    let first = began.elapsed();
    // One timeout, and what a busy machine adds: far from twenty.
    assert!(first < 3 * LIMIT, "the first page took {first:?}");
    until("the breaker", || !is_live(&cache));
    let before = cache.stats();
    let began = Instant::now();
    assert_eq!(page(&cache, &database), [2; 20]);
    assert!(began.elapsed() < LIMIT, "the second page took {:?}", began.elapsed());
    assert_eq!(cache.stats().stored, before.stored, "nothing is stored meanwhile");
}

#[test]
fn a_page_over_a_silent_server_waits_once() {
    let server = Server::start();
    page_over(strict(&server), || server.stop());
    server.cont();
    page_over(patient(&server), || server.stop());
    server.cont();
}

#[test]
fn a_page_over_a_dead_server_waits_once() {
    let server = Server::start();
    page_over(strict(&server), || server.kill());
    server.restart();
    page_over(patient(&server), || server.kill());
}

#[test]
fn a_page_over_a_black_hole_waits_once() {
    let server = Server::start();
    let proxy = Proxy::start(server.port());
    let redis = Redis::url(server.url_at(proxy.port())).consistency(cacheops::Consistency::Strict);
    page_over(redis, || proxy.set(Mode::Silent));
}

#[test]
fn an_undelivered_invalidation_is_an_error() {
    let server = Server::start();
    let cache = process(patient(&server).operation_timeout(LIMIT));
    let database = Cell::new(1);
    read(&cache, 1, &database);
    server.kill();
    database.set(2);
    for event in 0..4 {
        let error = match event {
            0 => cache.invalidate_obj("rows", &changed(1)),
            1 => cache.invalidate_model("rows"),
            2 => cache.invalidate_fragment("name"),
            _ => cache.invalidate_batch([WriteEvent::everything()]),
        };
        let error = error.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(error.is_transient());
        let text = error.to_string();
        assert!(
            text.starts_with("shared tier unavailable: the invalidation did not reach Redis ("),
            "{text}"
        );
        assert!(text.contains("try again, or undo the change"), "{text}");
        // This process serves nothing old in any case.
        assert_eq!(read(&cache, 1, &database), (2, true));
    }
    // A value that is not a row is invalidated as a table, which fails first.
    assert_eq!(cache.invalidate_obj("rows", &3).unwrap_err().kind(), ErrorKind::Unavailable);
    server.restart();
    until("the connection", || cache.invalidate_obj("rows", &changed(1)).is_ok());
}

/// With `queue_invalidations` invalidations are queued, and delivered before anything
/// else.
#[test]
fn queued_invalidations_are_delivered_first() {
    let server = Server::start();
    let proxy = Proxy::start(server.port());
    let other = process(strict(&server));
    let redis =
        Redis::url(server.url_at(proxy.port())).operation_timeout(LIMIT).queue_invalidations(50);
    let cache = process(redis);
    let database = Cell::new(1);
    for id in 0..10 {
        read(&cache, id, &database);
        read(&other, id, &database);
    }
    proxy.set(Mode::Refuse);
    proxy.cut();
    database.set(2);
    for id in 0..5 {
        cache.invalidate_obj("rows", &changed(id)).unwrap();
    }
    assert_eq!(cache.shared_status().unwrap().pending, 5);
    assert_eq!(read(&cache, 1, &database), (2, true), "nothing old is served here");
    assert_eq!(read(&other, 1, &database).0, 1, "the other process cannot know");
    proxy.set(Mode::Pass);
    until("the connection", || is_live(&cache));
    assert_eq!(cache.shared_status().unwrap().pending, 0);
    for id in 0..10 {
        assert_eq!(read(&other, id, &database), if id < 5 { (2, true) } else { (1, false) });
    }
    // More than fit into the queue become whole tables.
    proxy.set(Mode::Silent);
    database.set(3);
    for id in 0..60 {
        cache.invalidate_obj("rows", &changed(100 + id)).unwrap();
    }
    let status = cache.shared_status().unwrap();
    assert!(status.pending <= 50 && status.state != LinkState::Live, "{status:?}");
    proxy.set(Mode::Pass);
    until("the connection", || is_live(&cache));
    assert_eq!(read(&other, 7, &database), (3, true));
}

#[test]
fn a_process_that_queues_starts_without_a_server() {
    let server = Server::start();
    server.kill();
    let error = super::try_process(patient(&server)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    let cache = process(patient(&server).queue_invalidations(10));
    let database = Cell::new(1);
    assert_eq!(read(&cache, 1, &database), (1, true));
    cache.invalidate_model("rows").unwrap();
    server.restart();
    until("the connection", || is_live(&cache));
    assert_eq!(read(&cache, 1, &database), (1, true));
    assert_eq!(read(&cache, 1, &database), (1, false));
}

/// Servers are killed and restarted under readers and a writer: no lookup is older than
/// what was announced.
#[test]
fn a_server_killed_under_load_is_never_stale() {
    let server = Server::options().persistent().start();
    let redis = || strict(&server).operation_timeout(LIMIT);
    let caches = [process(redis()), process(redis())];
    let (version, floor, done) = (AtomicU64::new(1), AtomicU64::new(0), AtomicU64::new(0));
    let reads = AtomicU64::new(0);
    thread::scope(|scope| {
        for cache in &caches {
            scope.spawn(|| {
                while done.load(Ordering::SeqCst) == 0 {
                    let least = floor.load(Ordering::SeqCst);
                    let value = row(cache, 1)
                        .get_or_fill(|| Ok::<_, Error>(version.load(Ordering::SeqCst)))
                        .unwrap();
                    assert!(value >= least, "served {value}, and {least} was announced");
                    reads.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        scope.spawn(|| {
            while done.load(Ordering::SeqCst) == 0 {
                let next = version.fetch_add(1, Ordering::SeqCst) + 1;
                if caches[0].invalidate_obj("rows", &changed(1)).is_ok() {
                    floor.fetch_max(next, Ordering::SeqCst);
                }
            }
        });
        for round in 0..6 {
            let before = floor.load(Ordering::SeqCst);
            until("progress", || floor.load(Ordering::SeqCst) > before + 20);
            if round == 2 {
                server.command(&["BGREWRITEAOF"]).unwrap();
            }
            server.kill();
            server.restart();
        }
        let before = floor.load(Ordering::SeqCst);
        until("progress", || floor.load(Ordering::SeqCst) > before);
        done.store(1, Ordering::SeqCst);
    });
    assert!(reads.load(Ordering::SeqCst) > 100);
    let _ = LONG;
}

/// A page shows after an outage what it has read during it: no push has told of the
/// invalidations in between.
fn shown_after_an_outage(get: impl Fn(&Cacheops, u64) -> u64 + Sync, readers: u64) {
    let server = Server::start();
    let proxy = Proxy::start(server.port());
    let cache = process(Redis::url(server.url_at(proxy.port())).operation_timeout(LIMIT));
    let other = process(patient(&server));
    let database = AtomicU64::new(1);
    let show = |reader: u64, shown: u64| {
        cache.cached_as("rows").extra(&reader).get_or_fill(|| Ok::<_, Error>(shown)).unwrap()
    };
    proxy.set(Mode::Refuse);
    proxy.cut();
    until("the breaker", || !is_live(&cache));
    let (read, back) = (Barrier::new(readers as usize + 1), Barrier::new(readers as usize + 1));
    thread::scope(|scope| {
        for reader in 0..readers {
            let (cache, get, show, database, read, back) =
                (&cache, &get, &show, &database, &read, &back);
            scope.spawn(move || {
                let page = cache.page();
                page.enter();
                let got = get(cache, database.load(Ordering::SeqCst));
                read.wait();
                back.wait();
                assert_eq!(show(reader, got), got);
            });
        }
        read.wait();
        database.store(2, Ordering::SeqCst);
        other.invalidate_model("rows").unwrap();
        proxy.set(Mode::Pass);
        until("the connection", || is_live(&cache));
        back.wait();
    });
    for reader in 0..readers {
        assert_eq!(show(reader, database.load(Ordering::SeqCst)), 2, "reader {reader}");
    }
}

fn got(cache: &Cacheops, lock: bool, value: impl FnOnce() -> u64) -> u64 {
    cache.cached_as("rows").lock(lock).get_or_fill(|| Ok::<_, Error>(value())).unwrap()
}

#[test]
fn reads_during_an_outage_are_not_stored_after_a_change() {
    shown_after_an_outage(|cache, value| got(cache, true, || value), 1);
    // A caller without a single flight learns nothing of the others.
    shown_after_an_outage(|cache, value| got(cache, false, || value), 1);
    let unkept = |cache: &Cacheops, value| {
        let skip = || {
            cache.do_not_cache();
            value
        };
        got(cache, true, skip);
        got(cache, true, skip)
    };
    shown_after_an_outage(unkept, 1);
    let by_future = |cache: &Cacheops, value| {
        let call = cache.cached_as("rows").lock(false);
        let got = call.get_or_fill_async(|| async move { Ok::<_, Error>(value) });
        futures_executor::block_on(got).unwrap()
    };
    shown_after_an_outage(by_future, 1);
}

/// Followers of a single flight take the value of its leader.
#[test]
fn reads_of_another_thread_during_an_outage_are_not_stored_after_a_change() {
    const READERS: u64 = 4;
    let came = AtomicU64::new(0);
    let get = |cache: &Cacheops, value| {
        came.fetch_add(1, Ordering::SeqCst);
        got(cache, true, || {
            until("the others", || came.load(Ordering::SeqCst) == READERS);
            // They wait, or will lead in turn: both are to be seen to.
            thread::sleep(Duration::from_millis(50));
            value
        })
    };
    shown_after_an_outage(get, READERS);
}
