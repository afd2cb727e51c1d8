//! Interleavings, tried by shuttle: `RUSTFLAGS="--cfg shuttle" cargo test -p
//! cacheops --test shuttle --target-dir target/shuttle`.
#![cfg(shuttle)]

use std::sync::Arc;

use cacheops::{Cacheops, Error, QuerySet, eq};
use shuttle::sync::atomic::{AtomicU64, Ordering};
use shuttle::thread;

/// Schedules tried of each, by chance and by priorities.
fn check(scenario: fn()) {
    shuttle::check_random(scenario, 1_000);
    shuttle::check_pct(scenario, 2_000, 3);
}

/// A row in a database, and what may be served of it at least: raised when an
/// invalidation has returned.
#[derive(Default)]
struct Row {
    version: AtomicU64,
    floor: AtomicU64,
}

impl Row {
    fn write(&self, invalidate: impl FnOnce()) {
        let version = self.version.fetch_add(1, Ordering::SeqCst) + 1;
        invalidate();
        self.floor.fetch_max(version, Ordering::SeqCst);
    }

    /// Looks up, and checks what comes against what had been announced.
    fn read(&self, get: impl FnOnce() -> u64) {
        let floor = self.floor.load(Ordering::SeqCst);
        let served = get();
        assert!(served >= floor, "served {served}, and {floor} was announced before");
    }
}

fn get(cache: &Cacheops, row: &Row) -> u64 {
    let set = QuerySet::table("rows").filter(eq("id", 1));
    let value = cache.cached_as(set).get_or_fill(|| {
        let value = row.version.load(Ordering::SeqCst);
        thread::yield_now();
        Ok::<_, Error>(value)
    });
    value.unwrap()
}

fn nested(cache: &Cacheops, row: &Row) -> u64 {
    cache.cached().get_or_fill(|| Ok::<_, Error>(get(cache, row))).unwrap()
}

/// Runs readers against writers, each of which invalidates in its own way.
fn race(readers: &[fn(&Cacheops, &Row) -> u64], writers: &[fn(&Cacheops)]) {
    let cache = Cacheops::in_memory();
    let row = Arc::new(Row::default());
    let mut threads = Vec::new();
    for reader in readers.iter().copied() {
        let (cache, row) = (cache.clone(), row.clone());
        threads.push(thread::spawn(move || {
            row.read(|| reader(&cache, &row));
            row.read(|| reader(&cache, &row));
        }));
    }
    for writer in writers.iter().copied() {
        let (cache, row) = (cache.clone(), row.clone());
        threads.push(thread::spawn(move || row.write(|| writer(&cache))));
    }
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    // When all is quiet, every reader has what is there, from cache or not.
    for reader in readers {
        assert_eq!(reader(&cache, &row), row.version.load(Ordering::SeqCst));
    }
}

fn drop_row(cache: &Cacheops) {
    let row = std::collections::BTreeMap::from([("id", 1)]);
    cache.invalidate_obj("rows", &row).unwrap();
}

fn drop_table(cache: &Cacheops) {
    cache.invalidate_model("rows").unwrap();
}

fn drop_all(cache: &Cacheops) {
    cache.invalidate_all().unwrap();
}

/// A row that lacks the field.
fn drop_partial(cache: &Cacheops) {
    let row = std::collections::BTreeMap::from([("other", 1)]);
    cache.invalidate_obj("rows", &row).unwrap();
}

#[test]
fn a_row_changes_during_a_fill() {
    check(|| race(&[get, get], &[drop_row]));
}

#[test]
fn a_table_goes_during_a_fill() {
    check(|| race(&[get, get], &[drop_table, drop_row]));
}

#[test]
fn everything_goes_during_a_fill() {
    check(|| race(&[get, get], &[drop_all, drop_row]));
}

#[test]
fn a_partial_row_comes_during_a_fill() {
    check(|| race(&[get, get], &[drop_partial, drop_row]));
}

#[test]
fn nested_fills() {
    check(|| race(&[nested, get], &[drop_row, drop_row]));
}

/// A row read under the stamp of the whole table is shown by a fragment of
/// that row alone, which leases its own stamp afterwards: between two drops of
/// one change, if it could.
fn row_of_a_list(cache: &Cacheops, row: &Row) -> u64 {
    let list = cache.cached_as("rows").get_or_fill(|| {
        let value = row.version.load(Ordering::SeqCst);
        let set = QuerySet::table("rows").filter(eq("id", 1));
        cache.cached_as(set).name("row").get_or_fill(|| Ok::<_, Error>(value))
    });
    list.unwrap()
}

#[test]
fn rows_that_a_list_hands_to_fragments_of_rows() {
    check(|| race(&[get, row_of_a_list], &[drop_row]));
}

/// A writer whose commit becomes visible at some time between the mark and its
/// end, and whom nobody waits for: readers see no old row once one has seen the
/// new one.
#[test]
fn a_commit_in_progress() {
    check(|| {
        let cache = Cacheops::in_memory();
        let row = Arc::new(Row::default());
        let readers: Vec<_> = (0..2)
            .map(|_| {
                let (cache, row) = (cache.clone(), row.clone());
                thread::spawn(move || {
                    for _ in 0..2 {
                        let visible = row.version.load(Ordering::SeqCst);
                        let served = get(&cache, &row);
                        assert!(served >= visible, "served {served}, and {visible} was there");
                    }
                })
            })
            .collect();
        let written = std::collections::BTreeMap::from([("id", 1)]);
        let commit = cache.begin_commit([cacheops::WriteEvent::insert("rows", &written)]);
        thread::yield_now();
        row.version.store(1, Ordering::SeqCst);
        thread::yield_now();
        commit.committed().unwrap();
        readers.into_iter().for_each(|reader| reader.join().unwrap());
        assert_eq!(get(&cache, &row), 1);
    });
}

