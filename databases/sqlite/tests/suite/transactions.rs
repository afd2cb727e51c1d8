//! When a change counts.

use crate::site::{Site, by};
use cacheops::QuerySet;

const T: &str = "CREATE TABLE t (id INTEGER PRIMARY KEY, x INT)";

#[test]
fn changes_count_when_they_are_committed() {
    let site = Site::new();
    let db = site.memory(T);
    let t = || [QuerySet::table("t")];
    assert_eq!(site.dropped_by(&db, t(), "BEGIN; INSERT INTO t VALUES (1, 1)"), [false]);
    assert_eq!(site.dropped_by(&db, t(), "COMMIT"), [true]);
    let sql = "BEGIN; INSERT INTO t VALUES (2, 1); ROLLBACK";
    assert_eq!(site.dropped_by(&db, t(), sql), [false]);
    assert_eq!(site.dropped_by(&db, t(), "BEGIN; INSERT INTO t VALUES (3, 1); COMMIT"), [true]);
    assert_eq!(site.dropped_by(&db, t(), "BEGIN IMMEDIATE; COMMIT"), [false]);
    assert_eq!(site.dropped_by(&db, t(), "SELECT * FROM t"), [false]);
}

#[test]
fn savepoints() {
    let site = Site::new();
    let db = site.memory(T);
    let all = || [by("t", "id", 1), by("t", "id", 2), by("t", "id", 3)];
    let sql = "SAVEPOINT a; INSERT INTO t VALUES (1, 1); SAVEPOINT b; INSERT INTO t VALUES (2, 1);
        ROLLBACK TO b;";
    assert_eq!(site.dropped_by(&db, all(), sql), [false, false, false]);
    // What a savepoint took back may be dropped, too.
    let [one, _, three] = site.dropped_by(&db, all(), "RELEASE a");
    assert_eq!([one, three], [true, false]);
}

#[test]
fn a_failed_statement_changes_nothing() {
    let site = Site::new();
    let db = site.memory(T);
    db.execute_batch("INSERT INTO t VALUES (1, 1)").unwrap();
    let dropped = site.dropped([by("t", "id", 2)], || {
        db.execute("INSERT INTO t VALUES (2, 1), (1, 1)", []).unwrap_err();
    });
    assert_eq!(dropped, [false]);
    // Within a transaction the rows before the failure are kept by OR FAIL.
    let dropped = site.dropped([by("t", "id", 2)], || {
        db.execute("INSERT OR FAIL INTO t VALUES (2, 1), (1, 1)", []).unwrap_err();
    });
    assert_eq!(dropped, [true]);
}

#[test]
fn a_deferred_foreign_key_that_fails_at_the_commit() {
    let site = Site::new();
    let db = site.memory(
        "PRAGMA foreign_keys = ON; CREATE TABLE p (id INTEGER PRIMARY KEY);
        CREATE TABLE c (p INT REFERENCES p (id) DEFERRABLE INITIALLY DEFERRED);",
    );
    let all = || [by("c", "p", 1), by("p", "id", 1)];
    let dropped = site.dropped(all(), || {
        db.execute_batch("BEGIN; INSERT INTO c VALUES (1)").unwrap();
        db.execute_batch("COMMIT").unwrap_err();
    });
    assert_eq!(dropped, [false, false]);
    assert_eq!(site.dropped_by(&db, all(), "INSERT INTO p VALUES (1); COMMIT"), [true, true]);
}

#[test]
fn a_commit_that_is_busy() {
    let site = Site::new();
    let open = || rusqlite::Connection::open(site.path("rollback.db")).unwrap();
    let (writer, reader) = (open(), open());
    writer.busy_timeout(std::time::Duration::ZERO).unwrap();
    writer.execute_batch(T).unwrap();
    let dropped = site.dropped([by("t", "id", 1)], || {
        reader.execute_batch("BEGIN; SELECT * FROM t").unwrap();
        writer.execute_batch("BEGIN; INSERT INTO t VALUES (1, 1)").unwrap();
        writer.execute_batch("COMMIT").unwrap_err();
    });
    assert_eq!(dropped, [false]);
    let dropped = site.dropped([by("t", "id", 1)], || {
        reader.execute_batch("COMMIT").unwrap();
        writer.execute_batch("COMMIT").unwrap();
    });
    assert_eq!(dropped, [true]);
}

#[test]
fn a_returning_that_is_not_read_to_its_end() {
    let site = Site::new();
    let db = site.memory(T);
    let dropped = site.dropped([by("t", "id", 1), by("t", "id", 9)], || {
        let sql = "INSERT INTO t VALUES (1, 1), (2, 2) RETURNING id";
        db.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
        // The next statement on the connection tells that it is over.
        db.query_row("SELECT 1", [], |_| Ok(())).unwrap();
    });
    assert_eq!(dropped, [true, false]);
    let dropped = site.dropped([by("t", "id", 3), by("t", "id", 9)], || {
        let sql = "INSERT INTO t VALUES (3, 1), (4, 2) RETURNING id";
        db.execute_batch("BEGIN").unwrap();
        db.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
        db.execute_batch("COMMIT").unwrap();
    });
    assert_eq!(dropped, [true, false]);
}

#[test]
fn a_connection_that_is_dropped_in_a_transaction() {
    let site = Site::new();
    let dropped = site.dropped([QuerySet::table("t")], || {
        let db = site.memory("CREATE TABLE other (x)");
        db.execute_batch("CREATE TABLE u (x); BEGIN; INSERT INTO u VALUES (1)").unwrap();
    });
    assert_eq!(dropped, [false]);
    let db = site.file("dropped.db");
    db.execute_batch(T).unwrap();
    let dropped = site.dropped([by("t", "id", 1)], || {
        let db = site.file("dropped.db");
        db.execute_batch("BEGIN; INSERT INTO t VALUES (1, 1)").unwrap();
        drop(db);
    });
    assert_eq!(dropped, [false]);
}
