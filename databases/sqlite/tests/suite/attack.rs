//! Writers and readers at the same time: who has seen a row in the database never gets
//! an older one from the cache.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rusqlite::{Connection, OptionalExtension};
use sqlite_cacheops::Options;

use crate::site::{Site, by};

const ROWS: i64 = 4;

fn version(db: &Connection, id: i64) -> i64 {
    db.prepare_cached("SELECT version FROM t WHERE id = ?")
        .unwrap()
        .query_row([id], |row| row.get(0))
        .unwrap()
}

/// One writer, with a kind of statement each time.
fn write(db: &Connection, round: i64) -> rusqlite::Result<()> {
    let id = round % ROWS;
    match round / ROWS % 6 {
        0 => db.execute("UPDATE t SET version = version + 1 WHERE id = ?", [id]).map(drop),
        1 => {
            // Reset before its last row: the commit comes after the last hook.
            let sql = "UPDATE t SET version = version + 1 RETURNING id";
            db.prepare_cached(sql)?.query_row([], |_| Ok(()))
        }
        2 => db.execute_batch(
            "BEGIN IMMEDIATE; UPDATE t SET version = version + 1; UPDATE t SET other = 1; COMMIT",
        ),
        3 => db.execute_batch("BEGIN IMMEDIATE; UPDATE t SET version = version + 9; ROLLBACK"),
        4 => db.execute_batch("REPLACE INTO t SELECT id, version + 1, 0 FROM t WHERE id < 2"),
        _ => db.query_row("SELECT 1 FROM t WHERE id = 77", [], |_| Ok(())).optional().map(drop),
    }
}

fn attack(open: fn(&Site) -> Connection) {
    let site = Site::with(Options::new().external_writes(Duration::from_millis(3)));
    let open = || {
        let db = open(&site);
        db.busy_timeout(Duration::from_secs(30)).unwrap();
        db
    };
    let db = open();
    db.execute_batch(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, version INT, other INT);
        INSERT INTO t VALUES (0, 0, 0), (1, 0, 0), (2, 0, 0), (3, 0, 0);",
    )
    .unwrap();
    // Longer by hand.
    let seconds = std::env::var("CACHEOPS_ATTACK_SECONDS").ok().and_then(|it| it.parse().ok());
    let length = seconds.map_or(Duration::from_millis(700), Duration::from_secs);
    let (ended, hits) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for first in 0..2 {
            let db = open();
            let ended = &ended;
            scope.spawn(move || {
                let until = Instant::now() + length;
                let mut round = first;
                while Instant::now() < until {
                    // One that is busy is tried again.
                    if write(&db, round).is_ok() {
                        round += 1;
                    }
                    if round % 16 == 0 {
                        std::thread::sleep(Duration::from_micros(300));
                    }
                }
                ended.store(true, Ordering::Relaxed);
            });
        }
        for _ in 0..2 {
            let (db, site, ended, hits) = (open(), &site, &ended, &hits);
            scope.spawn(move || {
                let mut id = 0;
                while !ended.load(Ordering::Relaxed) {
                    id = (id + 1) % ROWS;
                    let seen = version(&db, id);
                    let row = by("t", "id", id);
                    let mut hit = true;
                    let fill = || {
                        hit = false;
                        Ok::<_, cacheops::Error>(version(&db, id))
                    };
                    let cached = site.cache.cached_as(&row).get_or_fill(fill).unwrap();
                    assert!(cached >= seen, "row {id}: seen {seen}, and {cached} is cached");
                    hits.fetch_add(u64::from(hit), Ordering::Relaxed);
                }
            });
        }
    });
    assert!(hits.into_inner() > 0, "nothing was ever a hit");
}

#[test]
fn writers_and_readers_in_wal_mode() {
    attack(|site| site.file("attack.db"));
}

#[test]
fn writers_and_readers_with_a_rollback_journal() {
    attack(|site| Connection::open(site.path("attack.db")).unwrap());
}
