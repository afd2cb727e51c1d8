//! Who asks is decided when a method is called: prefixes that are computed from
//! what the calling thread knows, while futures go on elsewhere and later.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use cacheops::{Cacheops, Error, FillError, PrefixQuery, QuerySet, WriteEvent, eq};
use cacheops_tests::Backend;
use futures_executor::block_on;
use serde_json::json;

thread_local!(static TENANT: RefCell<String> = const { RefCell::new(String::new()) });

fn be(name: &str) {
    TENANT.with(|tenant| name.clone_into(&mut tenant.borrow_mut()));
}

fn cache<B: Backend>() -> Cacheops {
    let of_thread = |_: &PrefixQuery<'_>| TENANT.with(|tenant| format!("{}:", tenant.borrow()));
    B::cache(Cacheops::builder().prefix_by(of_thread))
}

/// Ready when it is open.
struct Gate(Rc<Cell<bool>>);

impl Future for Gate {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        if self.0.get() { Poll::Ready(()) } else { Poll::Pending }
    }
}

/// Polls once, and has the answers come that are under way.
fn poll<F: Future>(cache: &Cacheops, future: Pin<&mut F>) -> Poll<F::Output> {
    let polled = future.poll(&mut Context::from_waker(Waker::noop()));
    cache.get_last_invalidation(["any"]);
    polled
}

/// Makes the queries of `orders` for whoever is said to have them.
fn orders<'a>(
    cache: &'a Cacheops,
    of: &'a str,
    begun: &'a Cell<bool>,
    gate: Option<Rc<Cell<bool>>>,
) -> impl Future<Output = Result<String, FillError<Error>>> + 'a {
    cache.cached_as("orders").get_or_fill_async(move || async move {
        begun.set(true);
        if let Some(gate) = gate {
            Gate(gate).await;
        }
        Ok(of.to_owned())
    })
}

/// A future that waits for another's fill, and goes on where another tenant is
/// at work.
fn a_follower_goes_on_elsewhere<B: Backend>() {
    let cache = cache::<B>();
    let (open, begun) = (Rc::new(Cell::new(false)), Cell::new(false));
    be("b");
    assert_eq!(block_on(orders(&cache, "b", &begun, None)).unwrap(), "b");
    be("a");
    begun.set(false);
    let mut leader = Box::pin(orders(&cache, "a", &begun, Some(open.clone())));
    while !begun.get() {
        assert!(poll(&cache, leader.as_mut()).is_pending());
    }
    let mut follower = Box::pin(orders(&cache, "a", &begun, None));
    for _ in 0..4 {
        assert!(poll(&cache, follower.as_mut()).is_pending());
    }
    open.set(true);
    be("c");
    assert_eq!(block_on(leader).unwrap(), "a");
    be("b");
    assert_eq!(block_on(follower).unwrap(), "a");
    // And what the leader has kept is a's.
    be("a");
    assert_eq!(block_on(orders(&cache, "nobody", &begun, None)).unwrap(), "a");
}

/// A future belongs to the tenant that made it, wherever it is polled first,
/// and how far it has come when the tenant changes.
fn a_call_is_of_the_caller<B: Backend>() {
    let cache = cache::<B>();
    for polls in 0..6 {
        let of = |tenant: &str, value: u64| {
            be(tenant);
            let set = QuerySet::table("rows").filter(eq("id", 1));
            let call = cache.cached_as(set).name("row").extra(&polls);
            let call = call.get_or_fill_async(move || async move { Ok::<_, Error>(value) });
            be("nobody");
            Box::pin(call)
        };
        assert_eq!(block_on(of("b", 1)).unwrap(), 1);
        let mut ours = of("a", 2);
        let done = (0..polls).find_map(|_| match poll(&cache, ours.as_mut()) {
            Poll::Ready(done) => Some(done),
            Poll::Pending => None,
        });
        assert_eq!(done.unwrap_or_else(|| block_on(ours)).unwrap(), 2, "after {polls} polls");
        // A change of a's is one of a's, and of nobody else.
        be("a");
        cache.invalidate_obj("rows", &json!({"id": 1})).unwrap();
        assert_eq!(block_on(of("a", 3)).unwrap(), 3);
        assert_eq!(block_on(of("b", 4)).unwrap(), 1);
        be("b");
        cache.invalidate_fragment("row").unwrap();
        assert_eq!(block_on(of("b", 5)).unwrap(), 5);
        assert_eq!(block_on(of("a", 6)).unwrap(), 3);
    }
}

