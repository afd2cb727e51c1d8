//! Rows with old and new values.

use crate::site::{Site, by};

const ARTICLES: &str = "
    CREATE TABLE articles (id INTEGER PRIMARY KEY, status TEXT UNIQUE, votes INT DEFAULT 0);
    INSERT INTO articles (id, status) VALUES (1, 'draft'), (2, 'published');";

#[test]
fn an_insert_an_update_and_a_delete_meet_the_rows_they_change() {
    let site = Site::new();
    let db = site.memory(ARTICLES);
    let status = |status| by("articles", "status", status);
    let all = || [status("draft"), status("published"), status("gone"), by("articles", "id", 9)];
    let insert = "INSERT INTO articles (id, status) VALUES (9, 'new')";
    assert_eq!(site.dropped_by(&db, all(), insert), [false, false, false, true]);
    let update = "UPDATE articles SET status = 'gone' WHERE id = 1";
    assert_eq!(site.dropped_by(&db, all(), update), [true, false, true, false]);
    let delete = "DELETE FROM articles WHERE id = 2";
    assert_eq!(site.dropped_by(&db, all(), delete), [false, true, false, false]);
}

#[test]
fn an_upsert_is_an_update() {
    let site = Site::new();
    let db = site.memory(ARTICLES);
    let sql = "INSERT INTO articles (id, status) VALUES (1, 'x')
        ON CONFLICT (id) DO UPDATE SET votes = votes + 1";
    let votes = |votes| by("articles", "votes", votes);
    let [zero, one, two] = site.dropped_by(&db, [votes(0), votes(1), votes(2)], sql);
    assert_eq!([zero, one, two], [true, true, false]);
}

#[test]
fn replace_tells_of_the_rows_that_go() {
    let site = Site::new();
    let db = site.memory(ARTICLES);
    let id = |id| by("articles", "id", id);
    // Takes the place of row 2, by its other key.
    let sql = "REPLACE INTO articles (id, status) VALUES (7, 'published')";
    assert_eq!(site.dropped_by(&db, [id(1), id(2), id(7)], sql), [false, true, true]);
}

#[test]
fn triggers_and_cascades_are_seen() {
    let site = Site::new();
    let db = site.memory(
        "PRAGMA foreign_keys = ON;
        CREATE TABLE authors (id INTEGER PRIMARY KEY, name TEXT);
        CREATE TABLE posts (id INTEGER PRIMARY KEY,
            author INT REFERENCES authors (id) ON DELETE CASCADE);
        CREATE TABLE log (post INT);
        CREATE TRIGGER gone AFTER DELETE ON posts BEGIN INSERT INTO log VALUES (old.id); END;
        INSERT INTO authors VALUES (1, 'a'), (2, 'b');
        INSERT INTO posts VALUES (10, 1), (20, 2);",
    );
    let dropped = site.dropped_by(
        &db,
        [by("posts", "id", 10), by("posts", "id", 20), by("log", "post", 10)],
        "DELETE FROM authors WHERE id = 1",
    );
    assert_eq!(dropped, [true, false, true]);
}

#[test]
fn a_delete_of_all_rows_tells_each() {
    let site = Site::new();
    let db = site.memory(ARTICLES);
    let id = |id| by("articles", "id", id);
    let dropped = site.dropped_by(&db, [id(1), id(2), id(3)], "DELETE FROM articles");
    assert_eq!(dropped, [true, true, false]);
}

#[test]
fn tables_without_rowid() {
    let site = Site::new();
    let db = site.memory(
        "CREATE TABLE tags (name TEXT, weight INT, post INT, PRIMARY KEY (post, name))
            WITHOUT ROWID;
        INSERT INTO tags VALUES ('a', 1, 10), ('b', 2, 20);",
    );
    let dropped = site.dropped_by(
        &db,
        [by("tags", "post", 10), by("tags", "post", 20), by("tags", "weight", 5)],
        "UPDATE tags SET weight = 5 WHERE name = 'a'",
    );
    assert_eq!(dropped, [true, false, true]);
}

