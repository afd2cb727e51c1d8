//! What the hooks cost: the same statements on a connection without and with them, by
//! turns in one process; the medians, in nanoseconds.
//!
//! `cargo bench -p cacheops-database-tests --bench sqlite`

use std::time::Instant;

use cacheops::{Cacheops, QuerySet, eq};
use rusqlite::Connection;
use sqlite_cacheops::Options;

const ROWS: i64 = 1_000;
const ROUNDS: usize = 101;

fn open() -> Connection {
    let db = Connection::open_in_memory().unwrap();
    db.execute_batch(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, a INT, b INT, c REAL, title TEXT, slug TEXT,
            body TEXT, at TEXT)",
    )
    .unwrap();
    db
}

/// One measurement: how many rows or statements it is about, and how long it took.
type Run = fn(&Connection) -> usize;

fn insert(db: &Connection) -> usize {
    let sql = "INSERT INTO t VALUES (?, 1, 2, 3.5, 'A title of some words', 'a-title', ?, ?)";
    let mut insert = db.prepare_cached(sql).unwrap();
    let body = "A body, which is somewhat longer than a title is, and not too long.";
    for id in 0..ROWS {
        insert.execute((id, body, "2026-01-01 08:00:00")).unwrap();
    }
    ROWS as usize
}

fn inserts(db: &Connection) -> usize {
    db.execute_batch("DELETE FROM t; BEGIN").unwrap();
    insert(db)
}

fn updates(db: &Connection) -> usize {
    db.execute_batch("BEGIN").unwrap();
    let mut update = db.prepare_cached("UPDATE t SET a = a + 1 WHERE id = ?").unwrap();
    (0..ROWS).for_each(|id| assert_eq!(update.execute([id]), Ok(1)));
    ROWS as usize
}

fn update_of_all(db: &Connection) -> usize {
    db.execute_batch("BEGIN").unwrap();
    db.prepare_cached("UPDATE t SET a = a + 1").unwrap().execute([]).unwrap()
}

fn delete_of_all(db: &Connection) -> usize {
    db.execute_batch("BEGIN").unwrap();
    db.prepare_cached("DELETE FROM t").unwrap().execute([]).unwrap()
}

fn autocommit(db: &Connection) -> usize {
    let mut update = db.prepare_cached("UPDATE t SET a = a + 1 WHERE id = ?").unwrap();
    (0..ROWS).for_each(|id| assert_eq!(update.execute([id]), Ok(1)));
    ROWS as usize
}

fn reads(db: &Connection) -> usize {
    let mut select = db.prepare_cached("SELECT title FROM t WHERE id = ?").unwrap();
    for id in 0..ROWS {
        select.query_row([id], |row| row.get::<_, String>(0)).unwrap();
    }
    ROWS as usize
}

fn time(db: &Connection, run: Run) -> f64 {
    let start = Instant::now();
    let count = run(db);
    if !db.is_autocommit() {
        db.execute_batch("COMMIT").unwrap();
    }
    start.elapsed().as_nanos() as f64 / count as f64
}

fn main() {
    let plain = open();
    let cache = Cacheops::in_memory();
    Options::new().install(&cache).unwrap();
    let watched = open();
    // Schemes for the hooks' rows to be looked up by.
    let keep = || {
        for (column, value) in [("id", "7"), ("slug", "a-title"), ("a", "5")] {
            let queryset = QuerySet::table("t").filter(eq(column, value));
            cache.cached_as(&queryset).get_or_fill(|| Ok::<_, cacheops::Error>(1)).unwrap();
        }
    };
    let runs: [(&str, Run); 6] = [
        ("a row: INSERT by VALUES", inserts),
        ("a row: UPDATE by id", updates),
        ("a row: UPDATE of all", update_of_all),
        ("an UPDATE by id, with a commit", autocommit),
        ("a SELECT by id", reads),
        ("a row: DELETE of all", delete_of_all),
    ];
    let mut times: Vec<[Vec<f64>; 2]> = runs.iter().map(|_| [Vec::new(), Vec::new()]).collect();
    for _ in 0..ROUNDS {
        for ((_, run), times) in runs.iter().zip(&mut times) {
            for (db, times) in [&plain, &watched].into_iter().zip(times) {
                keep();
                times.push(time(db, *run));
            }
        }
    }
    println!("{:<34}{:>8}{:>8}{:>8}", "nanoseconds", "without", "with", "more");
    for ((name, _), times) in runs.iter().zip(&mut times) {
        let [without, with] = times.each_mut().map(|times| {
            times.sort_by(f64::total_cmp);
            times[times.len() / 2]
        });
        println!("{name:<34}{without:>8.0}{with:>8.0}{:>8.0}", with - without);
    }
}
