//! SQL that is no good, or too much of it.

use cacheops::Scalar;
use cacheops_sql::{ColumnKind, Dialect, RefusalKind, Schema, Sql, Table, Value};

fn sql(dialect: Dialect) -> Sql {
    let table =
        |name| Table::new(name).column("id", ColumnKind::Integer).column("b", ColumnKind::Text);
    Sql::new(dialect, Schema::new().table(table("t")).view("v", "SELECT * FROM v"))
}

fn kind(text: &str, values: &[Value]) -> Option<RefusalKind> {
    sql(Dialect::Sqlite).read(text).querysets(values).err().map(|refusal| refusal.kind())
}

#[test]
fn text_that_is_no_query_is_refused() {
    for text in ["", ";", "  -- nothing", "SELECT", "(((", "'", "SELECT * FROM t WHERE", "\u{0}"] {
        assert_eq!(kind(text, &[]), Some(RefusalKind::Unparsed), "{text:?}");
        assert!(sql(Dialect::Sqlite).read(text).writes().everything().is_some(), "{text:?}");
    }
}

#[test]
fn values_that_do_not_fit_are_refused_or_narrow_nothing() {
    let text = "SELECT * FROM t WHERE id = ? AND b = ?";
    assert_eq!(kind(text, &[1.into()]), Some(RefusalKind::Parameters));
    assert_eq!(kind(text, &[1.into(), 2.into(), 3.into()]), Some(RefusalKind::Parameters));
    let odd = [
        f64::NAN.into(),
        f64::INFINITY.into(),
        Value::Other("bytes that are no text".into()),
        Value::List(vec![Scalar::Int(1)]),
        Value::Scalar(Scalar::BigInt(u128::MAX)),
        Value::Scalar(Scalar::Float(f64::NAN)),
        vec![0_u8, 255].into(),
    ];
    for value in odd {
        let querysets = sql(Dialect::Sqlite).read(text).querysets(&[value, "x".into()]).unwrap();
        assert!(querysets.iter().all(|queryset| queryset.check().is_ok()));
    }
}

#[test]
fn values_of_another_type_are_another_query() {
    let statement = sql(Dialect::Sqlite).statement("SELECT * FROM t WHERE id = ?");
    let values: [Value; 8] = [
        1.into(),
        1.0.into(),
        "1".into(),
        b"1".to_vec().into(),
        true.into(),
        Value::NULL,
        Value::Other("1".into()),
        Value::List(vec![Scalar::Int(1)]),
    ];
    let mut keys: Vec<String> = values
        .iter()
        .map(|value| {
            let querysets = statement.querysets(std::slice::from_ref(value)).unwrap();
            serde_json::to_string(&querysets).unwrap()
        })
        .collect();
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), values.len());
}

/// Threads of tests have small stacks, as those of servers do.
#[test]
fn too_much_is_refused_and_nothing_overflows() {
    let joins: String = (0..1000)
        .fold("SELECT 1 FROM t".into(), |sql, i| format!("{sql} JOIN t AS a{i} ON a{i}.id = t.id"));
    let list = vec!["1"; 10_000].join(", ");
    let long = format!("SELECT * FROM t WHERE b = '{}'", "x".repeat(1 << 20));
    assert_eq!(kind(&joins, &[]), None);
    assert_eq!(kind(&format!("SELECT * FROM t WHERE id IN ({list})"), &[]), None);
    assert_eq!(kind(&long, &[]), None);
    let deep = |open: &str, close: &str| {
        format!("SELECT {}1{} FROM t", open.repeat(20_000), close.repeat(20_000))
    };
    for text in [
        deep("(", ")"),
        deep("-", ""),
        deep("NOT ", ""),
        deep("(SELECT ", ")"),
        deep("", " + 1"),
        deep("", "::int"),
        deep("CASE WHEN 1 THEN ", " END"),
        format!("SELECT * FROM t WHERE {}id = 1", "id = 1 OR ".repeat(20_000)),
        format!("SELECT * FROM t WHERE {}id = 1", "id = 1 AND (".repeat(300)),
        format!("{}SELECT 1 FROM t", "SELECT 1 FROM t UNION ".repeat(20_000)),
        format!("SELECT * FROM {}t{}", "(".repeat(20_000), ")".repeat(20_000)),
        format!("SELECT b{} FROM t", " COLLATE NOCASE".repeat(20_000)),
        format!("SELECT b{} FROM t", "[1]".repeat(20_000)),
        format!("SELECT b{} FROM t", ".b".repeat(20_000)),
        format!("SELECT * FROM t{}", " NATURAL JOIN t".repeat(20_000)),
        format!("SELECT * FROM t WHERE b{}", " IS NULL".repeat(20_000)),
    ] {
        for dialect in [Dialect::Sqlite, Dialect::Postgres, Dialect::MySql] {
            let statement = sql(dialect).read(&text);
            let _ = (statement.querysets(&[]).is_ok(), statement.writes().is_empty());
        }
    }
}

#[test]
fn common_table_expressions_that_explode_are_refused() {
    let mut text = "WITH c0 AS (SELECT id FROM t)".to_owned();
    for i in 1..30 {
        text += &format!(", c{i} AS (SELECT a.id FROM c{0} a JOIN c{0} b ON a.id = b.id)", i - 1);
    }
    assert_eq!(kind(&format!("{text} SELECT * FROM c29"), &[]), Some(RefusalKind::Construct));
}

#[test]
fn a_view_in_itself_is_refused() {
    assert_eq!(kind("SELECT * FROM v", &[]), Some(RefusalKind::Table));
}

#[test]
fn names_that_no_event_can_have_are_refused_or_narrow_nothing() {
    for name in ["", "*", "a*b"] {
        assert_eq!(kind(&format!("SELECT * FROM \"{name}\""), &[]), Some(RefusalKind::Table));
    }
    let odd = Table::new("odd").column("a.b", ColumnKind::Integer).column("", ColumnKind::Integer);
    let sql = Sql::new(Dialect::Sqlite, Schema::new().table(odd));
    let statement = sql.statement("SELECT * FROM odd WHERE \"a.b\" = 1 AND \"\" = 2");
    assert!(statement.querysets(&[]).unwrap()[0].check().is_ok());
}
