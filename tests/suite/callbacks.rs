//! What runs in the middle of the cache's own work: code of the application's
//! that computes prefixes, observes, serializes rows, or wakes tasks.

use std::cell::Cell;
use std::future::{Future, pending, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Barrier, Mutex, OnceLock};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use cacheops::{Builder, Cacheops, Error, FillError, QuerySet, WriteEvent};
use serde::Serialize;
use serde_json::json;

/// What a thread of its own comes to; fails if it hangs.
fn in_time<R: Send + 'static>(work: impl FnOnce() -> R + Send + 'static) -> R {
    let (tell, told) = channel();
    std::thread::spawn(move || tell.send(work()));
    told.recv_timeout(Duration::from_secs(60)).expect("it hangs")
}

/// A cache whose callers wait for each other as long as a test takes.
fn patient() -> Builder {
    Cacheops::builder().wait_timeout(Duration::from_secs(3600))
}

fn fill(cache: &Cacheops, name: &str) -> i32 {
    cache.cached().name(name).get_or_fill(|| Ok::<_, Error>(1)).unwrap()
}

/// Tenants are looked up through the cache, and may not be there.
#[test]
fn a_prefix_may_ask_the_cache() {
    static CACHE: OnceLock<Cacheops> = OnceLock::new();
    let by_tenant = Cacheops::builder().prefix_by(|query| {
        if query.tables.is_empty() || query.tables == ["tenants"] {
            return String::new();
        }
        let unknown = || Err::<String, Error>(QuerySet::table("").check().unwrap_err());
        let tenant = CACHE.get().unwrap().cached_as("tenants").get_or_fill(unknown);
        tenant.unwrap_or_else(|_| "unknown:".to_owned())
    });
    let cache = CACHE.get_or_init(|| by_tenant.build().unwrap());
    in_time(|| {
        let get = || cache.cached_as("articles").get_or_fill(|| Ok::<_, Error>(1)).unwrap();
        get();
        cache.invalidate_obj("articles", &json!({"id": 1})).unwrap();
        cache.invalidate_model("articles").unwrap();
        cache.invalidate_fragment("any").unwrap();
        get();
    });
    assert_eq!(cache.stats().hits, 0);
}

/// An observer's own caller may lead what the observer asks for.
#[test]
fn an_observer_may_ask_for_the_same() {
    static CACHE: OnceLock<Cacheops> = OnceLock::new();
    thread_local!(static IS_INSIDE: Cell<bool> = const { Cell::new(false) });
    let asks = patient().on_cache_read(|_| {
        if !IS_INSIDE.replace(true) {
            fill(CACHE.get().unwrap(), "settings");
            IS_INSIDE.set(false);
        }
    });
    CACHE.get_or_init(|| asks.build().unwrap());
    assert_eq!(in_time(|| fill(CACHE.get().unwrap(), "settings")), 1);
}

/// Two of them ask for what the other's caller leads.
#[test]
fn observers_do_not_wait_for_each_other() {
    static CACHE: OnceLock<Cacheops> = OnceLock::new();
    static BOTH: OnceLock<Barrier> = OnceLock::new();
    thread_local!(static IS_INSIDE: Cell<bool> = const { Cell::new(false) });
    BOTH.get_or_init(|| Barrier::new(2));
    let asks = patient().on_cache_read(|read| {
        if !IS_INSIDE.replace(true) {
            BOTH.get().unwrap().wait();
            fill(CACHE.get().unwrap(), if read.name == "a" { "b" } else { "a" });
            IS_INSIDE.set(false);
        }
    });
    CACHE.get_or_init(|| asks.build().unwrap());
    in_time(|| {
        std::thread::scope(|scope| {
            for name in ["a", "b"] {
                scope.spawn(move || fill(CACHE.get().unwrap(), name));
            }
        });
    });
}

struct Count {
    woken: AtomicUsize,
    panics: bool,
}

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        assert!(!self.panics, "a runtime panics");
        self.woken.fetch_add(1, Ordering::SeqCst);
    }
}

type Value = Pin<Box<dyn Future<Output = Result<i32, FillError<Error>>> + Send>>;

