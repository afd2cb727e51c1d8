//! Changes of the database. Nothing here knows of the cache: SQLite tells it of each
//! row that a statement changes.

use rusqlite::{Transaction, params};

use super::App;
use super::error::Error;

/// The time of a change, in UTC.
const NOW: &str = "strftime('%Y-%m-%d %H:%M:%S', 'now')";

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
    /// Changes an article and its tags. False if there is no such article.
    pub(crate) fn update_article(&self, id: i64, change: &ArticleChange) -> Result<bool, Error> {
        // A form that changes nothing leaves the row, and what shows it, alone.
        let sql = format!(
            "UPDATE articles SET title = ?2, summary = ?3, body = ?4, category_id = ?5, \
             author_id = ?6, updated_at = {NOW} WHERE id = ?1 AND \
             (title, summary, body, category_id, author_id) IS NOT (?2, ?3, ?4, ?5, ?6)"
        );
        let ArticleChange { title, summary, body, category_id, author_id, tags } = change;
        Ok(self.db.write(|tx| {
            if !tx.prepare("SELECT 1 FROM articles WHERE id = ?1")?.exists([id])? {
                return Ok(false);
            }
            tx.execute(&sql, params![id, title, summary, body, category_id, author_id])?;
            write_tags(tx, id, tags)?;
            Ok(true)
        })?)
    }

    /// Adds a comment, and answers its id.
    pub(crate) fn add_comment(&self, article: i64, name: &str, body: &str) -> Result<i64, Error> {
        let sql = format!(
            "INSERT INTO comments (article_id, name, body, created_at) VALUES (?1, ?2, ?3, {NOW})"
        );
        Ok(self.db.write(|tx| {
            tx.execute(&sql, params![article, name, body])?;
            Ok(tx.last_insert_rowid())
        })?)
    }

    /// Changes a comment.
    pub(crate) fn update_comment(&self, id: i64, name: &str, body: &str) -> Result<(), Error> {
        const SQL: &str = "UPDATE comments SET name = ?2, body = ?3 \
            WHERE id = ?1 AND (name, body) IS NOT (?2, ?3)";
        self.db.write(|tx| tx.execute(SQL, params![id, name, body]))?;
        Ok(())
    }

    /// Deletes a comment.
    pub(crate) fn delete_comment(&self, id: i64) -> Result<(), Error> {
        self.db.write(|tx| tx.execute("DELETE FROM comments WHERE id = ?1", [id]))?;
        Ok(())
    }
}

/// Gives an article just these tags: only the links that differ are touched,
/// so only they invalidate anything.
fn write_tags(
    tx: &Transaction<'_>,
    article: i64,
    tags: &[(String, String)],
) -> rusqlite::Result<()> {
    let slugs = serde_json::json!(tags.iter().map(|(_, slug)| slug).collect::<Vec<_>>());
    tx.execute(
        "DELETE FROM article_tags WHERE article_id = ?1 AND tag_id NOT IN \
         (SELECT id FROM tags WHERE slug IN (SELECT value FROM json_each(?2)))",
        params![article, slugs.to_string()],
    )?;
    for (name, slug) in tags {
        tx.execute(
            "INSERT INTO tags (name, slug) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
            [name, slug],
        )?;
        tx.execute(
            "INSERT INTO article_tags SELECT ?1, id FROM tags WHERE slug = ?2 \
             ON CONFLICT DO NOTHING",
            params![article, slug],
        )?;
    }
    Ok(())
}
