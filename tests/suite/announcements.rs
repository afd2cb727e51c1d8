//! What is announced is carried out to its end, whatever happens to whoever
//! announces and to those who are told.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use cacheops::{Cacheops, Error, Target, WriteEvent};
use cacheops_tests::Backend;
use futures_executor::block_on;

/// Counts its fills.
struct Counted<'a> {
    cache: &'a Cacheops,
    runs: Cell<u64>,
}

impl<'a> Counted<'a> {
    fn new(cache: &'a Cacheops) -> Self {
        Counted { cache, runs: Cell::new(0) }
    }

    fn fill(&self) {
        for table in TABLES {
            self.get(table);
        }
    }

    fn get(&self, table: &str) -> u64 {
        self.cache
            .cached_as(table)
            .get_or_fill(|| {
                self.runs.set(self.runs.get() + 1);
                Ok::<_, Error>(self.runs.get())
            })
            .unwrap()
    }
}

const TABLES: [&str; 3] = ["a", "b", "c"];

fn events() -> [WriteEvent; 3] {
    TABLES.map(WriteEvent::table)
}

fn until(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < deadline, "{what} did not come");
        thread::yield_now();
    }
}

/// An observer that panics: the rest of a batch is carried out, the caller
/// hears nothing of it, and the other observers hear of all.
fn observers_that_panic<B: Backend>() {
    let heard: Arc<Mutex<Vec<String>>> = Arc::default();
    let hear = heard.clone();
    let cache = B::cache(
        Cacheops::builder()
            .on_cache_invalidated(|event| assert!(event.target != Target::Table("a"), "told of a"))
            .on_cache_invalidated(move |event| hear.lock().unwrap().push(event.target.to_string()))
            .on_cache_read(|_| panic!("told of a read")),
    );
    let counted = Counted::new(&cache);
    counted.fill();
    cache.invalidate_batch(events()).unwrap();
    assert_eq!(*heard.lock().unwrap(), ["table a", "table b", "table c"]);
    assert_eq!(TABLES.map(|table| counted.get(table)), [4, 5, 6]);
    block_on(cache.invalidate_batch_async(events())).unwrap();
    assert_eq!(TABLES.map(|table| counted.get(table)), [7, 8, 9]);
}

/// A sibling that panics while a batch is under way takes nothing of it along.
fn siblings_that_panic<B: Backend>() {
    for polls in 0..6 {
        let cache = B::cache(Cacheops::builder());
        let counted = Counted::new(&cache);
        counted.fill();
        let sibling = async {
            for _ in 0..polls {
                cache.get_last_invalidation(["a"]);
                tokio::task::yield_now().await;
            }
            if true {
                panic!("a sibling panics");
            }
        };
        let both = async {
            let _ = tokio::join!(cache.invalidate_batch_async(events()), sibling);
        };
        assert!(catch_unwind(AssertUnwindSafe(|| block_on(both))).is_err());
        until("the rest", || TABLES.iter().all(|table| counted.get(table) > 3));
    }
}

/// From the call on, an announcement needs nobody to poll it.
fn nobody_polls_it<B: Backend>() {
    for polls in 0..4 {
        let cache = B::cache(Cacheops::builder());
        let counted = Counted::new(&cache);
        counted.fill();
        let mut announced = Box::pin(cache.invalidate_batch_async(events()));
        for _ in 0..polls {
            if futures_util::FutureExt::now_or_never(&mut announced).is_some() {
                break;
            }
            cache.get_last_invalidation(["a"]);
        }
        drop(announced);
        until("the rest", || TABLES.iter().all(|table| counted.get(table) > 3));
    }
}

/// One variant of a name, in a batch and as a future; and what waits in futures.
fn variants_in_batches_and_futures<B: Backend>() {
    let cache = B::cache(Cacheops::builder());
    let runs = Cell::new(0);
    let get = |extra: &str| {
        runs.set(runs.get() + 1);
        let made = || Ok::<_, Error>(runs.get());
        cache.cached().name("list").extra(extra).get_or_fill(made).unwrap()
    };
    let first = (get("de"), get("en"));
    block_on(cache.invalidate_batch_async([WriteEvent::fragment_extra("list", "de")])).unwrap();
    assert_ne!(get("de"), first.0);
    assert_eq!(get("en"), first.1, "another variant");
    assert!(cache.invalidate_batch([WriteEvent::fragment_extra(" ", "de")]).is_err());
    assert!(cache.invalidate_batch([WriteEvent::fragment_extra("list", &f64::NAN)]).is_err());
    assert_eq!(get("en"), first.1, "no fragment has such a variant");

    assert_eq!(block_on(cache.get_last_invalidation_async(["a"])), None);
    cache.invalidate_model("a").unwrap();
    let asked = cache.get_last_invalidation_async(["a"]);
    assert_eq!(block_on(asked), cache.get_last_invalidation(["a"]));
    assert!(cache.get_last_invalidation(["a"]).is_some());
}

on_stores! {
    observers_that_panic siblings_that_panic nobody_polls_it variants_in_batches_and_futures
}
