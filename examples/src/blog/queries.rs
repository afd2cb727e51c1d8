//! The queries of the templates. Each function has a query and, beside it, the
//! queryset that tells the cache what the query reads.
//!
//! All but one are lazy: a call runs nothing. The query runs when the template
//! iterates over the rows, so not at all if the fragment around it is a hit.
//! Every fragment that iterates over the rows depends on them, down to the row:
//! `article(3)` inside a card makes the card depend on `articles: id = 3`.

use minijinja_cacheops::cacheops::{QuerySet, eq, is_in};
use rusqlite::params_from_iter;
use serde::Serialize;

use super::db::{
    Article, ArticleTag, Author, Category, Comment, Db, FromRow, MonthCount, Tag, TagCount, Totals,
};
use super::listing::Listing;
use super::templates::Functions;

/// A query that has not run, and what it reads.
pub(crate) struct Query<T> {
    pub(crate) queryset: QuerySet,
    pub(crate) run: Box<Run<T>>,
}

type Run<T> = dyn Fn(&Db) -> rusqlite::Result<Vec<T>> + Send + Sync;

impl<T: FromRow + 'static> Query<T> {
    fn all(queryset: QuerySet, sql: &'static str) -> Self {
        Query { queryset, run: Box::new(move |db| db.rows(sql, [])) }
    }

    fn by_id(queryset: QuerySet, sql: &'static str, id: i64) -> Self {
        Query { queryset, run: Box::new(move |db| db.rows(sql, [id])) }
    }
}

/// Adds the functions to an engine.
pub(crate) fn add_functions(to: &mut impl Functions) {
    add_single_rows(to);
    add_parts_of_an_article(to);
    add_counts(to);
    add_whole_tables(to);
    add_totals(to);
    to.by("articles_of", "listing", |listing: Listing| Query {
        queryset: listing.queryset(),
        run: Box::new(move |db| listing.ids(db)),
    });
}

/// Rows by their keys.
fn add_single_rows(to: &mut impl Functions) {
    let by_id = |table: &'static str| move |id| QuerySet::table(table).filter(eq("id", id));
    add_by_id::<Article>(to, "article", "SELECT * FROM articles WHERE id = ?1", by_id("articles"));
    add_by_id::<Author>(to, "author", "SELECT * FROM authors WHERE id = ?1", by_id("authors"));
    add_by_id::<Category>(
        to,
        "category",
        "SELECT * FROM categories WHERE id = ?1",
        by_id("categories"),
    );
    add_by_id::<Tag>(to, "tag", "SELECT * FROM tags WHERE id = ?1", by_id("tags"));
    add_by_id::<Comment>(to, "comment", "SELECT * FROM comments WHERE id = ?1", by_id("comments"));
}

/// What belongs to the article of an id.
fn add_parts_of_an_article(to: &mut impl Functions) {
    let of = |table: &'static str| move |id| QuerySet::table(table).filter(eq("article_id", id));
    add_by_id::<ArticleTag>(
        to,
        "tags_of",
        "SELECT * FROM article_tags WHERE article_id = ?1",
        of("article_tags"),
    );
    add_by_id::<i64>(
        to,
        "comments_of",
        "SELECT id FROM comments WHERE article_id = ?1 ORDER BY id",
        of("comments"),
    );
    add_by_id::<i64>(
        to,
        "comment_count",
        "SELECT count(*) FROM comments WHERE article_id = ?1",
        of("comments"),
    );
    to.by("tags_by_id", "ids", tags_by_id);
}

/// How many articles a category or an author has.
fn add_counts(to: &mut impl Functions) {
    add_by_id::<i64>(
        to,
        "articles_in_category",
        "SELECT count(*) FROM articles WHERE category_id = ?1",
        |id| QuerySet::table("articles").filter(eq("category_id", id)),
    );
    add_by_id::<i64>(
        to,
        "articles_by_author",
        "SELECT count(*) FROM articles WHERE author_id = ?1",
        |id| QuerySet::table("articles").filter(eq("author_id", id)),
    );
}

/// What any change of a table can change.
fn add_whole_tables(to: &mut impl Functions) {
    add_all::<Category>(to, "categories", "SELECT * FROM categories ORDER BY id", || {
        QuerySet::table("categories").order_by("id")
    });
    add_all::<Author>(to, "authors", "SELECT * FROM authors ORDER BY name", || {
        QuerySet::table("authors").order_by("name")
    });
    add_all::<TagCount>(
        to,
        "tag_cloud",
        "SELECT t.*, count(*) AS articles FROM tags t \
         JOIN article_tags a ON a.tag_id = t.id GROUP BY t.id ORDER BY t.name",
        || QuerySet::table("tags").join("article_tags", "id", "tag_id").order_by("name"),
    );
    add_all::<MonthCount>(
        to,
        "months",
        "SELECT substr(published_at, 1, 7) AS month, count(*) AS articles \
         FROM articles GROUP BY month ORDER BY month DESC",
        || QuerySet::table("articles").order_by("-published_at"),
    );
    add_all::<i64>(
        to,
        "newest_comments",
        "SELECT id FROM comments ORDER BY created_at DESC, id DESC LIMIT 5",
        || QuerySet::table("comments").order_by("-created_at").order_by("-id").limit(5),
    );
}

/// How much there is on the site. It is no queryset: what shows it is as old
/// as its time limit allows.
fn add_totals(to: &mut impl Functions) {
    const SQL: &str = "SELECT count(*) AS articles, \
        coalesce(sum(length(body) - length(replace(body, ' ', '')) + 1), 0) AS words, \
        (SELECT count(*) FROM comments) AS comments, \
        strftime('%H:%M:%S', 'now') AS counted_at FROM articles";
    to.plain("totals", |db| db.row::<Totals>(SQL, []));
}

/// The tags of some ids, by name.
fn tags_by_id(ids: Vec<i64>) -> Query<Tag> {
    let queryset = QuerySet::table("tags").filter(is_in("id", &ids)).order_by("name");
    let places = vec!["?"; ids.len()].join(", ");
    let sql = format!("SELECT * FROM tags WHERE id IN ({places}) ORDER BY name");
    Query { queryset, run: Box::new(move |db| db.rows(&sql, params_from_iter(&ids))) }
}

fn add_by_id<T: FromRow + Serialize + 'static>(
    to: &mut impl Functions,
    name: &'static str,
    sql: &'static str,
    queryset: impl Fn(i64) -> QuerySet + Send + Sync + 'static,
) {
    to.by(name, "id", move |id| Query::<T>::by_id(queryset(id), sql, id));
}

fn add_all<T: FromRow + Serialize + 'static>(
    to: &mut impl Functions,
    name: &'static str,
    sql: &'static str,
    queryset: impl Fn() -> QuerySet + Send + Sync + 'static,
) {
    to.all(name, move || Query::<T>::all(queryset(), sql));
}
