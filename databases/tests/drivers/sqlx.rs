//! sqlx 0.9, by a pool.

use futures_util::TryStreamExt;
use sqlx::sqlite::{SqlitePool, SqlitePoolOptions};
use sqlx::{Executor, Row};

use crate::site::Site;

async fn pool(site: &Site) -> SqlitePool {
    let pool = SqlitePoolOptions::new().max_connections(3).connect(&site.url()).await.unwrap();
    site.keep(&Site::ALL);
    pool
}

#[tokio::test]
async fn statements_and_transactions() {
    let site = Site::new();
    let pool = pool(&site).await;
    sqlx::query("INSERT INTO posts VALUES (?, 'new', 0)").bind(3).execute(&pool).await.unwrap();
    site.expect_dropped(&[3]);
    sqlx::query("UPDATE posts SET votes = 1 WHERE id < 3").execute(&pool).await.unwrap();
    site.expect_dropped(&[1, 2]);
    let mut transaction = pool.begin().await.unwrap();
    sqlx::query("DELETE FROM posts WHERE id = 3").execute(&mut *transaction).await.unwrap();
    site.expect_dropped(&[]);
    transaction.commit().await.unwrap();
    site.expect_dropped(&[3]);
    let mut transaction = pool.begin().await.unwrap();
    sqlx::query("DELETE FROM posts").execute(&mut *transaction).await.unwrap();
    drop(transaction);
    site.expect_dropped(&[]);
    pool.execute("UPDATE posts SET votes = 2 WHERE id = 1; DELETE FROM posts WHERE id = 2")
        .await
        .unwrap();
    site.expect_dropped(&[1, 2]);
    pool.close().await;
}

#[tokio::test]
async fn returning_by_fetch_one() {
    let site = Site::new();
    let pool = pool(&site).await;
    for id in 3..=9_i64 {
        let sql = "INSERT INTO posts VALUES (?, 'new', 0) RETURNING id";
        let row = sqlx::query(sql).bind(id).fetch_one(&pool).await.unwrap();
        assert_eq!(row.get::<i64, _>(0), id);
        assert!(!site.is_hit(id));
        site.until_kept(id);
    }
    site.expect_dropped(&[]);
}

#[tokio::test]
async fn a_stream_that_is_dropped_half_read() {
    let site = Site::new();
    let pool = pool(&site).await;
    let sql = "UPDATE posts SET votes = votes + 1 RETURNING id";
    let mut connection = pool.acquire().await.unwrap();
    let mut rows = sqlx::query(sql).fetch(&mut *connection);
    rows.try_next().await.unwrap().unwrap();
    drop(rows);
    drop(connection);
    // Whoever has seen the new rows misses the old fragments.
    let votes = "SELECT votes FROM posts WHERE id = 1";
    while sqlx::query(votes).fetch_one(&pool).await.unwrap().get::<i64, _>(0) == 0 {}
    assert!(!site.is_hit(1) && !site.is_hit(2));
    site.until_kept(1);
    site.until_kept(2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_future_that_is_dropped_in_its_commit() {
    let site = Site::new();
    let pool = pool(&site).await;
    for round in 0..40_i64 {
        let mut transaction = pool.begin().await.unwrap();
        let sql = "UPDATE posts SET votes = ? WHERE id = 1";
        sqlx::query(sql).bind(round).execute(&mut *transaction).await.unwrap();
        site.keep(&[1]);
        let commit = transaction.commit();
        let limit = std::time::Duration::from_micros(round as u64 * 5);
        let _ = tokio::time::timeout(limit, commit).await;
        // It commits or not, and nobody can tell when; a reader of the new row misses.
        let votes = "SELECT votes FROM posts WHERE id = 1";
        let seen = sqlx::query(votes).fetch_one(&pool).await.unwrap().get::<i64, _>(0);
        assert!(seen != round || round == 0 || !site.is_hit(1), "stale in round {round}");
    }
}
