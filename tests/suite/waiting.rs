//! Waiting for another's fill has a limit, and is never for nothing.

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, mpsc};
use std::task::{Context, Waker};
use std::thread;
use std::time::{Duration, Instant};

use cacheops::{Cacheops, Error, FillError, QuerySet, WriteEvent, eq};
use cacheops_tests::Backend;
use futures_executor::block_on;
use serde_json::json;

/// As long as anything here may take on a busy machine.
const LONG: Duration = Duration::from_secs(60);

/// Runs `work` in a thread of its own; fails where it does not end.
fn ends<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let (tell, told) = mpsc::channel();
    thread::spawn(move || tell.send(work()));
    told.recv_timeout(LONG).expect("it ends, and does not panic")
}

/// How long a caller waits in the tests that want to see the end of it.
const LIMIT: Duration = Duration::from_millis(50);

fn with_limit<B: Backend>() -> Cacheops {
    B::cache(Cacheops::builder().wait_timeout(LIMIT))
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().build().unwrap()
}

type Value = Pin<Box<dyn Future<Output = u64> + Send>>;

/// A fragment whose fill needs another, made by a task of its own, which needs
/// the first.
fn by_tasks(cache: Cacheops, id: u64, depth: u64) -> Value {
    Box::pin(async move {
        let inner = cache.clone();
        let fill = move || async move {
            if depth > 0 {
                return Ok(tokio::spawn(by_tasks(inner, 1 - id, depth - 1)).await.unwrap());
            }
            Ok::<_, Error>(7)
        };
        let set = QuerySet::table("t").filter(eq("id", id));
        cache.cached_as(set).get_or_fill_async(fill).await.unwrap()
    })
}

fn inside_each_other_by_tasks<B: Backend>() {
    let cache = with_limit::<B>();
    assert_eq!(ends(move || runtime().block_on(by_tasks(cache, 0, 2))), 7);
}

/// A pool of one connection.
#[derive(Default)]
struct Pool(AtomicBool);

impl Pool {
    async fn take(&self) {
        while self.0.swap(true, Ordering::SeqCst) {
            tokio::task::yield_now().await;
        }
    }

    fn give_back(&self) {
        self.0.store(false, Ordering::SeqCst);
    }
}

/// One handler takes its connection and then asks the cache, where another
/// fills that waits for a connection.
fn a_pool_of_one_connection<B: Backend>() {
    async fn handler(cache: Cacheops, pool: Arc<Pool>, holds: bool) -> u64 {
        if holds {
            pool.take().await;
        }
        let query = || async {
            if !holds {
                // The other one has it by then.
                while !pool.0.load(Ordering::SeqCst) {
                    tokio::task::yield_now().await;
                }
                pool.take().await;
                pool.give_back();
            }
            Ok::<_, Error>(1)
        };
        let value = cache.cached_as("t").name("n").get_or_fill_async(query).await.unwrap();
        if holds {
            pool.give_back();
        }
        value
    }
    let cache = with_limit::<B>();
    let both = async move {
        let pool = Arc::new(Pool::default());
        let one = tokio::spawn(handler(cache.clone(), pool.clone(), false));
        tokio::task::yield_now().await;
        let two = tokio::spawn(handler(cache, pool, true));
        one.await.unwrap() + two.await.unwrap()
    };
    assert_eq!(ends(|| runtime().block_on(both)), 2);
}