#[test]
fn a_waker_that_panics_keeps_nobody_asleep() {
    let cache = patient().build().unwrap();
    let may_end = Arc::new(AtomicBool::new(false));
    let get = || {
        let may_end = may_end.clone();
        let ended = move |_: &mut Context<'_>| match may_end.load(Ordering::SeqCst) {
            true => Poll::Ready(Ok::<_, Error>(1)),
            false => Poll::Pending,
        };
        cache.cached().get_or_fill_async(|| poll_fn(ended))
    };
    let mut all: Vec<_> = (0..4).map(|_| Box::pin(get())).collect();
    let counts: Vec<_> =
        (0..4).map(|n| Arc::new(Count { woken: AtomicUsize::new(0), panics: n == 1 })).collect();
    for (future, count) in all.iter_mut().zip(&counts) {
        let waker = Waker::from(count.clone());
        assert!(future.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    }
    may_end.store(true, Ordering::SeqCst);
    let mut noop = Context::from_waker(Waker::noop());
    let led = catch_unwind(AssertUnwindSafe(|| all[0].as_mut().poll(&mut noop).is_ready()));
    let woken = [2, 3].map(|n| counts[n].woken.load(Ordering::SeqCst));
    assert_eq!((led.ok(), woken), (Some(true), [1, 1]));
}

/// The last that holds a task which waits for the same fill.
struct Holds(#[expect(dead_code, reason = "it is dropped")] Mutex<Value>);

impl Wake for Holds {
    fn wake(self: Arc<Self>) {}
}

#[test]
fn a_waker_that_is_replaced_may_end_a_task() {
    static CACHE: OnceLock<Cacheops> = OnceLock::new();
    let cache = CACHE.get_or_init(|| patient().build().unwrap());
    in_time(|| {
        let get = || -> Value { Box::pin(cache.cached().get_or_fill_async(pending)) };
        let mut noop = Context::from_waker(Waker::noop());
        let (mut leads, mut ends, mut moves) = (get(), get(), get());
        assert!(leads.as_mut().poll(&mut noop).is_pending());
        assert!(ends.as_mut().poll(&mut noop).is_pending());
        let waker = Waker::from(Arc::new(Holds(Mutex::new(ends))));
        assert!(moves.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        drop(waker);
        // It goes on in another task: the first has nobody left.
        assert!(moves.as_mut().poll(&mut noop).is_pending());
    });
}

/// What it was announced for has changed, whatever the row does.
#[test]
fn a_row_that_panics_takes_its_table() {
    struct Bad;
    impl Serialize for Bad {
        fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            panic!("a bad row")
        }
    }
    let cache = Cacheops::in_memory();
    let queries = Cell::new(0);
    let get = || {
        cache.cached_as("articles").get_or_fill(|| {
            queries.set(queries.get() + 1);
            Ok::<_, Error>(queries.get())
        })
    };
    assert_eq!(get().unwrap(), 1);
    let error = cache.invalidate_obj("articles", &Bad).unwrap_err();
    assert!(error.to_string().contains("panicked"), "{error}");
    assert_eq!(get().unwrap(), 2);
    assert!(cache.invalidate_batch([WriteEvent::insert("articles", &Bad)]).is_err());
    assert_eq!(get().unwrap(), 3);
}

/// A batch tells of a row that is none, whatever else changes in its table.
#[test]
fn a_batch_keeps_its_error() {
    let cache = Cacheops::in_memory();
    let row = || WriteEvent::insert("articles", &3);
    let table = || WriteEvent::table("articles");
    for batch in
        [vec![row()], vec![row(), table()], vec![table(), row()], vec![table(), table(), row()]]
    {
        assert!(cache.invalidate_batch(batch).is_err());
    }
    let asynchronously = cache.invalidate_batch_async([table(), row()]);
    assert!(futures_executor::block_on(asynchronously).is_err());
    assert!(cache.invalidate_batch([table(), table()]).is_ok());
}

/// Of those who have waited for a fill that fails, one goes on in its place.
#[test]
fn after_an_error_one_goes_on() {
    const ALL: usize = 8;
    let cache = patient().build().unwrap();
    let (runs, came) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let get = |_: usize| {
        came.fetch_add(1, Ordering::SeqCst);
        cache.cached().get_or_fill(|| {
            while came.load(Ordering::SeqCst) < ALL {
                std::thread::yield_now();
            }
            match runs.fetch_add(1, Ordering::SeqCst) {
                0 => cache.invalidate_fragment("").map(|()| 0),
                run => Ok(run),
            }
        })
    };
    let failed = std::thread::scope(|scope| {
        let all: Vec<_> = (0..ALL).map(|n| scope.spawn(move || get(n))).collect();
        all.into_iter().filter_map(|one| one.join().unwrap().err()).count()
    });
    assert_eq!((failed, runs.into_inner()), (1, 2));
}