#[test]
fn generated_columns() {
    let site = Site::new();
    let db = site.memory(
        "CREATE TABLE boxes (id INTEGER PRIMARY KEY, w INT, area INT AS (w * 2), last INT,
            kept INT AS (w * 3) STORED);
        INSERT INTO boxes (id, w, last) VALUES (1, 1, 7), (2, 2, 8);",
    );
    let sql = "UPDATE boxes SET last = 9 WHERE id = 1";
    let rows = |column: &str, value: i32| by("boxes", column, value);
    let all = [rows("last", 9), rows("last", 8), rows("kept", 3), rows("kept", 6)];
    assert_eq!(site.dropped_by(&db, all, sql), [true, false, true, false]);
    // A hook cannot know a virtual one: a queryset by it goes with its table.
    let sql = "UPDATE boxes SET last = 10 WHERE id = 1";
    assert_eq!(site.dropped_by(&db, [rows("area", 2), rows("area", 4)], sql), [true, true]);
}

#[test]
fn values_as_they_are_stored() {
    let site = Site::new();
    let db =
        site.memory("CREATE TABLE v (id INTEGER PRIMARY KEY, r REAL, n NUMERIC, t TEXT, b BLOB)");
    let all =
        [by("v", "r", 3.0), by("v", "n", 4.5), by("v", "t", "é"), by("v", "t", 5), by("v", "r", 4)];
    let sql = "INSERT INTO v (r, n, t, b) VALUES (3, '4.50', 'é', x'00ff')";
    assert_eq!(site.dropped_by(&db, all, sql), [true, true, true, false, false]);
    let nulls = cacheops::QuerySet::table("v").filter(cacheops::is_null("t"));
    let sql = "INSERT INTO v (r) VALUES (4)";
    assert_eq!(site.dropped_by(&db, [nulls, by("v", "t", "é")], sql), [true, false]);
    // No text at all: what it equals cannot be known.
    let sql = "INSERT INTO v (t) VALUES (CAST(x'ff' AS TEXT))";
    assert_eq!(site.dropped_by(&db, [by("v", "t", "é"), by("v", "r", 4)], sql), [true, true]);
}

#[test]
fn very_many_rows_are_the_table() {
    let site = Site::with(sqlite_cacheops::Options::new().row_budget(100));
    let db = site.memory("CREATE TABLE many (id INTEGER PRIMARY KEY); CREATE TABLE few (id INT);");
    let sql = |rows: usize| {
        format!(
            "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n LIMIT {rows})
            INSERT INTO many SELECT x + (SELECT coalesce(max(id), 0) FROM many) FROM n;"
        )
    };
    let all = || [by("many", "id", 0), by("many", "id", 100), by("few", "id", 1)];
    assert_eq!(site.dropped_by(&db, all(), &sql(100)), [false, true, false]);
    assert_eq!(site.dropped_by(&db, all(), &sql(101)), [true, true, false]);
}

#[test]
fn blobs_that_are_written_in_place() {
    let site = Site::new();
    let db = site.memory("CREATE TABLE files (id INTEGER PRIMARY KEY, data BLOB)");
    db.execute_batch("INSERT INTO files VALUES (1, zeroblob(4))").unwrap();
    let all = [by("files", "data", "abcd"), by("files", "id", 1)];
    let dropped = site.dropped(all, || {
        let mut blob = db.blob_open("main", "files", "data", 1, false).unwrap();
        std::io::Write::write_all(&mut blob, b"abcd").unwrap();
        blob.close().unwrap();
        db.query_row("SELECT 1", [], |_| Ok(())).unwrap();
    });
    assert_eq!(dropped, [true, true]);
}

#[test]
fn columns_that_were_added_later() {
    let site = Site::new();
    let db = site.memory("CREATE TABLE t (id INTEGER PRIMARY KEY); INSERT INTO t VALUES (1);");
    db.execute_batch("ALTER TABLE t ADD COLUMN x INT DEFAULT 7").unwrap();
    // The row holds no value of it: it is the default.
    let all = [by("t", "x", 7), by("t", "x", 8), by("t", "x", 9)];
    let sql = "UPDATE t SET x = 8 WHERE id = 1";
    assert_eq!(site.dropped_by(&db, all, sql), [true, true, false]);
}
