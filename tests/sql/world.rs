//! A small database with all kinds of columns, what writes do to it, and what
//! is known of it.

use std::collections::BTreeMap;

use cacheops::Scalar;
use cacheops_sql::{ColumnKind, Schema, Table};
use rusqlite::Connection;
use rusqlite::types::{Value, ValueRef};

/// The tables, with the same names of columns in several of them.
pub const TABLES: [(&str, &[&str]); 4] = [
    ("t", &["id", "a", "b", "c", "d", "e"]),
    ("u", &["id", "t_id", "a", "b", "f"]),
    ("w", &["id", "u_id", "a", "x", "g"]),
    ("n", &["k", "a", "v"]),
];

/// The views, by the columns that they have.
pub const VIEWS: [(&str, &[&str], &str); 4] = [
    ("plain", &["id", "a", "z"], "SELECT id, a, b AS z FROM t WHERE a = 1"),
    ("both", &["id", "b", "y"], "SELECT t.id, u.b, u.a FROM t LEFT JOIN u ON u.t_id = t.id"),
    ("groups", &["a", "many"], "SELECT a, count(*) AS many FROM u WHERE b = 'a' GROUP BY a"),
    ("first", &["id", "a"], "SELECT id, a FROM w ORDER BY a, id LIMIT 2"),
];

const DDL: &str = "
    CREATE TABLE t(id INTEGER PRIMARY KEY, a INTEGER, b TEXT, c REAL, d, e NUMERIC);
    CREATE TABLE u(id INTEGER PRIMARY KEY, t_id INTEGER REFERENCES t ON DELETE CASCADE,
        a INT, b VARCHAR(9) COLLATE NOCASE, f BOOLEAN);
    CREATE TABLE w(id INTEGER PRIMARY KEY, u_id REFERENCES u ON DELETE SET NULL,
        a TEXT, x BLOB, g DATETIME);
    CREATE TABLE n(k TEXT PRIMARY KEY, a, v TEXT COLLATE RTRIM) WITHOUT ROWID;
    CREATE TRIGGER copy AFTER DELETE ON u WHEN old.a = 2 BEGIN
        INSERT OR REPLACE INTO n VALUES (coalesce(old.b, ''), old.id, 'gone');
    END;
    PRAGMA foreign_keys = ON;
";

/// A new database in memory.
pub fn open() -> Connection {
    let db = Connection::open_in_memory().unwrap();
    db.execute_batch(DDL).unwrap();
    for (name, columns, query) in VIEWS {
        db.execute_batch(&format!("CREATE VIEW {name}({}) AS {query}", columns.join(", ")))
            .unwrap();
    }
    db
}

/// What an adapter would read from the catalogue.
pub fn schema(db: &Connection) -> Schema {
    let mut schema = Schema::new().default_schema("main").complete();
    for (name, _) in TABLES {
        let mut info =
            db.prepare(&format!("SELECT name, type FROM pragma_table_xinfo('{name}')")).unwrap();
        let mut rows = info.query([]).unwrap();
        let mut table = Table::new(name);
        while let Some(row) = rows.next().unwrap() {
            let (column, declared): (String, String) = (row.get(0).unwrap(), row.get(1).unwrap());
            table = table.column(&column, ColumnKind::of_sqlite(&declared, ""));
        }
        schema = schema.table(table);
    }
    for (name, columns, query) in VIEWS {
        schema = schema.view_with_columns(name, query, columns);
    }
    schema
}

pub type Rows = Vec<Vec<Value>>;

/// The rows of a query; nothing if SQLite does not take it.
pub fn rows(db: &Connection, sql: &str, values: &[cacheops_sql::Value]) -> Result<Rows, String> {
    let mut statement = db.prepare(sql).map_err(|error| error.to_string())?;
    let width = statement.column_count();
    for (place, value) in values.iter().enumerate() {
        statement.raw_bind_parameter(place + 1, bound(value)).map_err(|error| error.to_string())?;
    }
    let mut rows = statement.raw_query();
    let mut all = Vec::new();
    while let Some(row) = rows.next().map_err(|error| error.to_string())? {
        all.push((0..width).map(|at| row.get_unwrap::<_, Value>(at)).collect());
    }
    Ok(all)
}

fn bound(value: &cacheops_sql::Value) -> Value {
    let cacheops_sql::Value::Scalar(scalar) = value else { panic!("{value:?} is not for SQLite") };
    match scalar {
        Scalar::Null => Value::Null,
        Scalar::Bool(value) => Value::Integer(i64::from(*value)),
        Scalar::Int(value) => Value::Integer(i64::try_from(*value).unwrap()),
        Scalar::Float(value) => Value::Real(*value),
        Scalar::Text(value) => Value::Text(value.clone()),
        Scalar::Bytes(value) => Value::Blob(value.clone()),
        other => panic!("{other:?} is not for SQLite"),
    }
}

/// All rows of all tables.
pub fn dump(db: &Connection) -> Vec<Rows> {
    TABLES
        .iter()
        .map(|(name, _)| rows(db, &format!("SELECT * FROM {name}"), &[]).unwrap())
        .collect()
}

/// A row as it is announced.
pub type Announced = BTreeMap<&'static str, Scalar>;

/// The rows that are in one of two dumps only: what hooks would tell, or less.
pub fn changes(before: &[Rows], after: &[Rows]) -> Vec<(&'static str, Announced)> {
    let mut changes = Vec::new();
    for (at, (table, columns)) in TABLES.iter().enumerate() {
        let mut gone = before[at].clone();
        let mut come = Vec::new();
        for row in &after[at] {
            match gone.iter().position(|other| other == row) {
                Some(place) => drop(gone.swap_remove(place)),
                None => come.push(row.clone()),
            }
        }
        for row in gone.into_iter().chain(come) {
            let row = columns.iter().copied().zip(row.iter().map(scalar)).collect();
            changes.push((*table, row));
        }
    }
    changes
}

fn scalar(value: &Value) -> Scalar {
    match ValueRef::from(value) {
        ValueRef::Null => Scalar::Null,
        ValueRef::Integer(value) => Scalar::Int(value.into()),
        ValueRef::Real(value) => Scalar::Float(value),
        ValueRef::Text(value) => Scalar::Text(String::from_utf8_lossy(value).into_owned()),
        ValueRef::Blob(value) => Scalar::Bytes(value.to_vec()),
    }
}