/// Whose an announcement is, and whether it is to be silent, does not change
/// when it is polled elsewhere.
fn an_announcement_is_of_the_caller<B: Backend>() {
    let cache = cache::<B>();
    let runs = Cell::new(0);
    let get = || {
        let fill = || Ok::<_, Error>(runs.replace(runs.get() + 1));
        cache.cached_as("orders").get_or_fill(fill).unwrap()
    };
    let announce = || Box::pin(cache.invalidate_batch_async([WriteEvent::table("orders")]));
    be("b");
    assert_eq!(get(), 0);
    be("a");
    assert_eq!(get(), 1);
    let announced = announce();
    be("b");
    block_on(announced).unwrap();
    assert_eq!(get(), 0, "b's is untouched");
    be("a");
    assert_eq!(get(), 2, "announced by a");
    // Made in silence, it stays silent; and made before it, it is not silenced.
    let silent = cacheops::no_invalidation(announce);
    block_on(silent).unwrap();
    assert_eq!(get(), 2);
    let loud = announce();
    cacheops::no_invalidation(|| block_on(loud)).unwrap();
    assert_eq!(get(), 3);
    let loud = announce();
    block_on(cacheops::no_invalidation_async(loud)).unwrap();
    assert_eq!(get(), 4);
}

const TENANTS: [&str; 3] = ["a", "b", "c"];

/// What each tenant has, and the least that may be served to it.
#[derive(Default)]
struct Shop {
    version: AtomicU64,
    floor: AtomicU64,
}

/// Calls as `tenant`, and leaves the thread to nobody: whatever thread goes on
/// with it knows of no tenant, or of another.
fn as_tenant<R>(tenant: usize, call: impl FnOnce() -> R) -> R {
    be(TENANTS[tenant]);
    let called = call();
    be("nobody");
    called
}

/// Polls so many times, then lets go.
async fn give_up_after(polls: usize, future: impl Future) {
    let mut future = Box::pin(future);
    for _ in 0..polls {
        if futures_util::poll!(future.as_mut()).is_ready() {
            return;
        }
        tokio::task::yield_now().await;
    }
}

async fn read_orders(cache: Cacheops, shops: Arc<[Shop; 3]>, tenant: usize) {
    let floor = shops[tenant].floor.load(Ordering::SeqCst);
    let of_tenant = shops.clone();
    let call = as_tenant(tenant, || {
        cache.cached_as("orders").get_or_fill_async(move || async move {
            let value = (tenant, of_tenant[tenant].version.load(Ordering::SeqCst));
            tokio::task::yield_now().await;
            Ok::<_, Error>(value)
        })
    });
    let (whose, version) = call.await.unwrap();
    assert_eq!(whose, tenant, "what another tenant has");
    assert!(version >= floor, "{version} is served, and {floor} was announced");
}

async fn write_orders(cache: Cacheops, shops: Arc<[Shop; 3]>, tenant: usize, give_up: bool) {
    let version = shops[tenant].version.fetch_add(1, Ordering::SeqCst) + 1;
    let announce = || cache.invalidate_batch_async([WriteEvent::table("orders")]);
    let announced = as_tenant(tenant, announce);
    if give_up {
        return give_up_after(1, announced).await;
    }
    announced.await.unwrap();
    shops[tenant].floor.fetch_max(version, Ordering::SeqCst);
}

/// Tenants in tasks that are stolen, joined and cancelled.
fn tenants_in_stolen_tasks<B: Backend>() {
    let cache = cache::<B>();
    let shops: Arc<[Shop; 3]> = Arc::default();
    let threads = tokio::runtime::Builder::new_multi_thread().worker_threads(3).build().unwrap();
    let task = |n: usize| {
        let (cache, shops, tenant) = (cache.clone(), shops.clone(), n % TENANTS.len());
        async move {
            let read = |tenant| read_orders(cache.clone(), shops.clone(), tenant);
            for round in 0..40 / B::SLOWNESS.min(4) as usize {
                match (n + round) % 5 {
                    0 => write_orders(cache.clone(), shops.clone(), tenant, round % 2 == 0).await,
                    1 => {
                        tokio::join!(read(tenant), read((tenant + 1) % 3));
                    }
                    2 => give_up_after(round % 4, read(tenant)).await,
                    3 => tokio::spawn(read(tenant)).await.unwrap(),
                    _ => read(tenant).await,
                }
            }
        }
    };
    threads.block_on(async {
        let tasks: Vec<_> = (0..24).map(|n| tokio::spawn(task(n))).collect();
        for task in tasks {
            task.await.unwrap();
        }
    });
}

