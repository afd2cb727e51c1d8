//! The rules, one by one: what a text becomes. A file of `rules/` holds
//! paragraphs of a query, the values bound in it, and what it reads:
//!
//! ```text
//! # why
//! sqlite SELECT * FROM t WHERE a = ?
//!     with 3
//!     t: a = 3
//! ```
//!
//! `CACHEOPS_SQL_BLESS` writes down what the queries become now.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use cacheops::QuerySet;
use cacheops_sql::{ColumnKind, Dialect, Schema, Sql, Table, Value};
use serde_json::Value as Json;

use crate::world;

/// The tables of `world`, as another database would have them.
fn schema_of(dialect: Dialect) -> Schema {
    if dialect == Dialect::Sqlite {
        return world::schema(&world::open());
    }
    let kind = |name: &str| match dialect {
        Dialect::MySql => ColumnKind::of_mysql(name),
        _ => ColumnKind::of_postgres(name, true),
    };
    let types: [(&str, &[(&str, &str)]); 4] = [
        (
            "t",
            &[("id", "bigint"), ("a", "integer"), ("b", "text"), ("c", "real"), ("e", "numeric")],
        ),
        (
            "u",
            &[
                ("id", "bigint"),
                ("t_id", "bigint"),
                ("a", "integer"),
                ("b", "varchar(9)"),
                ("f", "boolean"),
            ],
        ),
        (
            "w",
            &[
                ("id", "uuid"),
                ("u_id", "bigint"),
                ("a", "text"),
                ("x", "bytea"),
                ("g", "timestamp"),
            ],
        ),
        ("n", &[("k", "text"), ("a", "integer"), ("v", "citext")]),
    ];
    let mut schema = Schema::new().default_schema("public");
    for (name, columns) in types {
        let add = |table: Table, (column, of): &(&str, &str)| table.column(column, kind(of));
        schema = schema.table(columns.iter().fold(Table::new(name), add));
    }
    schema.view("plain", "SELECT id, a, b AS z FROM t WHERE a = 1")
}

#[test]
fn queries_become_what_the_rules_say() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("sql/rules");
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty());
    for file in files {
        let written = std::fs::read_to_string(&file).unwrap();
        let now = written.split("\n\n").map(paragraph).collect::<Vec<_>>().join("\n\n") + "\n";
        if now != written && std::env::var_os("CACHEOPS_SQL_BLESS").is_some() {
            std::fs::write(&file, &now).unwrap();
        } else {
            for (now, written) in now.lines().zip(written.lines()) {
                assert_eq!(now, written, "in {}, which is now:\n{now}", file.display());
            }
            assert_eq!(now, written);
        }
    }
}

/// A paragraph as it would be written now.
fn paragraph(written: &str) -> String {
    let lines = written.trim_end().lines();
    let (mut kept, mut query, mut values) = (String::new(), String::new(), Vec::new());
    for line in lines {
        let is_result = line.starts_with("    ") && !line.starts_with("        ");
        match line.trim_start().strip_prefix("with ") {
            Some(list) if is_result => values = list.split(", ").map(value).collect(),
            _ if is_result => continue,
            _ if line.starts_with('#') => {}
            _ => query = format!("{query} {}", line.trim()),
        }
        let _ = writeln!(kept, "{line}");
    }
    if query.is_empty() {
        return written.trim_end().to_owned();
    }
    let (dialect, text) = query.trim().split_once(' ').unwrap();
    let dialect = match dialect {
        "sqlite" => Dialect::Sqlite,
        "postgres" => Dialect::Postgres,
        "mysql" => Dialect::MySql,
        other => panic!("no dialect {other} in {written}"),
    };
    let sql = Sql::new(dialect, schema_of(dialect));
    let reads = match sql.read(text).querysets(&values) {
        Ok(querysets) => querysets.iter().map(shown).collect::<Vec<_>>().join("\n"),
        Err(refusal) => format!("    refused: {refusal}"),
    };
    kept + &reads
}

/// A value as a fixture writes it.
pub fn value(text: &str) -> Value {
    if let Some(list) = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')) {
        let parts = list.split(' ').map(value).map(|value| match value {
            Value::Scalar(scalar) => scalar,
            other => panic!("{other:?} in a list"),
        });
        return Value::List(parts.collect());
    }
    match text {
        "NULL" => Value::NULL,
        "true" => true.into(),
        "false" => false.into(),
        text => match (text.parse::<i64>(), text.parse::<f64>()) {
            (Ok(whole), _) => whole.into(),
            (_, Ok(float)) => float.into(),
            _ => text.trim_matches('\'').into(),
        },
    }
}

/// A queryset in one line.
fn shown(queryset: &QuerySet) -> String {
    let json = serde_json::to_value(queryset).unwrap();
    let conditions = json["where"].as_array().cloned().unwrap_or_default();
    let conditions: Vec<String> = conditions.iter().filter_map(condition).collect();
    let all = if conditions.is_empty() { "*".to_owned() } else { conditions.join(" & ") };
    format!("    {}: {all}", queryset.table_name())
}

fn condition(json: &Json) -> Option<String> {
    let (kind, of) = json.as_object()?.iter().next()?;
    let inner = || of.as_array().unwrap().iter().filter_map(condition).collect::<Vec<_>>();
    Some(match kind.as_str() {
        "opaque" => return None,
        "eq" => format!("{} = {}", of[0].as_str()?, of[1]),
        "in" => format!("{} in {}", of[0].as_str()?, of[1]),
        "is_null" => format!("{} is null", of.as_str()?),
        "all" => inner().join(" & "),
        "any" => inner().join(" | "),
        other => panic!("an unknown condition {other}"),
    })
}