/// Ten thousand futures that wait for one which is not polled any more, without
/// any runtime: all of them end, and not much later than they should.
#[test]
fn ten_thousand_wait_in_vain() {
    const MANY: usize = 10_000;
    let cache = Cacheops::builder().wait_timeout(Duration::from_millis(200)).build().unwrap();
    let get = |hangs: bool| {
        cache.cached_as("t").get_or_fill_async(move || async move {
            if hangs {
                std::future::pending::<()>().await;
            }
            Ok::<_, Error>(1)
        })
    };
    let mut leader = Box::pin(get(true));
    assert!(leader.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    let began = Instant::now();
    let all = futures_util::future::join_all((0..MANY).map(|_| get(false)));
    let values = block_on(all);
    println!("{MANY} futures ended after {:?}", began.elapsed());
    assert!(began.elapsed() < LONG / 2, "{:?}", began.elapsed());
    assert!(values.into_iter().all(|value| value.unwrap() == 1));
}

/// A reader that comes after an invalidation begins a fill of its own, and does
/// not wait for the obsolete one; those that come then share it.
fn nobody_waits_for_an_obsolete_fill<B: Backend>() {
    let cache = B::cache(Cacheops::builder().wait_timeout(LONG));
    let began = Instant::now();
    for change in 0..3 {
        let (begun, go_on) = (AtomicUsize::new(0), Barrier::new(2));
        let get = |value: usize, blocks: bool| {
            let set = QuerySet::table("rows").filter(eq("id", 1));
            let call = cache.cached_as(set).extra(&change);
            let fill = || {
                begun.fetch_add(1, Ordering::SeqCst);
                if blocks {
                    go_on.wait();
                }
                Ok::<_, Error>(value)
            };
            call.get_or_fill(fill).unwrap()
        };
        thread::scope(|scope| {
            let obsolete = scope.spawn(|| get(1, true));
            wait_until(|| begun.load(Ordering::SeqCst) == 1);
            match change {
                0 => cache.invalidate_obj("rows", &json!({"id": 1})).unwrap(),
                1 => cache.invalidate_model("rows").unwrap(),
                _ => cache.invalidate_all().unwrap(),
            }
            // The first one is still at it.
            assert_eq!(get(2, false), 2);
            assert_eq!(get(3, false), 2);
            go_on.wait();
            assert_eq!(obsolete.join().unwrap(), 1);
        });
        assert_eq!(get(4, false), 2);
    }
    assert!(began.elapsed() < LONG / 2, "somebody waited");
}

/// The same for what the fill has only looked up inside.
fn nobody_waits_for_what_became_obsolete_inside<B: Backend>() {
    let cache = B::cache(Cacheops::builder().wait_timeout(LONG));
    let began = Instant::now();
    let (begun, go_on) = (AtomicUsize::new(0), Barrier::new(2));
    let get = |value: usize, blocks: bool| {
        let fill = || {
            let inner = cache.cached_as("rows").get_or_fill(|| Ok::<_, Error>(value));
            begun.fetch_add(1, Ordering::SeqCst);
            if blocks {
                go_on.wait();
            }
            inner
        };
        cache.cached().get_or_fill(fill).unwrap()
    };
    thread::scope(|scope| {
        let obsolete = scope.spawn(|| get(1, true));
        wait_until(|| begun.load(Ordering::SeqCst) == 1);
        cache.invalidate_batch([WriteEvent::table("rows")]).unwrap();
        assert_eq!(get(2, false), 2);
        go_on.wait();
        assert_eq!(obsolete.join().unwrap(), 1);
    });
    assert_eq!(get(3, false), 2);
    assert!(began.elapsed() < LONG / 2, "somebody waited");
}

/// A fragment that can't be kept: whoever comes once that is known does not
/// queue behind another that makes it.
fn nobody_queues_for_what_is_not_kept<B: Backend>() {
    let cache = B::cache(Cacheops::builder().wait_timeout(LONG));
    let clock = Instant::now();
    let (begun, go_on) = (AtomicUsize::new(0), Barrier::new(2));
    let get = |blocks: bool| {
        let fill = || {
            begun.fetch_add(1, Ordering::SeqCst);
            if blocks {
                go_on.wait();
            }
            cache.do_not_cache();
            Ok::<_, Error>(1)
        };
        cache.cached_as("rows").get_or_fill(fill).unwrap()
    };
    get(false);
    thread::scope(|scope| {
        let slow = scope.spawn(|| get(true));
        wait_until(|| begun.load(Ordering::SeqCst) == 2);
        get(false);
        go_on.wait();
        slow.join().unwrap();
    });
    assert!(clock.elapsed() < LONG / 2, "somebody waited");
}

/// One that is too large for the memory: those that waited for it get it all
/// the same, and it is made once.
#[test]
fn those_who_waited_get_what_is_too_large() {
    let cache = Cacheops::builder().memory_limit(10_000).build().unwrap();
    let (fills, waiting) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let get = || {
        waiting.fetch_add(1, Ordering::SeqCst);
        let fill = || {
            fills.fetch_add(1, Ordering::SeqCst);
            wait_until(|| waiting.load(Ordering::SeqCst) == 8);
            // They are on their way to the wait: what misses it fills alone.
            thread::sleep(Duration::from_millis(100));
            Ok::<_, Error>("x".repeat(100_000))
        };
        cache.cached_as("rows").get_or_fill(fill).unwrap()
    };
    thread::scope(|scope| {
        let all: Vec<_> = (0..8).map(|_| scope.spawn(get)).collect();
        assert!(all.into_iter().all(|thread| thread.join().unwrap().len() == 100_000));
    });
    assert_eq!(fills.load(Ordering::SeqCst), 1);
}

/// A fill that is given up by its future lets a follower go on at once, and
/// nothing is left of those who waited.
fn a_follower_that_is_dropped<B: Backend>() {
    let cache = B::cache(Cacheops::builder().wait_timeout(LONG));
    let began = Instant::now();
    let gate = Cell::new(false);
    let get = |hangs: bool| {
        let gate = &gate;
        cache.cached_as("t").get_or_fill_async(move || async move {
            if hangs {
                gate.set(true);
                std::future::pending::<()>().await;
            }
            Ok::<_, Error>(1)
        })
    };
    let poll = |future: Pin<&mut dyn Future<Output = Result<i32, FillError<Error>>>>| {
        let polled = future.poll(&mut Context::from_waker(Waker::noop()));
        cache.get_last_invalidation(["t"]);
        assert!(polled.is_pending());
    };
    let mut leader = Box::pin(get(true));
    while !gate.get() {
        poll(leader.as_mut());
    }
    for _ in 0..100 {
        let mut follower = Box::pin(get(false));
        poll(follower.as_mut());
        poll(follower.as_mut());
    }
    let mut last = Box::pin(get(false));
    poll(last.as_mut());
    drop(leader);
    assert_eq!(block_on(last).unwrap(), 1);
    assert!(began.elapsed() < LONG / 2, "somebody waited");
}

fn wait_until(holds: impl Fn() -> bool) {
    let deadline = Instant::now() + LONG;
    while !holds() {
        assert!(Instant::now() < deadline, "it did not come");
        thread::yield_now();
    }
}

on_stores! {
    inside_each_other_by_tasks a_pool_of_one_connection nobody_waits_for_an_obsolete_fill
    nobody_waits_for_what_became_obsolete_inside nobody_queues_for_what_is_not_kept
    a_follower_that_is_dropped
}
