//! The database: its tables, its rows, and its queries.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rusqlite::{Connection, Params, Row, Transaction, TransactionBehavior};
use serde::{Deserialize, Serialize};

use super::bar;

/// The tables of the site.
const SCHEMA: &str = include_str!("../../blog/schema.sql");

/// A handle of the database, cheap to clone.
///
/// The connection is locked for one query or one transaction at a time, and
/// never while a template is being rendered: rendering asks for rows itself.
#[derive(Clone)]
pub(crate) struct Db(Arc<Mutex<Connection>>);

impl Db {
    /// Opens the file, and makes the tables where there are none.
    pub(crate) fn open(path: &Path) -> rusqlite::Result<Self> {
        let connection = Connection::open(path)?;
        connection.execute_batch(SCHEMA)?;
        Ok(Db(Arc::new(Mutex::new(connection))))
    }

    /// What tells this database from others.
    pub(crate) fn id(&self) -> rusqlite::Result<String> {
        self.lock().query_row("SELECT id FROM site", [], |row| row.get(0))
    }

    fn lock(&self) -> MutexGuard<'_, Connection> {
        // A panic elsewhere rolled its transaction back: the connection is fine.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The rows that a query gives, counted for the bar of the page.
    pub(crate) fn rows<T: FromRow>(
        &self,
        sql: &str,
        params: impl Params,
    ) -> rusqlite::Result<Vec<T>> {
        bar::count_query();
        let connection = self.lock();
        let mut statement = connection.prepare_cached(sql)?;
        statement.query_map(params, |row| T::from_row(row))?.collect()
    }

    /// The first row that a query gives.
    pub(crate) fn row<T: FromRow>(
        &self,
        sql: &str,
        params: impl Params,
    ) -> rusqlite::Result<Option<T>> {
        Ok(self.rows(sql, params)?.into_iter().next())
    }

    /// Runs `work` in a transaction, and commits it if `work` succeeds.
    pub(crate) fn write<R>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<R>,
    ) -> rusqlite::Result<R> {
        let mut connection = self.lock();
        // Another process may write too: it waits from the beginning, so that
        // what `work` reads is what it changes.
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let result = work(&transaction)?;
        transaction.commit()?;
        Ok(result)
    }
}

/// What a row of a result is read as.
pub(crate) trait FromRow: Sized {
    /// Reads the columns by their names or places.
    fn from_row(row: &Row<'_>) -> rusqlite::Result<Self>;
}

impl FromRow for i64 {
    fn from_row(row: &Row<'_>) -> rusqlite::Result<Self> {
        row.get(0)
    }
}

impl FromRow for String {
    fn from_row(row: &Row<'_>) -> rusqlite::Result<Self> {
        row.get(0)
    }
}

/// Defines a struct of columns that reads itself from a row of these names.
macro_rules! rows {
    ($($(#[$doc:meta])* $name:ident { $($column:ident: $type:ty,)* })*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        pub(crate) struct $name {
            $(pub(crate) $column: $type,)*
        }

        impl FromRow for $name {
            fn from_row(row: &Row<'_>) -> rusqlite::Result<Self> {
                Ok($name { $($column: row.get(stringify!($column))?,)* })
            }
        }
    )*};
}

rows! {
    /// Who writes; a row of `authors`.
    Author { id: i64, name: String, slug: String, }

    /// A row of `categories`.
    Category { id: i64, name: String, slug: String, }

    /// A row of `tags`.
    Tag { id: i64, name: String, slug: String, }

    /// A row of `article_tags`.
    ArticleTag { article_id: i64, tag_id: i64, }

    /// A row of `articles`; its body is Markdown.
    Article {
        id: i64,
        title: String,
        slug: String,
        summary: String,
        body: String,
        category_id: i64,
        author_id: i64,
        published_at: String,
        updated_at: String,
    }

    /// A row of `comments`; its body is plain text.
    Comment { id: i64, article_id: i64, name: String, body: String, created_at: String, }

    /// A tag and how many articles have it.
    TagCount { id: i64, name: String, slug: String, articles: i64, }

    /// A month, as `2026-03`, and how many articles are from it.
    MonthCount { month: String, articles: i64, }

    /// How much there is on the site.
    Totals { articles: i64, comments: i64, words: i64, counted_at: String, }

    /// Something with a page of its own.
    Place { id: i64, name: String, }
}
