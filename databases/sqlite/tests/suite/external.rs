//! Writes of other processes.

use std::cell::Cell;
use std::thread;
use std::time::{Duration, Instant};

use cacheops::{Cacheops, QuerySet};
use rusqlite::Connection;
use sqlite_cacheops::{Options, look_for_external_writes};

use crate::site::{Site, by};

const T: &str = "CREATE TABLE t (id INTEGER PRIMARY KEY, x INT); CREATE TABLE u (x INT)";

/// What [`Site::elsewhere`] runs; a test of nothing by itself.
#[test]
fn another_process() {
    let var = |name: &str| std::env::var(name).ok();
    if let (Some(file), Some(sql)) = (var("CACHEOPS_TEST_FILE"), var("CACHEOPS_TEST_SQL")) {
        Connection::open(file).unwrap().execute_batch(&sql).unwrap();
    }
}

/// Without the thread that looks by itself.
fn by_hand() -> Site {
    Site::with(Options::new().external_writes(Duration::ZERO))
}

fn rollback(site: &Site) -> Connection {
    Connection::open(site.path("file.db")).unwrap()
}

fn wal(site: &Site) -> Connection {
    site.file("file.db")
}

fn both(test: impl Fn(&Site, &dyn Fn(&Site) -> Connection)) {
    for open in [rollback, wal] {
        let site = by_hand();
        test(&site, &open);
        drop(site);
    }
}

#[test]
fn another_process_writes() {
    both(|site, open| {
        let db = open(site);
        db.execute_batch(T).unwrap();
        let all = || [QuerySet::table("t"), QuerySet::table("u"), QuerySet::table("elsewhere")];
        let look = |write: &dyn Fn()| {
            site.dropped(all(), || {
                write();
                look_for_external_writes();
            })
        };
        look(&|| {});
        assert_eq!(look(&|| {}), [false; 3]);
        let foreign = || site.elsewhere("file.db", "INSERT INTO t (x) VALUES (1)");
        assert_eq!(look(&foreign), [true, true, false]);
        assert_eq!(look(&|| {}), [false; 3]);
        // Writes of this process are no foreign ones.
        let own = || db.execute_batch("INSERT INTO t (x) VALUES (1)").unwrap();
        assert_eq!(look(&own), [true, false, false]);
        let mixed: [&dyn Fn(); 4] = [&own, &foreign, &own, &own];
        assert_eq!(look(&|| mixed.iter().for_each(|write| write())), [true, true, false]);
        assert_eq!(look(&|| (0..5).for_each(|_| own())), [true, false, false]);
        assert_eq!(look(&|| {}), [false; 3]);
    });
}

#[test]
fn what_this_process_does_is_not_foreign() {
    both(|site, open| {
        let db = open(site);
        let other = open(site);
        db.execute_batch(T).unwrap();
        db.execute_batch("INSERT INTO t (x) VALUES (1)").unwrap();
        look_for_external_writes();
        let cases = [
            "BEGIN IMMEDIATE; COMMIT",
            "UPDATE u SET x = 1 WHERE x = 77",
            "PRAGMA user_version = 3",
            "CREATE INDEX i ON u (x); DROP INDEX i",
            "BEGIN; INSERT INTO t (x) VALUES (2); ROLLBACK",
            "SAVEPOINT a; INSERT INTO t (x) VALUES (2); ROLLBACK TO a; RELEASE a",
            "INSERT INTO t (x) VALUES (2)",
            "PRAGMA wal_checkpoint(TRUNCATE)",
            "ANALYZE",
            "DELETE FROM t",
        ];
        for sql in cases {
            for connection in [&db, &other] {
                // It may have to learn another schema, which takes what is traced away.
                connection.execute_batch("SELECT * FROM t").unwrap();
                let all = [QuerySet::table("u"), QuerySet::table("elsewhere")];
                let dropped = site.dropped(all, || {
                    connection.execute_batch(sql).unwrap();
                    look_for_external_writes();
                });
                assert_eq!(dropped, [false, false], "{sql}");
            }
        }
    });
}

#[test]
fn another_process_changes_the_schema() {
    both(|site, open| {
        let db = open(site);
        db.execute_batch(T).unwrap();
        look_for_external_writes();
        let dropped = site.dropped([QuerySet::table("elsewhere")], || {
            site.elsewhere("file.db", "ALTER TABLE u RENAME TO w");
            look_for_external_writes();
        });
        assert_eq!(dropped, [true]);
    });
}

#[test]
fn writes_while_no_connection_is_open() {
    both(|site, open| {
        open(site).execute_batch(T).unwrap();
        look_for_external_writes();
        let t = || [QuerySet::table("t")];
        let open_again = || drop(open(site));
        assert_eq!(site.dropped(t(), || [(); 3].iter().for_each(|()| open_again())), [false]);
        let dropped = site.dropped(t(), || {
            site.elsewhere("file.db", "INSERT INTO t (x) VALUES (1)");
            open_again();
            look_for_external_writes();
        });
        assert_eq!(dropped, [true]);
    });
}

#[test]
fn a_file_that_is_replaced() {
    both(|site, open| {
        let db = open(site);
        db.execute_batch(T).unwrap();
        site.elsewhere("new.db", &format!("{T}; INSERT INTO t (x) VALUES (7)"));
        look_for_external_writes();
        let replace = || std::fs::rename(site.path("new.db"), site.path("file.db")).unwrap();
        let dropped = site.dropped([QuerySet::table("t")], || {
            replace();
            look_for_external_writes();
        });
        assert_eq!(dropped, [true]);
        // Or a connection is opened before anybody looks.
        site.elsewhere("new.db", T);
        let dropped = site.dropped([QuerySet::table("t")], || {
            drop(open(site));
            std::fs::remove_file(site.path("file.db")).unwrap();
            replace();
            drop(rollback(site));
        });
        assert_eq!(dropped, [true]);
    });
}

