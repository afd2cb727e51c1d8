//! What templates can ask the database for: each function is a query and,
//! beside it, the queryset that tells the cache what it reads.
//!
//! All of them are lazy: calling one runs nothing; the query runs where the
//! template iterates the rows, so not at all where the fragment around it is a
//! hit. And whatever fragment iterates them depends on them, down to the row:
//! `article(3)` inside a card makes that card depend on `articles: id = 3`.

use minijinja::value::Serde;
use minijinja::{Environment, Error, ErrorKind, Value};
use minijinja_cacheops::cacheops::{Cacheops, QuerySet, eq, is_in};
use minijinja_cacheops::lazy;
use rusqlite::params_from_iter;
use serde::Serialize;

use super::db::{
    Article, ArticleTag, Author, Category, Comment, Db, FromRow, MonthCount, Tag, TagCount, Totals,
};

/// Where rows come from, and where what was made from them is kept.
#[derive(Clone)]
struct Source {
    cache: Cacheops,
    db: Db,
}

/// Adds the functions to an environment.
pub(crate) fn add_functions(env: &mut Environment<'_>, cache: &Cacheops, db: &Db) {
    let source = Source { cache: cache.clone(), db: db.clone() };
    add_single_rows(env, &source);
    add_parts_of_an_article(env, &source);
    add_counts(env, &source);
    add_whole_tables(env, &source);
    add_totals(env, source);
}

/// Rows by their keys.
fn add_single_rows(env: &mut Environment<'_>, source: &Source) {
    let by_id = |table: &'static str| move |id| QuerySet::table(table).filter(eq("id", id));
    source.add_by_id::<Article>(
        env,
        "article",
        "SELECT * FROM articles WHERE id = ?1",
        by_id("articles"),
    );
    source.add_by_id::<Author>(
        env,
        "author",
        "SELECT * FROM authors WHERE id = ?1",
        by_id("authors"),
    );
    source.add_by_id::<Category>(
        env,
        "category",
        "SELECT * FROM categories WHERE id = ?1",
        by_id("categories"),
    );
    source.add_by_id::<Tag>(env, "tag", "SELECT * FROM tags WHERE id = ?1", by_id("tags"));
    source.add_by_id::<Comment>(
        env,
        "comment",
        "SELECT * FROM comments WHERE id = ?1",
        by_id("comments"),
    );
}

/// What belongs to the article of an id.
fn add_parts_of_an_article(env: &mut Environment<'_>, source: &Source) {
    let of = |table: &'static str| move |id| QuerySet::table(table).filter(eq("article_id", id));
    source.add_by_id::<ArticleTag>(
        env,
        "tags_of",
        "SELECT * FROM article_tags WHERE article_id = ?1",
        of("article_tags"),
    );
    source.add_by_id::<i64>(
        env,
        "comments_of",
        "SELECT id FROM comments WHERE article_id = ?1 ORDER BY id",
        of("comments"),
    );
    source.add_by_id::<i64>(
        env,
        "comment_count",
        "SELECT count(*) FROM comments WHERE article_id = ?1",
        of("comments"),
    );
    let tags = source.clone();
    env.add_function("tags_by_id", move |ids: Vec<i64>| tags.tags(ids));
}

/// How many articles a category or an author has.
fn add_counts(env: &mut Environment<'_>, source: &Source) {
    source.add_by_id::<i64>(
        env,
        "articles_in_category",
        "SELECT count(*) FROM articles WHERE category_id = ?1",
        |id| QuerySet::table("articles").filter(eq("category_id", id)),
    );
    source.add_by_id::<i64>(
        env,
        "articles_by_author",
        "SELECT count(*) FROM articles WHERE author_id = ?1",
        |id| QuerySet::table("articles").filter(eq("author_id", id)),
    );
}

/// What any change of a table can change.
fn add_whole_tables(env: &mut Environment<'_>, source: &Source) {
    source.add_all::<Category>(env, "categories", "SELECT * FROM categories ORDER BY id", || {
        QuerySet::table("categories").order_by("id")
    });
    source.add_all::<Author>(env, "authors", "SELECT * FROM authors ORDER BY name", || {
        QuerySet::table("authors").order_by("name")
    });
    source.add_all::<TagCount>(
        env,
        "tag_cloud",
        "SELECT t.*, count(*) AS articles FROM tags t \
         JOIN article_tags a ON a.tag_id = t.id GROUP BY t.id ORDER BY t.name",
        || QuerySet::table("tags").join("article_tags", "id", "tag_id").order_by("name"),
    );
    source.add_all::<MonthCount>(
        env,
        "months",
        "SELECT substr(published_at, 1, 7) AS month, count(*) AS articles \
         FROM articles GROUP BY month ORDER BY month DESC",
        || QuerySet::table("articles").order_by("-published_at"),
    );
    source.add_all::<i64>(
        env,
        "newest_comments",
        "SELECT id FROM comments ORDER BY created_at DESC, id DESC LIMIT 5",
        || QuerySet::table("comments").order_by("-created_at").order_by("-id").limit(5),
    );
}

/// How much there is on the site. It is no queryset: what shows it is as old
/// as its time limit allows.
fn add_totals(env: &mut Environment<'_>, source: Source) {
    const SQL: &str = "SELECT count(*) AS articles, \
        coalesce(sum(length(body) - length(replace(body, ' ', '')) + 1), 0) AS words, \
        (SELECT count(*) FROM comments) AS comments, \
        strftime('%H:%M:%S', 'now') AS counted_at FROM articles";
    env.add_function("totals", move || match source.db.row::<Totals>(SQL, []) {
        Ok(totals) => Ok(Value::from(Serde(totals))),
        Err(error) => Err(Error::new(ErrorKind::InvalidOperation, "totals()").with_source(error)),
    });
}

impl Source {
    fn add_by_id<T: FromRow + Serialize + 'static>(
        &self,
        env: &mut Environment<'_>,
        name: &'static str,
        sql: &'static str,
        queryset: impl Fn(i64) -> QuerySet + Send + Sync + 'static,
    ) {
        let source = self.clone();
        env.add_function(name, move |id: i64| {
            let db = source.db.clone();
            lazy(&source.cache, queryset(id), move || db.rows::<T>(sql, [id]))
        });
    }

    fn add_all<T: FromRow + Serialize + 'static>(
        &self,
        env: &mut Environment<'_>,
        name: &'static str,
        sql: &'static str,
        queryset: impl Fn() -> QuerySet + Send + Sync + 'static,
    ) {
        let source = self.clone();
        env.add_function(name, move || {
            let db = source.db.clone();
            lazy(&source.cache, queryset(), move || db.rows::<T>(sql, []))
        });
    }

    /// The tags of some ids, by name.
    fn tags(&self, ids: Vec<i64>) -> Value {
        let queryset = QuerySet::table("tags").filter(is_in("id", &ids)).order_by("name");
        let places = vec!["?"; ids.len()].join(", ");
        let sql = format!("SELECT * FROM tags WHERE id IN ({places}) ORDER BY name");
        let db = self.db.clone();
        lazy(&self.cache, queryset, move || db.rows::<Tag>(&sql, params_from_iter(&ids)))
    }
}
