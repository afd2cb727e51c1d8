//! What it costs to learn from SQL what a query reads: the first time, and
//! once its text is known.
//!
//! `cargo bench -p cacheops-tests --bench sql`

use std::hint::black_box;

use cacheops_sql::{ColumnKind, Dialect, Schema, Sql, Table, Value};
use criterion::{Criterion, criterion_group, criterion_main};

/// Queries as sites have them, and the values bound in them.
fn queries() -> Vec<(&'static str, &'static str, Vec<Value>)> {
    vec![
        (
            "by key",
            "SELECT id, title, body, category, author_id FROM articles WHERE id = ?1",
            vec![42.into()],
        ),
        (
            "list",
            "SELECT \"articles\".\"id\", \"articles\".\"title\", \"articles\".\"category\" \
             FROM \"articles\" WHERE (\"articles\".\"category\" = ? AND \
             \"articles\".\"status\" = ?) ORDER BY \"articles\".\"published\" DESC LIMIT 20",
            vec![3.into(), "published".into()],
        ),
        (
            "join",
            "SELECT a.id, a.title, u.name FROM articles a JOIN authors u ON u.id = a.author_id \
             WHERE a.author_id = ? AND a.status = 'published' ORDER BY a.id",
            vec![7.into()],
        ),
        (
            "exists",
            "SELECT u.id, u.name FROM authors u WHERE u.country = ? AND EXISTS \
             (SELECT 1 FROM articles a WHERE a.author_id = u.id AND a.category = ?)",
            vec!["de".into(), 3.into()],
        ),
    ]
}

fn schema() -> Schema {
    let articles = Table::new("articles")
        .column("id", ColumnKind::Integer)
        .column("title", ColumnKind::Text)
        .column("body", ColumnKind::Text)
        .column("category", ColumnKind::Integer)
        .column("status", ColumnKind::Text)
        .column("published", ColumnKind::Text)
        .column("author_id", ColumnKind::Integer);
    let authors = Table::new("authors")
        .column("id", ColumnKind::Integer)
        .column("name", ColumnKind::Text)
        .column("country", ColumnKind::Text);
    Schema::new().table(articles).table(authors)
}

fn speed(c: &mut Criterion) {
    let sql = Sql::new(Dialect::Sqlite, schema());
    for (name, text, values) in queries() {
        assert!(sql.statement(text).querysets(&values).is_ok());
        c.bench_function(&format!("{name}, first"), |bench| {
            bench.iter(|| sql.read(black_box(text)).querysets(black_box(&values)));
        });
        c.bench_function(&format!("{name}, known"), |bench| {
            bench.iter(|| sql.statement(black_box(text)).querysets(black_box(&values)));
        });
    }
}

criterion_group!(benches, speed);
criterion_main!(benches);
