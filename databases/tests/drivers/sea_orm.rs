//! SeaORM 2.

use sea_orm::entity::prelude::*;
use sea_orm::{ActiveValue::Set, ConnectionTrait, Database, TransactionTrait};

use crate::site::Site;

mod posts {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
    #[sea_orm(table_name = "posts")]
    pub struct Model {
        #[sea_orm(primary_key)]
        pub id: i64,
        pub status: String,
        pub votes: i32,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

fn post(id: i64) -> posts::ActiveModel {
    posts::ActiveModel { id: Set(id), status: Set("new".to_owned()), votes: Set(0) }
}

#[tokio::test]
async fn active_models_and_statements() {
    let site = Site::new();
    let db = Database::connect(site.url()).await.unwrap();
    site.keep(&Site::ALL);
    // By RETURNING: its commit may end after the call.
    let inserted = post(3).insert(&db).await.unwrap();
    assert!(!site.is_hit(3));
    site.until_kept(3);
    site.expect_dropped(&[]);
    let mut changed: posts::ActiveModel = inserted.into();
    changed.votes = Set(5);
    let changed = changed.update(&db).await.unwrap();
    assert!(!site.is_hit(3));
    site.until_kept(3);
    site.expect_dropped(&[]);
    changed.delete(&db).await.unwrap();
    site.expect_dropped(&[3]);
    posts::Entity::insert_many([post(4), post(5)]).exec(&db).await.unwrap();
    site.expect_dropped(&[4, 5]);
    posts::Entity::update_many()
        .col_expr(posts::Column::Votes, Expr::value(7))
        .filter(posts::Column::Id.gt(3))
        .exec(&db)
        .await
        .unwrap();
    site.expect_dropped(&[4, 5]);
    posts::Entity::delete_many().filter(posts::Column::Id.eq(4)).exec(&db).await.unwrap();
    site.expect_dropped(&[4]);
    db.execute_unprepared("UPDATE posts SET votes = 9 WHERE id = 1").await.unwrap();
    site.expect_dropped(&[1]);
}

#[tokio::test]
async fn nested_transactions() {
    let site = Site::new();
    let db = Database::connect(site.url()).await.unwrap();
    site.keep(&Site::ALL);
    let outer = db.begin().await.unwrap();
    post(3).insert(&outer).await.unwrap();
    let inner = outer.begin().await.unwrap();
    post(4).insert(&inner).await.unwrap();
    inner.commit().await.unwrap();
    site.expect_dropped(&[]);
    outer.commit().await.unwrap();
    site.expect_dropped(&[3, 4]);
    let outer = db.begin().await.unwrap();
    posts::Entity::delete_many().exec(&outer).await.unwrap();
    outer.rollback().await.unwrap();
    site.expect_dropped(&[]);
}
