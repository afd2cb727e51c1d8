//! What statements write, by their text and the schema.

use cacheops_sql::{Action, ColumnKind, Dialect, Schema, Sql, Table};

fn schema() -> Schema {
    Schema::new()
        .default_schema("public")
        .default_schema("main")
        .table(Table::new("t").column("id", ColumnKind::Integer))
        .table(Table::new("u").foreign_key("t", Action::Cascade, Action::Nothing))
        .table(Table::new("w").foreign_key("u", Action::Set, Action::Cascade))
        .table(Table::new("n"))
        .table(Table::new("log"))
        .view("shown", "SELECT * FROM n")
        .trigger(
            "n",
            "CREATE TRIGGER note AFTER INSERT ON n BEGIN \
             INSERT INTO log VALUES (new.k); UPDATE log SET k = CASE WHEN 1 THEN 2 END; END",
        )
        .trigger_writing("log", &["w"])
}

/// What is written, in one line.
fn written(dialect: Dialect, text: &str) -> String {
    let statement = Sql::new(dialect, schema()).statement(text);
    let writes = statement.writes();
    if writes.everything().is_some() {
        return "everything".to_owned();
    }
    let tables =
        writes.tables().iter().map(|write| format!("{} {:?}", write.table(), write.kind()));
    tables.collect::<Vec<_>>().join(", ").to_lowercase()
}

#[test]
fn statements_tell_what_they_write() {
    let log = "log insert, log update, w insert, w update, w delete";
    for (dialect, text, expected) in [
        (Dialect::Sqlite, "SELECT * FROM t", String::new()),
        (Dialect::Sqlite, "INSERT INTO main.w(id) VALUES (1)", "w insert".into()),
        (Dialect::Sqlite, "INSERT INTO n VALUES (1)", format!("n insert, {log}")),
        (Dialect::Sqlite, "REPLACE INTO w VALUES (1)", "w insert, w delete".into()),
        (Dialect::Sqlite, "INSERT OR REPLACE INTO w VALUES (1)", "w insert, w delete".into()),
        (
            Dialect::Sqlite,
            "INSERT INTO w VALUES (1) ON CONFLICT(id) DO UPDATE SET id = 2",
            "w insert, w update".into(),
        ),
        (Dialect::Sqlite, "INSERT INTO w VALUES (1) ON CONFLICT DO NOTHING", "w insert".into()),
        (Dialect::Sqlite, "INSERT INTO w SELECT * FROM t WHERE id = 1", "w insert".into()),
        (Dialect::Sqlite, "UPDATE w SET id = 2 FROM t WHERE t.id = w.id", "w update".into()),
        (Dialect::Sqlite, "UPDATE u SET id = 2", "u update, w update".into()),
        (Dialect::Sqlite, "DELETE FROM t WHERE id = 1", "t delete, u delete, w update".into()),
        (Dialect::Sqlite, "INSERT INTO shown VALUES (1)", format!("shown insert, n insert, {log}")),
        (Dialect::Sqlite, "DROP TABLE w", "w schema, w delete".into()),
        (Dialect::Sqlite, "ALTER TABLE w ADD COLUMN x", "w schema".into()),
        (Dialect::Sqlite, "CREATE TABLE x(a)", "x schema".into()),
        (Dialect::Sqlite, "CREATE INDEX i ON w(id)", String::new()),
        (Dialect::Sqlite, "BEGIN IMMEDIATE", String::new()),
        (Dialect::Sqlite, "COMMIT", String::new()),
        (Dialect::Sqlite, "SAVEPOINT a", String::new()),
        (Dialect::Sqlite, "PRAGMA user_version = 3", String::new()),
        (Dialect::Sqlite, "PRAGMA foreign_key_check(t)", String::new()),
        (Dialect::Sqlite, "PRAGMA writable_schema = 1", "everything".into()),
        (Dialect::Sqlite, "VACUUM", "everything".into()),
        (Dialect::Sqlite, "ATTACH 'x' AS y", "everything".into()),
        (Dialect::Sqlite, "this is no SQL", "everything".into()),
        (Dialect::Sqlite, "DELETE FROM w; DELETE FROM n", "everything".into()),
        (Dialect::Sqlite, "SELECT my_own(3)", String::new()),
        (Dialect::Postgres, "SELECT my_own(3)", "everything".into()),
        (Dialect::Postgres, "SELECT * FROM my_own(3)", "everything".into()),
        (Dialect::Postgres, "SELECT now(), random(), nextval('s')", String::new()),
        (
            Dialect::Postgres,
            "WITH gone AS (DELETE FROM public.w RETURNING *) INSERT INTO x SELECT * FROM gone",
            "x insert, w delete".into(),
        ),
        (
            Dialect::Postgres,
            "MERGE INTO w USING t ON w.id = t.id WHEN MATCHED THEN DELETE",
            "w insert, w update, w delete".into(),
        ),
        (Dialect::Postgres, "TRUNCATE t CASCADE", "t delete, u delete, w delete, w update".into()),
        (Dialect::Postgres, "TRUNCATE w, x", "w delete, x delete".into()),
        (Dialect::Postgres, "COPY w FROM STDIN", "w insert".into()),
        (Dialect::Postgres, "COPY w TO STDOUT", String::new()),
        (Dialect::Postgres, "REFRESH MATERIALIZED VIEW m", "m schema".into()),
        (Dialect::Postgres, "CALL proceed()", "everything".into()),
        (Dialect::Postgres, "DO $$ BEGIN DELETE FROM t; END $$", "everything".into()),
        (Dialect::Postgres, "EXECUTE prepared(3)", "everything".into()),
        (Dialect::Postgres, "SELECT * INTO x FROM w", "everything".into()),
        (Dialect::Postgres, "EXPLAIN ANALYZE DELETE FROM w", "w delete".into()),
        (
            Dialect::MySql,
            "INSERT INTO w VALUES (1) ON DUPLICATE KEY UPDATE id = 2",
            "w insert, w update".into(),
        ),
        (
            Dialect::MySql,
            "UPDATE w JOIN n ON n.id = w.id SET w.id = 2",
            format!("w update, n update, {log}"),
        ),
        (
            Dialect::MySql,
            "DELETE w FROM w JOIN n ON n.id = w.id",
            format!("w delete, n delete, {log}"),
        ),
        (Dialect::MySql, "DELETE FROM w /*! , n */", "everything".into()),
        (Dialect::MySql, "RENAME TABLE w TO x", "w schema, x schema".into()),
    ] {
        let mut now: Vec<_> = written(dialect, text).split(", ").map(str::to_owned).collect();
        let mut expected: Vec<_> = expected.split(", ").map(str::to_owned).collect();
        now.sort();
        expected.sort();
        expected.dedup();
        assert_eq!(now, expected, "{text}");
    }
}
