//! What changes tables without showing rows, and tables of several kinds.

use crate::site::{Site, by};
use cacheops::QuerySet;

#[test]
fn definitions_drop_what_they_are_about() {
    let site = Site::new();
    let db = site.memory("CREATE TABLE a (x); CREATE TABLE b (x); INSERT INTO a VALUES (1)");
    let all = || [by("a", "x", 1), by("b", "x", 1), by("c", "x", 1)];
    let cases = [
        ("ALTER TABLE a ADD COLUMN y DEFAULT 2", [true, false, false]),
        ("CREATE INDEX i ON a (x)", [false, false, false]),
        ("CREATE TABLE IF NOT EXISTS a (x)", [false, false, false]),
        ("CREATE TABLE c AS SELECT * FROM a", [false, false, true]),
        ("DROP TABLE c", [false, false, true]),
        ("ALTER TABLE a RENAME TO c", [true, false, true]),
        ("CREATE VIEW v AS SELECT * FROM b", [true, true, true]),
        ("BEGIN; ALTER TABLE c RENAME TO a; COMMIT", [true, false, true]),
        ("BEGIN; DROP TABLE b; ROLLBACK", [false, false, false]),
    ];
    for (sql, expected) in cases {
        assert_eq!(site.dropped_by(&db, all(), sql), expected, "{sql}");
    }
}

#[test]
fn columns_are_read_again_after_a_change_of_the_schema() {
    let site = Site::new();
    let db = site.memory("CREATE TABLE t (a INT, b INT); INSERT INTO t VALUES (1, 2)");
    // The two columns change their names.
    let swap = "ALTER TABLE t RENAME a TO c; ALTER TABLE t RENAME b TO a;
        ALTER TABLE t RENAME c TO b;";
    let all = || [by("t", "a", 5), by("t", "b", 5)];
    db.execute_batch("UPDATE t SET b = 3").unwrap();
    db.execute_batch(swap).unwrap();
    // Now a 5 in the first column is one in b.
    assert_eq!(site.dropped_by(&db, all(), "UPDATE t SET b = 5"), [false, true]);
    db.execute_batch("UPDATE t SET b = 0").unwrap();
    // In a savepoint that takes it back, and in a transaction.
    let sql = format!(
        "BEGIN; UPDATE t SET a = 7; SAVEPOINT s; {swap} UPDATE t SET a = 8; ROLLBACK TO s;
        UPDATE t SET b = 5; COMMIT"
    );
    db.execute_batch("UPDATE t SET a = 0, b = 0").unwrap();
    site.keep(&all());
    db.execute_batch(&sql).unwrap();
    assert!(!site.is_hit(&by("t", "b", 5)));
}

#[test]
fn another_connection_changes_the_schema() {
    let site = Site::new();
    let (one, two) = (site.file("shared.db"), site.file("shared.db"));
    one.execute_batch("CREATE TABLE t (a INT, b INT); INSERT INTO t VALUES (1, 2)").unwrap();
    let mut update = one.prepare("UPDATE t SET b = b + 1").unwrap();
    update.execute([]).unwrap();
    two.execute_batch("ALTER TABLE t RENAME a TO c; ALTER TABLE t RENAME b TO a;").unwrap();
    two.execute_batch("ALTER TABLE t RENAME c TO b; UPDATE t SET a = 0, b = 0").unwrap();
    let all = [by("t", "a", 1), by("t", "b", 1)];
    // Prepared anew by SQLite, it now adds to the first column.
    assert_eq!(site.dropped(all, || assert_eq!(update.execute([]), Ok(1))), [false, true]);
}

#[test]
fn full_text_search_is_known_by_the_virtual_table() {
    let site = Site::new();
    let db = site.memory(
        "CREATE VIRTUAL TABLE notes USING fts5(body); CREATE TABLE other_data (x);
        INSERT INTO notes VALUES ('one');",
    );
    let all = || [QuerySet::table("notes"), QuerySet::table("other_data")];
    for sql in [
        "INSERT INTO notes VALUES ('two')",
        "UPDATE notes SET body = 'three' WHERE rowid = 1",
        "DELETE FROM notes",
    ] {
        assert_eq!(site.dropped_by(&db, all(), sql), [true, false], "{sql}");
    }
}

#[test]
fn attached_and_temporary_tables() {
    let site = Site::new();
    let main = site.file("main.db");
    let other = site.file("other.db");
    other.execute_batch("CREATE TABLE items (id INTEGER PRIMARY KEY)").unwrap();
    main.execute("ATTACH ? AS aux", [site.path("other.db").to_str().unwrap()]).unwrap();
    let items = || [by("items", "id", 1), by("items", "id", 2)];
    let sql = "INSERT INTO aux.items VALUES (1)";
    assert_eq!(site.dropped_by(&main, items(), sql), [true, false]);
    let sql = "CREATE TEMP TABLE items (id INT); INSERT INTO items VALUES (2)";
    assert_eq!(site.dropped_by(&main, items(), sql), [true, true]);
    let sql = "INSERT INTO items VALUES (2)";
    assert_eq!(site.dropped_by(&main, items(), sql), [false, true]);
}

#[test]
fn a_definition_by_a_connection_that_did_not_know_the_schema() {
    let site = Site::new();
    let (one, two) = (site.file("stale.db"), site.file("stale.db"));
    one.execute_batch("CREATE TABLE t (x); INSERT INTO t VALUES (1)").unwrap();
    let drop_it = two.prepare("DROP TABLE t");
    let mut drop_it = drop_it.unwrap();
    one.execute_batch("CREATE INDEX i ON t (x)").unwrap();
    let dropped = site.dropped([QuerySet::table("t")], || {
        drop_it.execute([]).unwrap();
    });
    assert_eq!(dropped, [true]);
}
