//! Writes that are marked before their commit: nothing of before is found, or
//! kept, once readers of the database see the new rows.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Barrier, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use cacheops::{Cacheops, Error, PendingCommit, QuerySet, WriteEvent, eq};
use cacheops_tests::Backend;
use serde_json::json;

/// Rows that tell in which version they were read, and whether they ran.
struct Rows<'a> {
    cache: &'a Cacheops,
    version: Cell<u64>,
}

impl<'a> Rows<'a> {
    fn new(cache: &'a Cacheops) -> Self {
        Rows { cache, version: Cell::new(1) }
    }

    fn get(&self, set: &QuerySet) -> u64 {
        let read = || Ok::<_, Error>(self.version.get());
        self.cache.cached_as(set).name("row").get_or_fill(read).unwrap()
    }

    fn id(&self, id: u64) -> u64 {
        self.get(&QuerySet::table("rows").filter(eq("id", id)))
    }

    fn write(&self, ids: &[u64]) -> PendingCommit {
        self.cache.begin_commit(
            ids.iter().map(|id| WriteEvent::update("rows", &json!({"id": id}), &json!({"id": id}))),
        )
    }

    fn runs(&self, read: impl Fn(&Self) -> u64) -> bool {
        self.version.set(self.version.get() + 1);
        read(self) == self.version.get()
    }
}

/// Between mark and end a row is read anew each time; others are hits.
fn a_commit_in_progress<B: Backend>() {
    let cache = B::cache(Cacheops::builder());
    let rows = Rows::new(&cache);
    for end in
        [PendingCommit::rolled_back, drop, |commit: PendingCommit| commit.committed().unwrap()]
    {
        let commit = rows.write(&[1]);
        assert!(rows.runs(|rows| rows.id(1)) && rows.runs(|rows| rows.id(1)));
        assert!(rows.runs(|rows| rows.get(&QuerySet::table("rows"))));
        rows.id(2);
        assert!(!rows.runs(|rows| rows.id(2)), "no row of its own is written");
        end(commit);
        // The thread that keeps a connection ends what was dropped.
        until("the mark's end", || !rows.runs(|rows| rows.id(1)));
    }
    rows.id(1);
    rows.write(&[1]).committed().unwrap();
    assert!(rows.runs(|rows| rows.id(1)), "what was kept before is gone");
    drop(rows.write(&[1]));
    assert!(rows.runs(|rows| rows.id(1)), "however it ends");
    until("the mark's end", || !rows.runs(|rows| rows.id(1)));
    drop(rows.write(&[1]).committed_async());
    assert!(rows.runs(|rows| rows.id(1)), "and whether or not it is awaited");
    assert!(!rows.runs(|rows| rows.id(2)));
}

fn until(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < deadline, "{what} did not come");
        thread::yield_now();
    }
}

/// Other kinds of changes are marked as well.
fn whatever_a_commit_touches<B: Backend>() {
    let cache = B::cache(Cacheops::builder());
    let rows = Rows::new(&cache);
    let many =
        |count: u64| (10..10 + count).map(|id| WriteEvent::insert("rows", &json!({"id": id})));
    let marks: [(&str, Vec<WriteEvent>, bool); 8] = [
        ("the table", vec![WriteEvent::table("Rows")], true),
        ("the name", vec![WriteEvent::fragment("row")], true),
        ("everything", vec![WriteEvent::everything()], true),
        ("a row without the field", vec![WriteEvent::insert("rows", &json!({"a": 1}))], true),
        ("no row", vec![WriteEvent::insert("rows", &3)], true),
        ("another table", vec![WriteEvent::table("row")], false),
        ("another name", vec![WriteEvent::fragment("ro")], false),
        ("other rows", many(50).collect(), false),
    ];
    for (what, events, is_touched) in marks {
        rows.id(1);
        let commit = cache.begin_commit(events);
        rows.id(1);
        assert_eq!(rows.runs(|rows| rows.id(1)), is_touched, "{what}");
        commit.rolled_back();
        rows.id(1);
        assert!(!rows.runs(|rows| rows.id(1)), "after {what}");
    }
    // Two at once: one that ends leaves the other's mark.
    let (first, second) = (rows.write(&[1]), rows.write(&[1, 2]));
    first.committed().unwrap();
    assert!(rows.runs(|rows| rows.id(1)) && rows.runs(|rows| rows.id(1)));
    second.committed().unwrap();
    rows.id(1);
    assert!(!rows.runs(|rows| rows.id(1)));
    // Many rows are their table, until the end; then they are rows again.
    rows.id(1);
    let commit = cache.begin_commit(many(500));
    rows.id(2);
    assert!(rows.runs(|rows| rows.id(2)));
    commit.rolled_back();
    let silent = cacheops::no_invalidation(|| rows.write(&[1]));
    rows.id(1);
    assert!(!rows.runs(|rows| rows.id(1)), "silenced");
    drop(silent);
}