/// A follower that is moved to a thread of another tenant while it waits.
fn a_follower_moves_to_another_thread<B: Backend>() {
    let cache = cache::<B>();
    let (go_on, gate) = std::sync::mpsc::channel::<()>();
    let gate = std::sync::Mutex::new(Some(gate));
    let get = |value: &'static str| {
        let gate = &gate;
        // One place in the source for all.
        cache.cached_as("orders").get_or_fill_async(move || async move {
            let waits = if value == "slow" { gate.lock().unwrap().take() } else { None };
            waits.into_iter().for_each(|gate| gate.recv().unwrap());
            Ok::<_, Error>(value.to_owned())
        })
    };
    be("b");
    assert_eq!(block_on(get("b")).unwrap(), "b");
    be("a");
    let (leader, mut follower) = (get("slow"), Box::pin(get("fast")));
    thread::scope(|scope| {
        let leading = scope.spawn(|| block_on(leader).unwrap());
        while gate.lock().unwrap().is_some() {
            thread::yield_now();
        }
        for _ in 0..4 {
            assert!(poll(&cache, follower.as_mut()).is_pending());
        }
        let following = scope.spawn(|| {
            be("b");
            block_on(follower).unwrap()
        });
        go_on.send(()).unwrap();
        assert_eq!(
            (leading.join().unwrap(), following.join().unwrap()),
            ("slow".into(), "slow".into())
        );
    });
}

/// Which of a change's keys are meant cannot be computed: it may be any of them. The
/// other changes of a batch are carried out all the same, and the error comes last.
fn a_prefix_that_panics<B: Backend>() {
    let cache = B::cache(Cacheops::builder().prefix_by(|query| {
        if query.tables.contains(&"bad") {
            std::panic::resume_unwind(Box::new("no tenant"));
        }
        String::new()
    }));
    let queries = Cell::new(0);
    let get = |table: &str| {
        let fill = || Ok::<_, Error>(queries.replace(queries.get() + 1));
        cache.cached_as(QuerySet::table(table)).get_or_fill(fill).unwrap()
    };
    let batch = || ["a", "bad", "c"].map(WriteEvent::table);
    let written = || {
        let transaction = cache.transaction();
        batch().into_iter().for_each(|event| transaction.write(event));
        transaction
    };
    let announce: [(&str, &dyn Fn() -> Option<Error>); 7] = [
        ("a batch", &|| cache.invalidate_batch(batch()).err()),
        ("asynchronously", &|| block_on(cache.invalidate_batch_async(batch())).err()),
        ("a commit", &|| cache.begin_commit(batch()).committed().err()),
        ("a transaction", &|| written().begin_commit().committed().err()),
        ("a row", &|| cache.invalidate_obj("bad", &json!({"id": 1})).err()),
        ("rows", &|| cache.invalidate_objs("bad", [json!({"id": 1})]).err()),
        ("a table", &|| cache.invalidate_model("bad").err()),
    ];
    for (name, announce) in announce {
        let before = (get("a"), get("c"));
        assert_eq!((get("a"), get("c")), before, "{name}");
        let error = announce().expect(name).to_string();
        assert!(error.contains("prefix") && error.contains("panicked"), "{name}: {error}");
        assert!(get("a") > before.1 && get("c") > before.1, "{name}");
    }
    // Over Redis another thread carries it out.
    let (before, since) = (get("c"), Instant::now());
    drop(written());
    while get("c") == before {
        assert!(since.elapsed() < Duration::from_secs(60), "a transaction is dropped");
        thread::yield_now();
    }
}

on_stores! {
    a_prefix_that_panics
    a_follower_goes_on_elsewhere a_call_is_of_the_caller an_announcement_is_of_the_caller
    tenants_in_stolen_tasks a_follower_moves_to_another_thread
}