#[test]
fn attached_files_are_watched() {
    both(|site, open| {
        let db = open(site);
        site.elsewhere("other.db", "CREATE TABLE elsewhere (x)");
        let path = site.path("other.db");
        db.execute("ATTACH ? AS other", [path.to_str().unwrap()]).unwrap();
        look_for_external_writes();
        let all = || [QuerySet::table("elsewhere"), QuerySet::table("t")];
        let dropped = site.dropped(all(), || {
            site.elsewhere("other.db", "INSERT INTO elsewhere VALUES (1)");
            look_for_external_writes();
        });
        assert_eq!(dropped, [true, false]);
        let dropped = site.dropped(all(), || {
            db.execute_batch("INSERT INTO other.elsewhere VALUES (1)").unwrap();
            look_for_external_writes();
        });
        assert_eq!(dropped, [true, false]);
    });
}

#[test]
fn the_thread_looks_by_itself() {
    let site = Site::with(Options::new().external_writes(Duration::from_millis(5)));
    let db = wal(&site);
    db.execute_batch(T).unwrap();
    site.elsewhere("file.db", "INSERT INTO t VALUES (1, 1)");
    let deadline = Instant::now() + Duration::from_secs(20);
    site.keep(&[by("x", "x", 1)]);
    while site.is_hit(&by("t", "id", 1)) {
        assert!(Instant::now() < deadline, "nobody has looked");
        site.elsewhere("file.db", "UPDATE t SET x = x + 1");
        std::thread::yield_now();
    }
    assert!(site.is_hit(&by("x", "x", 1)));
}

#[test]
fn a_returning_that_nothing_follows() {
    both(|site, open| {
        let db = open(site);
        db.execute_batch(T).unwrap();
        look_for_external_writes();
        site.keep(&[by("t", "id", 1), by("t", "id", 9)]);
        let sql = "INSERT INTO t VALUES (1, 1), (2, 2) RETURNING id";
        db.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
        // While its commit may be in progress, nothing of it is kept; then it is again.
        let deadline = Instant::now() + Duration::from_secs(20);
        assert!(!site.is_hit(&by("t", "id", 1)));
        while !site.is_hit(&by("t", "id", 1)) {
            assert!(Instant::now() < deadline, "the mark has stayed");
            std::thread::yield_now();
        }
        assert!(site.is_hit(&by("t", "id", 9)));
        assert!(sqlite_cacheops::unwatched_files().is_empty());
    });
}

/// SQLite does not count a commit that changes no page. It must not be taken for the
/// commit of another process that follows.
#[test]
fn commits_that_change_nothing_hide_no_others() {
    let nothing = [
        "BEGIN IMMEDIATE; UPDATE t SET x = x; COMMIT",
        "UPDATE t SET x = x",
        "BEGIN IMMEDIATE; CREATE TABLE IF NOT EXISTS t (a); COMMIT",
        "BEGIN IMMEDIATE; DROP TABLE IF EXISTS missing; COMMIT",
        "BEGIN IMMEDIATE; CREATE TEMP TABLE z (a); COMMIT",
        "BEGIN IMMEDIATE; PRAGMA journal_mode; COMMIT",
        "BEGIN IMMEDIATE; PRAGMA incremental_vacuum; COMMIT",
        "ATTACH ':memory:' AS m; BEGIN IMMEDIATE; CREATE TABLE m.t (x); COMMIT",
        "BEGIN IMMEDIATE; SAVEPOINT s; INSERT INTO t (x) VALUES (4); ROLLBACK TO s; COMMIT",
        "BEGIN IMMEDIATE; INSERT OR IGNORE INTO t VALUES (1, 1); COMMIT",
    ];
    both(|site, open| {
        let db = open(site);
        db.execute_batch(T).unwrap();
        db.execute_batch("INSERT INTO t VALUES (1, 1), (2, 2)").unwrap();
        look_for_external_writes();
        for sql in nothing {
            db.execute_batch(sql).unwrap();
            for nth in 1..3 {
                let hidden = site.dropped([QuerySet::table("t")], || {
                    site.elsewhere("file.db", "INSERT INTO t (x) VALUES (1)");
                    look_for_external_writes();
                });
                assert_eq!(hidden, [true], "foreign write {nth} after {sql}");
            }
        }
    });
}

/// A prefix that is computed from the thread: the hooks run in others.
#[test]
fn tenants_of_threads() {
    thread_local!(static TENANT: Cell<&'static str> = const { Cell::new("none") });
    let tenant = |_: &cacheops::PrefixQuery<'_>| format!("{}:", TENANT.get());
    let cache = Cacheops::builder().prefix_by(tenant).build().unwrap();
    let site = by_hand();
    Options::new().external_writes(Duration::ZERO).install(&cache).unwrap();
    TENANT.set("a");
    let db = site.file("file.db");
    db.execute_batch(T).unwrap();
    let count = || {
        let read = || db.query_row("SELECT count(*) FROM t", [], |row| row.get::<_, u32>(0));
        cache.cached_as("t").get_or_fill(read).unwrap()
    };
    look_for_external_writes();
    assert_eq!((count(), count()), (0, 0));
    thread::scope(|scope| {
        scope.spawn(|| site.file("file.db").execute_batch("INSERT INTO t VALUES (1, 1)").unwrap());
    });
    assert_eq!(count(), 1);
    site.elsewhere("file.db", "INSERT INTO t VALUES (2, 2)");
    thread::scope(|scope| {
        scope.spawn(look_for_external_writes);
    });
    assert_eq!(count(), 2);
    sqlite_cacheops::uninstall(&cache);
}
