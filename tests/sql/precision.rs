//! How much is kept that a write does not concern, by kind of query.

use cacheops::Cacheops;
use cacheops_sql::{Dialect, Sql, Value};
use rusqlite::Connection;

use crate::random::Random;
use crate::world;

/// Queries as sites have them, each with how many of its needless drops by table
/// are spared at least, in percent.
const QUERIES: [(&str, &str, usize); 12] = [
    ("by key", "SELECT * FROM t WHERE id = ?1", 95),
    ("list", "SELECT * FROM t WHERE a = ?1 ORDER BY id DESC LIMIT 20", 80),
    ("count", "SELECT count(*) FROM u WHERE t_id = ?1", 95),
    ("two of many", "SELECT * FROM t WHERE id IN (?1, 40)", 90),
    ("join by key", "SELECT * FROM t JOIN u ON u.t_id = t.id WHERE t.id = ?1", 95),
    ("left join by key", "SELECT * FROM t LEFT JOIN u ON u.t_id = t.id WHERE t.id = ?1", 95),
    ("join by a filter of one side", "SELECT * FROM u JOIN t ON t.id = u.t_id WHERE t.a = ?1", 20),
    (
        "exists",
        "SELECT id FROM t WHERE id = ?1 AND EXISTS (SELECT 1 FROM u WHERE u.t_id = t.id)",
        95,
    ),
    ("in a query", "SELECT * FROM t WHERE id IN (SELECT t_id FROM u WHERE a = ?1)", 20),
    (
        "query in the list",
        "SELECT b, (SELECT count(*) FROM u WHERE u.t_id = t.id) FROM t WHERE id = ?1",
        95,
    ),
    ("view", "SELECT * FROM both WHERE id = ?1", 95),
    ("range", "SELECT * FROM t WHERE c > ?1", 0),
];

#[test]
fn queries_of_sites_are_spared_what_does_not_concern_them() {
    let db = world::open();
    let sql = Sql::new(Dialect::Sqlite, world::schema(&db));
    let mut random = Random::new(7);
    (0..400).for_each(|_| drop(db.execute_batch(&write(&mut random))));
    for (name, text, least) in QUERIES {
        let (spared, needless) = (0..60).fold((0, 0), |(spared, needless), _| {
            let value = Value::from(1 + random.below(40) as i64);
            let (more, of) = spared_of(&db, &sql, text, &[value], &mut random);
            (spared + more, needless + of)
        });
        let percent = 100 * spared / needless;
        println!("{name:30} {percent:3} % of {needless}");
        assert!(percent >= least, "{name}: {percent} %");
    }
}

/// How many writes a kept query is spared, of those to its tables that change
/// nothing of it.
fn spared_of(
    db: &Connection,
    sql: &Sql,
    text: &str,
    values: &[Value],
    random: &mut Random,
) -> (usize, usize) {
    let querysets = sql.statement(text).querysets(values).unwrap();
    let cache = Cacheops::in_memory();
    let is_hit = || {
        let mut hit = true;
        let call = querysets[1..].iter().fold(cache.cached_as(&querysets[0]), |c, q| c.also(q));
        let found: Result<bool, cacheops::FillError<cacheops::Error>> = call.get_or_fill(|| {
            hit = false;
            Ok(true)
        });
        found.unwrap() && hit
    };
    let (mut spared, mut needless) = (0, 0);
    for _ in 0..20 {
        is_hit();
        let (before, found) = (world::dump(db), world::rows(db, text, values).unwrap());
        let _ = db.execute_batch(&write(random));
        let changes = world::changes(&before, &world::dump(db));
        for (table, row) in &changes {
            cache.invalidate_obj(table, row).unwrap();
        }
        let hit = is_hit();
        let altered = found != world::rows(db, text, values).unwrap();
        assert!(!(altered && hit), "missed: {text} with {values:?}");
        let concerns = |(table, _): &(&str, _)| querysets.iter().any(|q| q.table_name() == *table);
        if changes.iter().any(concerns) && !altered {
            needless += 1;
            spared += usize::from(hit);
        }
    }
    (spared, needless)
}

/// A row that comes, changes or goes, as sites write: by key.
fn write(random: &mut Random) -> String {
    let mut number = |below: usize| random.below(below) as i64;
    let (id, parent, a, c) = (1 + number(40), 1 + number(40), number(8), number(100));
    match number(6) {
        0 => format!("INSERT OR IGNORE INTO t VALUES ({id}, {a}, 'b{a}', {c}, NULL, 1)"),
        1 => format!("UPDATE t SET a = {a} WHERE id = {id}"),
        2 => format!("UPDATE t SET c = {c} WHERE id = {id}"),
        3 => format!("INSERT OR IGNORE INTO u VALUES ({id}, {parent}, {a}, 'b{a}', 0)"),
        4 => format!("UPDATE u SET a = {a} WHERE id = {id}"),
        _ => format!("DELETE FROM u WHERE id = {id}"),
    }
}
