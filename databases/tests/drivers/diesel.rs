//! Diesel 2.3, by a connection and by a pool of r2d2.

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::r2d2::{ConnectionManager, Pool};
use diesel::result::Error;

use crate::site::Site;

diesel::table! {
    posts (id) {
        id -> BigInt,
        status -> Text,
        votes -> Integer,
    }
}

fn insert(db: &mut SqliteConnection, id: i64) -> QueryResult<usize> {
    let values = (posts::id.eq(id), posts::status.eq("new"), posts::votes.eq(0));
    diesel::insert_into(posts::table).values(values).execute(db)
}

#[test]
fn statements_and_transactions() {
    let site = Site::new();
    let mut db = SqliteConnection::establish(&site.path()).unwrap();
    site.keep(&Site::ALL);
    insert(&mut db, 3).unwrap();
    site.expect_dropped(&[3]);
    let changed = diesel::update(posts::table.filter(posts::id.lt(3))).set(posts::votes.eq(1));
    changed.execute(&mut db).unwrap();
    site.expect_dropped(&[1, 2]);
    diesel::delete(posts::table.find(3)).execute(&mut db).unwrap();
    site.expect_dropped(&[3]);
    let result = db.transaction(|db| {
        insert(db, 4)?;
        db.transaction(|db| insert(db, 5))?;
        site.expect_dropped(&[]);
        Ok::<_, Error>(())
    });
    result.unwrap();
    site.expect_dropped(&[4, 5]);
    let result: QueryResult<()> = db.transaction(|db| {
        insert(db, 6)?;
        Err(Error::RollbackTransaction)
    });
    result.unwrap_err();
    site.expect_dropped(&[]);
    db.batch_execute("BEGIN; UPDATE posts SET votes = 3 WHERE id = 4; COMMIT").unwrap();
    site.expect_dropped(&[4]);
}

#[test]
fn returning() {
    let site = Site::new();
    let mut db = SqliteConnection::establish(&site.path()).unwrap();
    site.keep(&Site::ALL);
    let values = (posts::id.eq(7), posts::status.eq("new"), posts::votes.eq(0));
    let statement = diesel::insert_into(posts::table).values(values).returning(posts::id);
    assert_eq!(statement.get_result::<i64>(&mut db), Ok(7));
    assert!(!site.is_hit(7));
    site.until_kept(7);
    site.expect_dropped(&[]);
    // One that commits when its iterator is dropped.
    let rows = diesel::update(posts::table).set(posts::votes.eq(8)).returning(posts::id);
    let mut rows = rows.load_iter::<i64, diesel::connection::DefaultLoadingMode>(&mut db).unwrap();
    rows.next().unwrap().unwrap();
    site.expect_dropped(&[]);
    drop(rows);
    for id in [1, 2, 7] {
        assert!(!site.is_hit(id));
        site.until_kept(id);
    }
    site.expect_dropped(&[]);
}

#[test]
fn a_pool() {
    let site = Site::new();
    let manager = ConnectionManager::<SqliteConnection>::new(site.path());
    let pool = Pool::builder().max_size(3).build(manager).unwrap();
    site.keep(&Site::ALL);
    for id in 3..=9 {
        insert(&mut pool.get().unwrap(), id).unwrap();
        site.expect_dropped(&[id]);
    }
}
