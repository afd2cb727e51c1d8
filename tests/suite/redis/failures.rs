//! Failures are counted, observed and logged; and callers share fills while Redis is
//! unreachable.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex, MutexGuard, OnceLock};
use std::thread;
use std::time::Duration;

use cacheops::{Cacheops, Error, ErrorKind, LinkState, Redis, Target, WriteEvent};
use cacheops_tests::servers::{Mode, Proxy, Server};
use futures_util::FutureExt as _;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

use super::{LONG, changed, is_live, patient, process, read, row, strict, until};

/// The warnings of all caches of this binary, as text.
struct Warnings;

static WARNED: Mutex<Vec<String>> = Mutex::new(Vec::new());

fn warned() -> MutexGuard<'static, Vec<String>> {
    WARNED.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

impl Warnings {
    /// Collects from now on; those that name `prefix`.
    fn of(prefix: &str) -> Vec<String> {
        static ONCE: OnceLock<()> = OnceLock::new();
        ONCE.get_or_init(|| tracing::subscriber::set_global_default(Warnings).unwrap());
        warned().iter().filter(|text| text.contains(prefix)).cloned().collect()
    }
}

impl Subscriber for Warnings {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "cacheops" && *metadata.level() <= Level::WARN
    }

    fn event(&self, event: &Event<'_>) {
        let mut text = Text(event.metadata().level().to_string());
        event.record(&mut text);
        warned().push(text.0);
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.0.push_str(&format!(" {}={value:?}", field.name()));
    }
}

/// A failed invalidation is counted, reported to observers and logged. Each change of
/// the connection's state is logged, with what the cache does about it.
#[test]
fn failures_are_counted_observed_and_logged() {
    let server = Server::start();
    let heard: Arc<Mutex<Vec<String>>> = Arc::default();
    let (done, failed) = (heard.clone(), heard.clone());
    let prefix = "failures leave a trace:";
    assert!(Warnings::of(prefix).is_empty());
    let cache = Cacheops::builder()
        .prefix(prefix)
        .redis(patient(&server))
        .on_cache_invalidated(move |event| done.lock().unwrap().push(event.target.to_string()))
        .on_invalidation_failed(|_| panic!("an observer panics"))
        .on_invalidation_failed(move |event| {
            assert_eq!(event.error.kind(), ErrorKind::Unavailable);
            let Target::Table(table) = event.target else { panic!("{event:?}") };
            failed.lock().unwrap().push(format!("{table} failed, {} rows", event.rows.len()));
        })
        .build()
        .unwrap();
    cache.invalidate_model("before").unwrap();
    server.kill();
    until("the end of the connection", || !is_live(&cache));
    cache.invalidate_obj("failures_leave_a_trace", &changed(1)).unwrap_err();
    let batch = [WriteEvent::table("failures_leave_a_trace"), WriteEvent::table("b")];
    cache.invalidate_batch(batch).unwrap_err();
    assert_eq!(
        *heard.lock().unwrap(),
        [
            "table before",
            "failures_leave_a_trace failed, 1 rows",
            "failures_leave_a_trace failed, 0 rows",
            "b failed, 0 rows"
        ]
    );
    let stats = cache.stats();
    assert_eq!((stats.invalidations, stats.failed_invalidations), (1, 3), "{stats:?}");
    assert_eq!(stats.observer_panics, 3);
    until("the breaker", || matches!(cache.shared_status().unwrap().state, LinkState::Down(_)));
    server.restart();
    until("the connection", || is_live(&cache));
    until("its trace", || Warnings::of(prefix).iter().any(|text| text.contains("again")));
    let told = Warnings::of(prefix);
    assert!(told[0].contains("the connection to Redis is lost: connecting again"), "{told:?}");
    assert!(told[1].contains("Redis cannot be reached and counts as down"), "{told:?}");
    assert!(told.last().unwrap().contains("connected to Redis again"), "{told:?}");
    // Attempts that fail in the same way are logged once.
    assert!(told.len() < 8, "{told:?}");
    let of_failures = Warnings::of("failures_leave_a_trace");
    let of_failures: Vec<_> =
        of_failures.iter().filter(|text| text.contains("an invalidation has failed")).collect();
    assert_eq!(of_failures.len(), 2, "{of_failures:?}");
    assert!(of_failures[0].starts_with("WARN"), "{of_failures:?}");
}

