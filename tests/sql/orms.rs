//! SQL as object-relational mappers write it, and what becomes of it. The file
//! has the class of each text in front of it:
//!
//! - `narrow`: the rows of every table are narrowed;
//! - `part`: those of some;
//! - `whole`: none;
//! - `refused`.

use std::collections::BTreeMap;

use cacheops_sql::{ColumnKind, Dialect, Schema, Sql, Table, Value};

use crate::rules;

fn schema(dialect: Dialect) -> Schema {
    let kind = |name: &str| match dialect {
        Dialect::Sqlite => ColumnKind::of_sqlite(name, ""),
        Dialect::MySql => ColumnKind::of_mysql(name),
        _ => ColumnKind::of_postgres(name, true),
    };
    let tables: [(&str, &[(&str, &str)]); 6] = [
        (
            "articles",
            &[
                ("id", "bigint"),
                ("title", "varchar"),
                ("slug", "varchar"),
                ("body", "text"),
                ("status", "varchar"),
                ("published", "boolean"),
                ("score", "integer"),
                ("author_id", "bigint"),
                ("category_id", "bigint"),
                ("created_at", "timestamp"),
                ("deleted_at", "timestamp"),
            ],
        ),
        ("authors", &[("id", "bigint"), ("name", "varchar"), ("country", "varchar")]),
        ("categories", &[("id", "bigint"), ("name", "varchar"), ("parent_id", "bigint")]),
        ("tags", &[("id", "bigint"), ("name", "varchar")]),
        ("articles_tags", &[("id", "bigint"), ("article_id", "bigint"), ("tag_id", "bigint")]),
        (
            "comments",
            &[("id", "bigint"), ("article_id", "bigint"), ("body", "text"), ("spam", "boolean")],
        ),
    ];
    let with = |(name, columns): (&str, &[(&str, &str)])| {
        let add = |table: Table, (column, of): &(&str, &str)| table.column(column, kind(of));
        columns.iter().fold(Table::new(name), add)
    };
    tables.into_iter().fold(Schema::new().complete(), |schema, table| schema.table(with(table)))
}

fn class(dialect: Dialect, text: &str, values: &[Value]) -> &'static str {
    let sql = Sql::new(dialect, schema(dialect));
    let Ok(querysets) = sql.read(text).querysets(values) else {
        return "refused";
    };
    let narrowed = querysets.iter().filter(|queryset| {
        let json = serde_json::to_value(queryset).unwrap();
        let conditions = json["where"].as_array().cloned().unwrap_or_default();
        conditions.iter().any(|condition| condition.get("opaque").is_none())
    });
    match narrowed.count() {
        0 => "whole",
        all if all == querysets.len() => "narrow",
        _ => "part",
    }
}

#[test]
fn what_mappers_write_is_understood() {
    let mut counts: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    let (mut mapper, mut dialect) = ("", Dialect::Sqlite);
    let mut wrong = Vec::new();
    for line in include_str!("orms.txt").lines().filter(|line| !line.is_empty()) {
        if let Some(heading) = line.strip_prefix("## ") {
            let (name, of) = heading.split_once(", ").unwrap();
            mapper = name;
            dialect = match of {
                "SQLite" => Dialect::Sqlite,
                "PostgreSQL" => Dialect::Postgres,
                _ => Dialect::MySql,
            };
            continue;
        }
        let (expected, rest) = line.split_once(": ").unwrap();
        let (text, values) = rest.split_once(" -- ").unwrap_or((rest, ""));
        let values: Vec<Value> =
            values.split(", ").filter(|value| !value.is_empty()).map(rules::value).collect();
        let now = class(dialect, text, &values);
        if now != expected {
            let why = Sql::new(dialect, schema(dialect)).read(text).querysets(&values).err();
            wrong.push(format!("{now}, not {expected}: {text} {why:?}"));
        }
        *counts.entry((mapper, now)).or_default() += 1;
        *counts.entry(("all", now)).or_default() += 1;
    }
    println!("{counts:?}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
