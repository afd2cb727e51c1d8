//! Reads in transactions, and what their commits invalidate.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Barrier, mpsc};
use std::thread;

use cacheops::{Cacheops, Error, QuerySet, Transaction, WriteEvent, eq};
use cacheops_tests::Backend;
use futures_util::FutureExt as _;
use serde_json::json;

/// A cached value that tells whether it was read anew.
struct Rows<'a> {
    cache: &'a Cacheops,
    version: Cell<u64>,
}

impl<'a> Rows<'a> {
    fn new(cache: &'a Cacheops) -> Self {
        Rows { cache, version: Cell::new(1) }
    }

    fn id(&self, id: u64) -> u64 {
        let set = QuerySet::table("rows").filter(eq("id", id));
        let read = || Ok::<_, Error>(self.version.get());
        self.cache.cached_as(set).name("row").get_or_fill(read).unwrap()
    }

    fn runs(&self, id: u64) -> bool {
        self.version.set(self.version.get() + 1);
        self.id(id) == self.version.get()
    }
}

fn row(id: u64) -> WriteEvent {
    WriteEvent::insert("rows", &json!({"id": id}))
}

/// A dirty transaction finds nothing and keeps nothing, of any table; others go
/// on, and a commit invalidates what was written, and no more.
fn a_dirty_transaction<B: Backend>() {
    let cache = B::cache(Cacheops::builder());
    let rows = Rows::new(&cache);
    rows.id(1);
    rows.id(2);
    let transaction = cache.transaction().read_committed();
    assert!(!transaction.scope(|| rows.runs(1)), "a clean one hits");
    transaction.write(row(1));
    assert!(transaction.is_dirty());
    assert!(transaction.scope(|| rows.runs(1) && rows.runs(1) && rows.runs(2) && rows.runs(3)));
    assert!(!rows.runs(1), "nobody else sees the write yet");
    assert!(rows.runs(3), "what was made in it was not kept");
    transaction.begin_commit().committed().unwrap();
    assert!(rows.runs(1) && !rows.runs(1) && !rows.runs(2));
}

/// Ends of transactions.
fn how_a_transaction_ends<B: Backend>() {
    let cache = B::cache(Cacheops::builder());
    let rows = Rows::new(&cache);
    let begin = || {
        rows.id(1);
        let transaction = cache.transaction();
        transaction.write(row(1));
        transaction
    };
    begin().rolled_back();
    assert!(!rows.runs(1), "rolled back");
    drop(begin());
    assert!(rows.runs(1), "dropped, it may have been committed");
    let commit = begin().begin_commit();
    assert!(rows.runs(1) && rows.runs(1), "during the commit nothing is found");
    drop(commit);
    assert!(rows.runs(1), "an unknown end may be a commit");
    let _ = cacheops::no_invalidation(|| begin().begin_commit().committed());
    until("the ends of those that were dropped", || !rows.runs(1));
}

fn until(what: &str, holds: impl Fn() -> bool) {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while !holds() {
        assert!(std::time::Instant::now() < deadline, "{what} did not come");
        thread::yield_now();
    }
}

/// What a savepoint takes back was not written; all else was.
fn savepoints<B: Backend>() {
    let cache = B::cache(Cacheops::builder());
    let rows = Rows::new(&cache);
    let _kept: Vec<u64> = (1..=3).map(|id| rows.id(id)).collect();
    let transaction = cache.transaction().read_committed();
    let outer = transaction.savepoint();
    transaction.write(row(1));
    transaction.rollback_to(outer);
    assert!(!transaction.is_dirty() && !transaction.scope(|| rows.runs(1)));
    transaction.write(row(2));
    let inner = transaction.savepoint();
    transaction.write(row(3));
    transaction.rollback_to(inner);
    assert!(transaction.is_dirty() && transaction.scope(|| rows.runs(3)));
    transaction.begin_commit().committed().unwrap();
    assert!(!rows.runs(1) && rows.runs(2) && !rows.runs(3));
}

/// What is made in a clean transaction may be of an old snapshot: it is kept only
/// where each query reads what is committed.
fn snapshots<B: Backend>() {
    let cache = B::cache(Cacheops::builder());
    let rows = Rows::new(&cache);
    let snapshot = cache.transaction();
    snapshot.scope(|| assert!(rows.runs(1) && rows.runs(1)));
    assert!(rows.runs(1) && !rows.runs(1));
    assert!(!snapshot.scope(|| rows.runs(1)), "a hit is as good as any");
    let plain = cache.transaction().read_committed();
    plain.scope(|| assert!(rows.runs(2) && !rows.runs(2)));
    assert!(!rows.runs(2));
    // A fill around a scope stands on what is read in it.
    let around = |transaction: &Transaction| {
        let made = || Ok::<_, Error>(transaction.scope(|| rows.version.get()));
        cache.cached_as("rows").name("list").get_or_fill(made).unwrap()
    };
    rows.version.set(100);
    assert_eq!(around(&snapshot), 100);
    rows.version.set(101);
    assert_eq!(around(&plain), 101);
    rows.version.set(102);
    assert_eq!(around(&snapshot), 101);
    snapshot.rolled_back();
    plain.rolled_back();
}