/// A queued invalidation counts as done, and observers are told that it is queued.
#[test]
fn queued_invalidations_are_reported_as_queued() {
    let server = Server::start();
    let heard: Arc<Mutex<Vec<(String, bool)>>> = Arc::default();
    let hear = heard.clone();
    let cache = Cacheops::builder()
        .redis(patient(&server).queue_invalidations(50))
        .on_cache_invalidated(move |event| {
            hear.lock().unwrap().push((event.target.to_string(), event.queued));
        })
        .on_invalidation_failed(|event| panic!("{event:?}"))
        .build()
        .unwrap();
    cache.invalidate_model("a").unwrap();
    server.kill();
    until("the end of the connection", || !is_live(&cache));
    cache.invalidate_fragment("b").unwrap();
    let told = [("table a".to_owned(), false), ("fragment b".to_owned(), true)];
    assert_eq!(*heard.lock().unwrap(), told);
    let stats = cache.stats();
    assert_eq!((stats.invalidations, stats.failed_invalidations), (2, 0), "{stats:?}");
    assert_eq!(stats.observer_panics, 0);
}

/// The supervisor finishes invalidations whose future was dropped, before it ends. It
/// tells the observers, who may use the cache.
#[test]
fn the_supervisor_finishes_a_dropped_invalidation() {
    let server = Server::start();
    let other = process(strict(&server));
    let database = Cell::new(1);
    let told = Arc::new(AtomicUsize::new(0));
    for round in 0..20 {
        read(&other, 1, &database);
        let (tell, slot) = (told.clone(), Arc::new(OnceLock::<Cacheops>::new()));
        let asked = slot.clone();
        let observer = move |_: &cacheops::CacheInvalidated<'_>| {
            if let Some(cache) = asked.get() {
                // It asks the very cache, whose thread must not wait for it.
                cache.get_last_invalidation(["rows"]);
            }
            tell.fetch_add(1, Ordering::SeqCst);
        };
        let builder = Cacheops::builder().redis(patient(&server)).on_cache_invalidated(observer);
        let cache = builder.build().unwrap();
        let asks = round % 2 == 0;
        if asks {
            slot.set(cache.clone()).unwrap();
        }
        database.set(database.get() + 1);
        let events = (0..3).map(|n| WriteEvent::insert("rows", &changed(n)));
        let mut announced = Box::pin(cache.invalidate_batch_async(events.collect::<Vec<_>>()));
        if round % 4 < 2 {
            let _ = announced.as_mut().now_or_never();
        }
        drop(announced);
        if asks {
            until("what is told", || told.load(Ordering::SeqCst) == 1);
        } else {
            // Its thread ends when it has done all.
            drop(cache);
            assert_eq!(read(&other, 1, &database).0, database.get(), "in round {round}");
            until("what is told", || told.load(Ordering::SeqCst) == 1);
        }
        until("the rest", || read(&other, 1, &database).0 == database.get());
        told.store(0, Ordering::SeqCst);
    }
}

/// Dropped futures start no threads, however many there are.
#[test]
fn many_dropped_invalidations_need_no_threads() {
    let server = Server::start();
    let proxy = Proxy::start(server.port());
    let cache = process(Redis::url(server.url_at(proxy.port())).operation_timeout(LONG));
    let threads = || std::fs::read_dir("/proc/self/task").unwrap().filter_map(Result::ok).count();
    let names = || {
        let tasks = std::fs::read_dir("/proc/self/task").unwrap().filter_map(Result::ok);
        tasks.filter_map(|task| std::fs::read_to_string(task.path().join("comm")).ok())
    };
    proxy.set(Mode::Delay(Duration::from_millis(5)));
    let before = threads();
    for n in 0..500 {
        let mut announced =
            Box::pin(cache.invalidate_batch_async([WriteEvent::insert("rows", &changed(n))]));
        let _ = announced.as_mut().now_or_never();
    }
    // Other tests start threads too; these would be hundreds.
    assert!(threads() < before + 200, "{} threads", threads());
    assert!(names().all(|name| !name.starts_with("cacheops-observers")));
    proxy.set(Mode::Pass);
    until("all of it", || cache.stats().invalidations == 500);
}