/// Two writers in transactions, one of which is rolled back, and two readers, one
/// of them in a transaction of its own: nobody outside sees what was taken back,
/// or what is older than what the database shows.
#[test]
fn transactions() {
    const TAKEN_BACK: u64 = 100;
    check(|| {
        let cache = Cacheops::in_memory();
        let row = Arc::new(Row::default());
        let written = || {
            let row = std::collections::BTreeMap::from([("id", 1)]);
            cacheops::WriteEvent::insert("rows", &row)
        };
        let writer = |commits: bool| {
            let (cache, row) = (cache.clone(), row.clone());
            move || {
                let transaction = cache.transaction().read_committed();
                transaction.scope(|| get(&cache, &row));
                transaction.write(written());
                // It sees its own row; nobody else does.
                let own = Row::default();
                own.version.store(if commits { 1 } else { TAKEN_BACK }, Ordering::SeqCst);
                let seen = transaction.scope(|| get(&cache, &own));
                assert_eq!(seen, own.version.load(Ordering::SeqCst));
                if commits {
                    let commit = transaction.begin_commit();
                    row.version.store(1, Ordering::SeqCst);
                    thread::yield_now();
                    commit.committed().unwrap();
                } else {
                    transaction.rolled_back();
                }
            }
        };
        let reader = |is_inside: bool| {
            let (cache, row) = (cache.clone(), row.clone());
            move || {
                let snapshot = row.version.load(Ordering::SeqCst);
                let old = Row::default();
                old.version.store(snapshot, Ordering::SeqCst);
                if is_inside {
                    let transaction = cache.transaction();
                    let seen = transaction.scope(|| get(&cache, &old));
                    assert!(seen >= snapshot && seen != TAKEN_BACK, "{seen} in a snapshot");
                    transaction.rolled_back();
                }
                let visible = row.version.load(Ordering::SeqCst);
                let seen = get(&cache, &row);
                assert!(seen >= visible && seen != TAKEN_BACK, "{seen}, and {visible} was there");
            }
        };
        let threads = [
            thread::spawn(writer(true)),
            thread::spawn(writer(false)),
            thread::spawn(reader(true)),
            thread::spawn(reader(false)),
        ];
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(get(&cache, &row), 1);
    });
}

/// Three callers, one fill, unless one of them came before the flight began
/// or after it had landed: never two at once.
#[test]
fn single_flight() {
    check(|| {
        let cache = Cacheops::in_memory();
        let (fills, at_once) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let threads: Vec<_> = (0..3)
            .map(|_| {
                let (cache, fills, at_once) = (cache.clone(), fills.clone(), at_once.clone());
                thread::spawn(move || {
                    let value = cache.cached().get_or_fill(|| {
                        fills.fetch_add(1, Ordering::SeqCst);
                        assert_eq!(at_once.fetch_add(1, Ordering::SeqCst), 0);
                        thread::yield_now();
                        at_once.fetch_sub(1, Ordering::SeqCst);
                        Ok::<_, Error>(1u8)
                    });
                    assert_eq!(value.unwrap(), 1);
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(fills.load(Ordering::SeqCst), 1);
    });
}

/// A leader that fails releases those who wait for it.
#[test]
fn a_failing_leader() {
    check(|| {
        let cache = Cacheops::in_memory();
        let fails = Arc::new(AtomicU64::new(1));
        let threads: Vec<_> = (0..3)
            .map(|_| {
                let (cache, fails) = (cache.clone(), fails.clone());
                thread::spawn(move || {
                    let value = cache.cached().get_or_fill(|| {
                        thread::yield_now();
                        match fails.swap(0, Ordering::SeqCst) {
                            0 => Ok(1u8),
                            _ => Err(Error::invalid_extra("no luck")),
                        }
                    });
                    value.is_err()
                })
            })
            .collect();
        let failed = threads.into_iter().filter(|_| true).map(|t| t.join().unwrap());
        assert_eq!(failed.filter(|failed| *failed).count(), 1);
    });
}

/// [`get`] by a future, in a thread of its own.
fn get_async(cache: &Cacheops, row: &Row) -> u64 {
    let set = QuerySet::table("rows").filter(eq("id", 1));
    let value = cache.cached_as(set).get_or_fill_async(|| async {
        let value = row.version.load(Ordering::SeqCst);
        shuttle::future::yield_now().await;
        Ok::<_, Error>(value)
    });
    shuttle::future::block_on(value).unwrap()
}

/// Futures that wait for each other, while a row changes: those that come
/// after it begin a fill of their own.
#[test]
fn futures_wait_during_a_change() {
    check(|| race(&[get_async, get_async], &[drop_row]));
}

/// A waiter, be it a thread or a future, beside a fill that is overtaken.
#[test]
fn threads_and_futures_wait_during_a_change() {
    check(|| race(&[get_async, get], &[drop_row, drop_row]));
}

/// Three futures, of which one fails or is let go, and limits that end at any
/// moment: none waits for ever.
#[test]
fn waits_that_end_at_any_moment() {
    check(|| {
        let limit = std::time::Duration::from_millis(1);
        let cache = Cacheops::builder().wait_timeout(limit).build().unwrap();
        let row = Arc::new(Row::default());
        let threads: Vec<_> = (0..3)
            .map(|_| {
                let (cache, row) = (cache.clone(), row.clone());
                thread::spawn(move || row.read(|| get_async(&cache, &row)))
            })
            .collect();
        row.write(|| drop_row(&cache));
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(get_async(&cache, &row), 1);
    });
}
