//! A table that is queried in more ways than it can have schemes.

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use cacheops::{Cacheops, Error, QuerySet, eq};
use cacheops_tests::servers::Server;
use serde_json::{Map, Value, json};

use super::{process, strict};

/// The schemes that threads race to add, beyond those that fit.
const NEW: usize = 8;

fn get(cache: &Cacheops, table: &str, field: usize, value: u64) -> u64 {
    let set = QuerySet::table(table).filter(eq(format!("f{field}"), 1));
    cache.cached_as(set).get_or_fill(|| Ok::<_, Error>(value)).unwrap()
}

/// Another process registers the new schemes first: registering them once more is no
/// write, and causes no push to this process.
fn fill_up(cache: &Cacheops, other: &Cacheops, table: &str) {
    for n in 200..200 + NEW {
        let set = QuerySet::table(table).filter(eq(format!("f{n}"), 2));
        other.cached_as(set).get_or_fill(|| Ok::<_, Error>(0)).unwrap();
    }
    let set = |n: usize| QuerySet::table(table).filter(eq(format!("f{n}"), 1));
    let call = (1..127).fold(cache.cached_as(set(0)), |call, n| call.also(set(n)));
    call.get_or_fill(|| Ok::<_, Error>(1)).unwrap();
}

/// What is widened for a stamp is widened for the registry too.
#[test]
fn threads_that_widen_a_table_are_never_stale() {
    let server = Server::start();
    let (cache, other) = (process(strict(&server)), process(strict(&server)));
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        for n in 0..2 {
            let (cache, done) = (&cache, &done);
            // Whoever leases waits for these, between any two looks at the table.
            scope.spawn(move || {
                let rows: Vec<_> = (0..1_900).map(|id| json!({ "id": id + n })).collect();
                get(cache, "noise", 1, 1);
                while !done.load(Ordering::SeqCst) {
                    cache.invalidate_objs("noise", &rows).unwrap();
                }
            });
        }
        for trial in 0..24 {
            let table = format!("t{trial}");
            fill_up(&cache, &other, &table);
            let start = Barrier::new(NEW);
            thread::scope(|scope| {
                for n in 200..200 + NEW {
                    let (cache, start, table) = (&cache, &start, &table);
                    scope.spawn(move || {
                        start.wait();
                        assert_eq!(get(cache, table, n, 1), 1);
                    });
                }
            });
            let fields = (0..127).chain(200..200 + NEW);
            let row: Map<String, Value> = fields.map(|n| (format!("f{n}"), json!(1))).collect();
            other.invalidate_obj(&table, &Value::Object(row)).unwrap();
            let seen: Vec<u64> = (200..200 + NEW).map(|n| get(&cache, &table, n, 2)).collect();
            done.fetch_or(seen != [2; NEW], Ordering::SeqCst);
            assert_eq!(seen, [2; NEW], "{table}");
        }
        done.store(true, Ordering::SeqCst);
    });
}