/// A fill that read before the commit, and ends during it or afterwards, is for
/// its caller alone; nor does anybody wait for it who comes during the commit.
fn fills_around_a_commit<B: Backend>() {
    for (begins_marked, ends_marked) in [(false, true), (false, false), (true, true), (true, false)]
    {
        let cache = B::cache(Cacheops::builder());
        let database = AtomicU64::new(1);
        let (filling, begun) = mpsc::channel();
        let go_on = Barrier::new(2);
        let get = |blocks: bool| {
            let set = QuerySet::table("rows").filter(eq("id", 1));
            let read = || {
                let value = database.load(Ordering::SeqCst);
                if blocks {
                    filling.send(()).unwrap();
                    go_on.wait();
                }
                Ok::<_, Error>(value)
            };
            cache.cached_as(set).get_or_fill(read).unwrap()
        };
        let mark = || cache.begin_commit([WriteEvent::insert("rows", &json!({"id": 1}))]);
        thread::scope(|scope| {
            let early = begins_marked.then(&mark);
            let slow = scope.spawn(|| get(true));
            begun.recv().unwrap();
            let commit = early.unwrap_or_else(mark);
            database.store(2, Ordering::SeqCst);
            let late = scope.spawn(|| get(false));
            assert_eq!(late.join().unwrap(), 2, "who comes late waits for nobody");
            if ends_marked {
                go_on.wait();
                assert_eq!(slow.join().unwrap(), 1);
                assert_eq!(get(false), 2);
                commit.committed().unwrap();
            } else {
                commit.committed().unwrap();
                assert_eq!(get(false), 2);
                go_on.wait();
                assert_eq!(slow.join().unwrap(), 1);
            }
            database.store(3, Ordering::SeqCst);
            let kept = if ends_marked { 3 } else { 2 };
            assert_eq!(get(false), kept, "{begins_marked} {ends_marked}");
        });
    }
}

/// A list that is read before the mark, or under it, hands its rows to
/// fragments that begin later.
fn rows_read_around_a_commit<B: Backend>() {
    for begins_marked in [false, true] {
        let cache = B::cache(Cacheops::builder());
        let rows = Rows::new(&cache);
        let mut commit = begins_marked.then(|| rows.write(&[1]));
        let list = cache.cached_as("rows").get_or_fill(|| {
            let value = rows.version.get();
            let commit = commit.take().unwrap_or_else(|| rows.write(&[1]));
            rows.version.set(2);
            commit.committed().unwrap();
            let set = QuerySet::table("rows").filter(eq("id", 1));
            cache.cached_as(set).name("row").extra("inner").get_or_fill(|| Ok::<_, Error>(value))
        });
        assert_eq!(list.unwrap(), 1);
        let set = QuerySet::table("rows").filter(eq("id", 1));
        let inner = cache.cached_as(set).name("row").extra("inner");
        assert_eq!(inner.get_or_fill(|| Ok::<_, Error>(2)).unwrap(), 2, "{begins_marked}");
    }
}

/// An observer hears of a commit once, with what both the mark and the end of
/// it dropped, and not at all of one that was rolled back.
fn a_commit_is_told_once<B: Backend>() {
    let told = Arc::new(AtomicU64::new(0));
    let tell = told.clone();
    let observed = Cacheops::builder().on_cache_invalidated(move |it| {
        tell.fetch_add(if it.dropped > 0 { 1 } else { 100 }, Ordering::SeqCst);
    });
    let cache = B::cache(observed);
    let rows = Rows::new(&cache);
    rows.id(1);
    rows.write(&[1]).rolled_back();
    rows.id(1);
    assert_eq!(told.load(Ordering::SeqCst), 0);
    rows.write(&[1]).committed().unwrap();
    assert_eq!(told.load(Ordering::SeqCst), 1);
    rows.id(1);
    futures_executor::block_on(rows.write(&[1]).committed_async()).unwrap();
    assert_eq!(told.load(Ordering::SeqCst), 2);
    rows.id(1);
    drop(rows.write(&[1]).committed_async());
    until("what was dropped", || told.load(Ordering::SeqCst) == 3);
}

/// The error for a row that is none comes at the end, as with any announcement.
fn a_bad_row_of_a_commit<B: Backend>() {
    let cache = B::cache(Cacheops::builder());
    let rows = Rows::new(&cache);
    rows.id(1);
    let bad = cache.begin_commit([WriteEvent::insert("rows", &3)]);
    assert!(bad.committed().is_err());
    assert!(rows.runs(|rows| rows.id(1)));
}

on_stores! {
    a_commit_in_progress whatever_a_commit_touches fills_around_a_commit rows_read_around_a_commit a_commit_is_told_once a_bad_row_of_a_commit
}
