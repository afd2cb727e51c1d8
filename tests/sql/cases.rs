//! Counter-examples that a wrong rule was found by, shrunk: a query, and a
//! write that changes its result. A file of `cases/` holds paragraphs of them.

use cacheops::Cacheops;
use cacheops_sql::{Dialect, Sql, Value};

use crate::{rules, world};

#[test]
fn writes_that_once_were_missed_are_met() {
    let cases = include_str!("cases/found.txt");
    for case in cases.split("\n\n").filter(|case| case.lines().any(|line| !line.starts_with('#'))) {
        check(case);
    }
}

fn check(case: &str) {
    let db = world::open();
    let (mut query, mut write, mut values) = ("", "", Vec::<Value>::new());
    for line in case.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        match line.split_once(' ').unwrap() {
            ("rows", rows) => db.execute_batch(rows).unwrap(),
            ("query", text) => query = text,
            ("with", list) => values = list.split(", ").map(rules::value).collect(),
            ("write", text) => write = text,
            (other, _) => panic!("{other} in {case}"),
        }
    }
    let statement = Sql::new(Dialect::Sqlite, world::schema(&db)).statement(query);
    let querysets = statement.querysets(&values).unwrap();
    let cache = Cacheops::in_memory();
    let is_hit = || {
        let mut call = cache.cached_as(&querysets[0]);
        for queryset in &querysets[1..] {
            call = call.also(queryset);
        }
        let mut hit = true;
        let found: Result<bool, cacheops::FillError<cacheops::Error>> = call.get_or_fill(|| {
            hit = false;
            Ok(true)
        });
        found.unwrap() && hit
    };
    assert!(!is_hit());
    let (before, found) = (world::dump(&db), world::rows(&db, query, &values).unwrap());
    db.execute_batch(write).unwrap();
    let after = world::rows(&db, query, &values).unwrap();
    assert_ne!(found, after, "the write changes nothing: {case}");
    for (table, row) in world::changes(&before, &world::dump(&db)) {
        cache.invalidate_obj(table, &row).unwrap();
    }
    assert!(!is_hit(), "missed: {case}");
}