/// Callers that request one fragment while Redis is unreachable: those that come
/// before a fill begins share it.
fn away(redis: Redis, server: &Server) {
    const CALLERS: usize = 50;
    let cache = process(redis.operation_timeout(Duration::from_millis(400)));
    server.kill();
    until("the breaker", || matches!(cache.shared_status().unwrap().state, LinkState::Down(_)));
    let (queries, came) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let (version, all) = (AtomicU64::new(1), Barrier::new(CALLERS));
    let get = || {
        all.wait();
        let least = version.fetch_add(1, Ordering::SeqCst);
        came.fetch_add(1, Ordering::SeqCst);
        let query = || {
            queries.fetch_add(1, Ordering::SeqCst);
            let value = version.load(Ordering::SeqCst);
            until("the others", || came.load(Ordering::SeqCst) == CALLERS);
            // They are on their way to wait.
            thread::sleep(Duration::from_millis(100));
            Ok::<_, Error>(value)
        };
        let value = row(&cache, 1).get_or_fill(query).unwrap();
        assert!(value >= least, "read before this caller came: {value}, and then it was {least}");
    };
    thread::scope(|scope| {
        let all: Vec<_> = (0..CALLERS).map(|_| scope.spawn(get)).collect();
        all.into_iter().for_each(|caller| caller.join().unwrap());
    });
    // The first fill, which most callers came after, and one for all others.
    let made = queries.load(Ordering::SeqCst);
    assert!(made <= 3, "{made} queries of {CALLERS} callers");
    let stats = cache.stats();
    assert_eq!((stats.stored, stats.hits), (0, 0), "nothing is kept, and nothing found");
    assert_eq!(stats.breaker_open, CALLERS as u64, "{stats:?}");
    // A value is not shared with callers that come later.
    let before = queries.load(Ordering::SeqCst);
    let database = Cell::new(7);
    assert_eq!(read(&cache, 1, &database), (7, true));
    database.set(8);
    assert_eq!(read(&cache, 1, &database), (8, true));
    assert_eq!(queries.load(Ordering::SeqCst), before);
    server.restart();
}

#[test]
fn single_flight_goes_on_without_redis() {
    let server = Server::start();
    away(patient(&server), &server);
    away(strict(&server).queue_invalidations(10), &server);
}

/// Each caller of an uncacheable fragment fills its own, and so does a caller whose
/// fill shows what was read around it.
#[test]
fn uncacheable_values_are_not_shared_without_redis() {
    let server = Server::start();
    let cache = process(patient(&server));
    server.kill();
    until("the breaker", || matches!(cache.shared_status().unwrap().state, LinkState::Down(_)));
    let queries = AtomicUsize::new(0);
    let get = |own: usize| {
        let call = row(&cache, 1);
        let value = call.get_or_fill(|| {
            queries.fetch_add(1, Ordering::SeqCst);
            cache.do_not_cache();
            thread::sleep(Duration::from_millis(20));
            Ok::<_, Error>(own)
        });
        assert_eq!(value.unwrap(), own);
    };
    thread::scope(|scope| {
        (0..10).for_each(|n| drop(scope.spawn(move || get(n))));
    });
    // A list that was read before the fragments of its rows begin.
    let nested = |own: usize| {
        let list = cache.cached_as("rows").extra(&own).get_or_fill(|| {
            let shown = own;
            thread::sleep(Duration::from_millis(5));
            // One place and one key for all: what they show is not.
            cache.cached_as("rows").name("one").get_or_fill(|| {
                thread::sleep(Duration::from_millis(20));
                Ok::<_, Error>(shown)
            })
        });
        assert_eq!(list.unwrap(), own);
    };
    thread::scope(|scope| {
        (0..10).for_each(|n| drop(scope.spawn(move || nested(n))));
    });
}
