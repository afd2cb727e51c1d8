//! The promise, by brute force: random queries of random small databases, and
//! random writes. Whenever a write changes what a query results in, a row that
//! it wrote meets one of the query's querysets.
//!
//! `CACHEOPS_SQL_CASES` says how many writes are held against queries;
//! `CACHEOPS_SQL_SEED` where the random numbers begin; `CACHEOPS_SQL_SHOW` has
//! the queries shown that SQLite does not take, or that are refused.

use cacheops::{Cacheops, QuerySet};
use cacheops_sql::{Dialect, Sql, Value};
use rusqlite::Connection;

use crate::random::{self, Random};
use crate::world::{self, Announced, Rows};

/// A query that is kept.
struct Kept {
    sql: String,
    values: Vec<Value>,
    querysets: Vec<QuerySet>,
    rows: Rows,
}

/// What came of all cases.
#[derive(Debug, Default)]
struct Tally {
    queries: usize,
    invalid: usize,
    refused: usize,
    /// Writes held against a query.
    cases: usize,
    /// Those that touched a table of it.
    touching: usize,
    altered: usize,
    /// Those that touched a table, altered nothing, and dropped nothing.
    spared: usize,
}

fn setting(name: &str, default: usize) -> usize {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

#[test]
fn a_write_that_changes_a_result_meets_its_querysets() {
    let cases = setting("CACHEOPS_SQL_CASES", 20_000);
    let mut seed = setting("CACHEOPS_SQL_SEED", 1) as u64;
    let db = world::open();
    let mut tally = Tally::default();
    while tally.cases < cases {
        one_database(&db, &mut Random::new(seed), &mut tally, seed);
        seed += 1;
    }
    let needless = tally.touching - tally.altered;
    println!(
        "{tally:?}: of {needless} needless drops by table {:.1} % are spared",
        100.0 * tally.spared as f64 / needless as f64
    );
    assert!(tally.refused * 20 < tally.queries, "too many are refused: {tally:?}");
    assert!(tally.spared * 5 > needless, "too little is narrowed: {tally:?}");
}

fn one_database(db: &Connection, random: &mut Random, tally: &mut Tally, seed: u64) {
    for (table, _) in world::TABLES {
        db.execute_batch(&format!("DELETE FROM {table}")).unwrap();
    }
    for _ in 0..16 {
        let _ = db.execute_batch(&random::write(random));
    }
    let sql = Sql::new(Dialect::Sqlite, world::schema(db));
    let mut kept: Vec<Kept> = (0..16).filter_map(|_| keep(db, &sql, random, tally)).collect();
    // Two that are alike would share what is kept.
    kept.sort_by(|one, other| one.sql.cmp(&other.sql));
    kept.dedup_by(|one, other| one.sql == other.sql && one.values == other.values);
    for _ in 0..24 {
        let cache = Cacheops::in_memory();
        kept.iter().for_each(|query| assert!(!is_hit(&cache, query)));
        let before = world::dump(db);
        let write = random::write(random);
        let _ = db.execute_batch(&write);
        let changes = world::changes(&before, &world::dump(db));
        if changes.is_empty() {
            continue;
        }
        for (table, row) in &changes {
            cache.invalidate_obj(table, row).unwrap();
        }
        for query in &mut kept {
            let Ok(rows) = world::rows(db, &query.sql, &query.values) else { continue };
            let hit = is_hit(&cache, query);
            let altered = rows != query.rows;
            if altered && hit {
                missed(query, &rows, &write, &before, &changes, seed);
            }
            count(query, &changes, altered, hit, tally);
            query.rows = rows;
        }
    }
}

/// A random query that is not refused, with the rows that it finds.
fn keep(db: &Connection, sql: &Sql, random: &mut Random, tally: &mut Tally) -> Option<Kept> {
    let (text, values) = random::query(random);
    tally.queries += 1;
    let rows = match world::rows(db, &text, &values) {
        Ok(rows) => rows,
        Err(why) => {
            show("invalid", &why, &text);
            tally.invalid += 1;
            return None;
        }
    };
    match sql.statement(&text).querysets(&values) {
        Ok(querysets) => Some(Kept { sql: text, values, querysets, rows }),
        Err(refusal) => {
            show("refused", &refusal, &text);
            tally.refused += 1;
            None
        }
    }
}

fn show(what: &str, why: &dyn std::fmt::Display, text: &str) {
    if std::env::var_os("CACHEOPS_SQL_SHOW").is_some() {
        println!("{what}: {why}: {text}");
    }
}

fn is_hit(cache: &Cacheops, query: &Kept) -> bool {
    let (first, rest) = query.querysets.split_first().unwrap();
    let mut call = cache.cached_as(first);
    for queryset in rest {
        call = call.also(queryset);
    }
    let mut hit = true;
    let found: Result<bool, cacheops::FillError<cacheops::Error>> = call.get_or_fill(|| {
        hit = false;
        Ok(true)
    });
    found.unwrap() && hit
}

fn count(query: &Kept, changes: &[(&str, Announced)], altered: bool, hit: bool, tally: &mut Tally) {
    let reads = |table: &str| query.querysets.iter().any(|set| set.table_name() == table);
    let touching = changes.iter().any(|(table, _)| reads(table));
    tally.cases += 1;
    tally.touching += usize::from(touching);
    tally.altered += usize::from(altered);
    tally.spared += usize::from(touching && hit);
}

fn missed(
    query: &Kept,
    rows: &Rows,
    write: &str,
    before: &[Rows],
    changes: &[(&str, Announced)],
    seed: u64,
) {
    let querysets = serde_json::to_string_pretty(&query.querysets).unwrap();
    panic!(
        "a write was missed (seed {seed})\n{}\nwith {:?}\nwrite {write}\nrows before {before:?}\n\
         changes {changes:?}\nresult before {:?}\nafter {rows:?}\n{querysets}",
        query.sql, query.values, query.rows
    );
}
