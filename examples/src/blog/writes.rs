//! Changes of the database. Each is announced to the cache after its commit, with
//! exactly the rows that changed; an updated row with its old and its new values.
//!
//! Each function returns what to announce, and nothing if there is no row with
//! the id.

use std::collections::HashSet;

use minijinja_cacheops::cacheops::WriteEvent;
use rusqlite::{OptionalExtension, Params, Transaction, params};

use super::App;
use super::db::{Article, ArticleTag, Comment, FromRow, Tag};
use super::error::Error;

/// The time of a change, in UTC.
const NOW: &str = "strftime('%Y-%m-%d %H:%M:%S', 'now')";

/// The tables that forms change.
const CHANGING: [&str; 4] = ["articles", "article_tags", "comments", "tags"];

/// What has been committed, for the cache.
pub(crate) type Changes = Vec<WriteEvent>;

/// What an editor can change of an article.
#[derive(Debug)]
pub(crate) struct ArticleChange {
    pub(crate) title: String,
    pub(crate) summary: String,
    pub(crate) body: String,
    pub(crate) category_id: i64,
    pub(crate) author_id: i64,
    /// Names and slugs; those that are not there yet are made.
    pub(crate) tags: Vec<(String, String)>,
}

impl App {
    /// Changes an article and its tags.
    pub(crate) fn update_article(
        &self,
        id: i64,
        change: &ArticleChange,
    ) -> Result<Option<Changes>, Error> {
        let changes = self.db.write(|tx| {
            let Some(old) = one::<Article>(tx, "SELECT * FROM articles WHERE id = ?1", [id])?
            else {
                return Ok(None);
            };
            let mut events = write_tags(tx, id, &change.tags)?;
            if differs(&old, change) {
                let new = write_article(tx, id, change)?;
                events.push(WriteEvent::update("articles", &old, &new));
            }
            Ok(Some(events))
        })?;
        Ok(changes)
    }

    /// Adds a comment, and answers its id too.
    pub(crate) fn add_comment(
        &self,
        article: i64,
        name: &str,
        body: &str,
    ) -> Result<(i64, Changes), Error> {
        let sql = format!(
            "INSERT INTO comments (article_id, name, body, created_at) \
             VALUES (?1, ?2, ?3, {NOW}) RETURNING *"
        );
        let new = self
            .db
            .write(|tx| tx.query_row(&sql, params![article, name, body], Comment::from_row))?;
        Ok((new.id, vec![WriteEvent::insert("comments", &new)]))
    }

    /// Changes a comment.
    pub(crate) fn update_comment(
        &self,
        id: i64,
        name: &str,
        body: &str,
    ) -> Result<Option<Changes>, Error> {
        const SQL: &str = "UPDATE comments SET name = ?2, body = ?3 WHERE id = ?1 RETURNING *";
        let changes = self.db.write(|tx| {
            let Some(old) = one::<Comment>(tx, "SELECT * FROM comments WHERE id = ?1", [id])?
            else {
                return Ok(None);
            };
            if (old.name.as_str(), old.body.as_str()) == (name, body) {
                return Ok(Some(Vec::new()));
            }
            let new = tx.query_row(SQL, params![id, name, body], Comment::from_row)?;
            Ok(Some(vec![WriteEvent::update("comments", &old, &new)]))
        })?;
        Ok(changes)
    }

    /// Deletes a comment.
    pub(crate) fn delete_comment(&self, id: i64) -> Result<Option<Changes>, Error> {
        const SQL: &str = "DELETE FROM comments WHERE id = ?1 RETURNING *";
        let old = self.db.write(|tx| one::<Comment>(tx, SQL, [id]))?;
        Ok(old.map(|old| vec![WriteEvent::delete("comments", &old)]))
    }

    /// Tells the cache what has been committed. False if it did not get
    /// through to the other instances of the site: they, and this one as soon
    /// as Redis is back, may go on showing what was before.
    #[expect(clippy::print_stderr, reason = "the example's operator sits at the terminal")]
    pub(crate) fn announce(&self, changes: Changes) -> Result<bool, Error> {
        match self.cache.invalidate_batch(changes) {
            Ok(()) => Ok(true),
            Err(error) if error.is_transient() => {
                eprintln!("{error}");
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Announces all that forms can change, whatever could not be announced
    /// before.
    pub(crate) fn announce_all(&self) -> Result<bool, Error> {
        self.announce(CHANGING.map(WriteEvent::table).into())
    }
}

fn one<T: FromRow>(
    tx: &Transaction<'_>,
    sql: &str,
    params: impl Params,
) -> rusqlite::Result<Option<T>> {
    tx.query_row(sql, params, |row| T::from_row(row)).optional()
}

fn differs(old: &Article, change: &ArticleChange) -> bool {
    let ArticleChange { title, summary, body, category_id, author_id, tags: _ } = change;
    (&old.title, &old.summary, &old.body) != (title, summary, body)
        || (old.category_id, old.author_id) != (*category_id, *author_id)
}

fn write_article(
    tx: &Transaction<'_>,
    id: i64,
    change: &ArticleChange,
) -> rusqlite::Result<Article> {
    let sql = format!(
        "UPDATE articles SET title = ?2, summary = ?3, body = ?4, category_id = ?5, \
         author_id = ?6, updated_at = {NOW} WHERE id = ?1 RETURNING *"
    );
    let ArticleChange { title, summary, body, category_id, author_id, tags: _ } = change;
    let values = params![id, title, summary, body, category_id, author_id];
    tx.query_row(&sql, values, Article::from_row)
}

/// Gives an article just these tags: only the links that differ are touched,
/// so only they invalidate anything.
fn write_tags(
    tx: &Transaction<'_>,
    article_id: i64,
    tags: &[(String, String)],
) -> rusqlite::Result<Vec<WriteEvent>> {
    let mut events = Vec::new();
    let mut wanted = HashSet::new();
    for (name, slug) in tags {
        let (tag, is_new) = tag_of(tx, name, slug)?;
        if is_new {
            events.push(WriteEvent::insert("tags", &tag));
        }
        wanted.insert(tag.id);
    }
    let had = links(tx, article_id)?;
    for &tag_id in had.difference(&wanted) {
        let sql = "DELETE FROM article_tags WHERE article_id = ?1 AND tag_id = ?2";
        tx.execute(sql, [article_id, tag_id])?;
        events.push(WriteEvent::delete("article_tags", &ArticleTag { article_id, tag_id }));
    }
    for &tag_id in wanted.difference(&had) {
        let sql = "INSERT INTO article_tags (article_id, tag_id) VALUES (?1, ?2)";
        tx.execute(sql, [article_id, tag_id])?;
        events.push(WriteEvent::insert("article_tags", &ArticleTag { article_id, tag_id }));
    }
    Ok(events)
}

fn links(tx: &Transaction<'_>, article_id: i64) -> rusqlite::Result<HashSet<i64>> {
    let mut statement = tx.prepare("SELECT tag_id FROM article_tags WHERE article_id = ?1")?;
    statement.query_map([article_id], |row| row.get(0))?.collect()
}

/// The tag of a slug, made if there is none; whether it is new.
fn tag_of(tx: &Transaction<'_>, name: &str, slug: &str) -> rusqlite::Result<(Tag, bool)> {
    if let Some(tag) = one(tx, "SELECT * FROM tags WHERE slug = ?1", [slug])? {
        return Ok((tag, false));
    }
    let sql = "INSERT INTO tags (name, slug) VALUES (?1, ?2) RETURNING *";
    Ok((tx.query_row(sql, [name, slug], Tag::from_row)?, true))
}