/// A transaction that becomes dirty while something is made in it, or around it:
/// by the same thread, by another, or taken back by then.
fn a_write_during_a_fill<B: Backend>() {
    for is_around in [false, true] {
        for takes_back in [false, true] {
            let cache = B::cache(Cacheops::builder());
            let rows = Rows::new(&cache);
            let transaction = cache.transaction().read_committed();
            let write = || {
                let savepoint = transaction.savepoint();
                transaction.write(row(1));
                let read = rows.version.get();
                if takes_back {
                    transaction.rollback_to(savepoint);
                }
                read
            };
            let fill = || {
                let made =
                    || Ok::<_, Error>(if is_around { transaction.scope(write) } else { write() });
                cache.cached_as("rows").name("list").get_or_fill(made).unwrap()
            };
            let first = if is_around { fill() } else { transaction.scope(fill) };
            assert_eq!(first, 1);
            rows.version.set(2);
            transaction.rolled_back();
            let other = cache.transaction().read_committed();
            let again =
                || cache.cached_as("rows").name("list").get_or_fill(|| Ok::<_, Error>(2)).unwrap();
            assert_eq!(other.scope(again), 2, "{is_around} {takes_back}");
            other.rolled_back();
        }
    }
}

/// A lazy queryset that is read in a transaction hands rows to fragments.
fn rows_of_a_transaction<B: Backend>() {
    let cache = B::cache(Cacheops::builder());
    let rows = Rows::new(&cache);
    let transaction = cache.transaction().read_committed();
    transaction.write(row(1));
    let list = cache.cached().name("page").get_or_fill(|| {
        let inner = transaction.scope(|| rows.id(1));
        Ok::<_, Error>(inner)
    });
    assert_eq!(list.unwrap(), 1);
    transaction.rolled_back();
    rows.version.set(2);
    let again = cache.cached().name("page").get_or_fill(|| Ok::<_, Error>(rows.id(1)));
    assert_eq!(again.unwrap(), 2);
}

/// Nobody outside waits for what is made of a snapshot, or gets it.
fn a_snapshot_is_for_its_reader<B: Backend>() {
    let cache = B::cache(Cacheops::builder());
    let database = AtomicU64::new(1);
    let (filling, begun) = mpsc::channel();
    let go_on = Barrier::new(2);
    let get = |blocks: bool| {
        let read = || {
            let value = database.load(Ordering::SeqCst);
            if blocks {
                filling.send(()).unwrap();
                go_on.wait();
            }
            Ok::<_, Error>(value)
        };
        cache.cached_as("rows").get_or_fill(read).unwrap()
    };
    thread::scope(|scope| {
        let slow = scope.spawn(|| {
            let transaction = cache.transaction();
            let read = transaction.scope(|| get(true));
            transaction.rolled_back();
            read
        });
        begun.recv().unwrap();
        database.store(2, Ordering::SeqCst);
        assert_eq!(get(false), 2, "it waits for nobody");
        go_on.wait();
        assert_eq!(slow.join().unwrap(), 1);
        database.store(3, Ordering::SeqCst);
        assert_eq!(get(false), 2);
    });
}

/// The scope of a future holds wherever it is polled, and only while it is.
fn in_futures<B: Backend>() {
    let cache = B::cache(Cacheops::builder());
    let rows = Rows::new(&cache);
    rows.id(1);
    let transaction = cache.transaction();
    transaction.write(row(1));
    let read = || async { Ok::<_, Error>(rows.version.get()) };
    let mut inside = Box::pin(transaction.scope_async(async {
        let set = || QuerySet::table("rows").filter(eq("id", 7));
        let first = cache.cached_as(set()).name("seven").get_or_fill_async(read).await;
        futures_util::pending!();
        let second = cache.cached_as(set()).name("seven").get_or_fill_async(read).await;
        (first.unwrap(), second.unwrap())
    }));
    let mut done = inside.as_mut().now_or_never();
    assert!(!rows.runs(1), "the thread is outside again");
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while done.is_none() {
        assert!(std::time::Instant::now() < deadline);
        done = inside.as_mut().now_or_never();
    }
    assert_eq!(done, Some((1, 2)), "nothing was found or kept inside");
    drop(inside);
    transaction.rolled_back();
}

/// Millions of rows of one transaction are their table.
fn many_rows<B: Backend>() {
    let cache = B::cache(Cacheops::builder());
    let rows = Rows::new(&cache);
    rows.id(1);
    let transaction = cache.transaction();
    let savepoint = transaction.savepoint();
    (10..20_100).for_each(|id| transaction.write(row(id)));
    transaction.rollback_to(savepoint);
    assert!(transaction.is_dirty(), "more than happened, never less");
    transaction.begin_commit().committed().unwrap();
    assert!(rows.runs(1));
    // A table that is told again and again is told once, wherever it was first.
    let transaction = cache.transaction();
    let table = || WriteEvent::table("rows");
    let before = transaction.savepoint();
    (0..1_000).for_each(|_| transaction.write(table()));
    transaction.rollback_to(before);
    assert!(!transaction.is_dirty());
    transaction.write(table());
    let after = transaction.savepoint();
    transaction.write(table());
    transaction.rollback_to(after);
    transaction.begin_commit().committed().unwrap();
    assert!(rows.runs(1));
}

on_stores! {
    a_dirty_transaction how_a_transaction_ends savepoints snapshots a_write_during_a_fill rows_of_a_transaction a_snapshot_is_for_its_reader in_futures many_rows
}
