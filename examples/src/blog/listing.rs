//! Lists of articles: their contents, their pages, and what they depend on.

use minijinja_cacheops::cacheops::{Cacheops, FillError, QuerySet, eq, like};
use rusqlite::params;
use serde::{Deserialize, Serialize};

use super::db::Db;
use super::error::Error;

/// How many articles a page shows.
pub(crate) const PER_PAGE: u64 = 5;

/// Which articles.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "kind", content = "of")]
pub(crate) enum Selection {
    /// All of them.
    All,
    /// Those of the category with this id.
    Category(i64),
    /// Those that have the tag with this id.
    Tag(i64),
    /// Those by the author with this id.
    Author(i64),
    /// Those from a month, as `2026-03`.
    Month(String),
    /// Those that contain a text.
    Search(String),
}

/// A page of a list of articles, the newest first. Templates hand it back to
/// the `article_list` tag, so it goes both ways through serde.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Listing {
    #[serde(flatten)]
    pub(crate) selection: Selection,
    pub(crate) page: u64,
}

/// The part of a statement that selects.
struct Where {
    sql: &'static str,
    value: rusqlite::types::Value,
}

impl Selection {
    /// Whether it is what somebody searched for.
    pub(crate) fn is_search(&self) -> bool {
        matches!(self, Selection::Search(_))
    }

    /// What tells the cache which changed rows matter.
    pub(crate) fn queryset(&self) -> QuerySet {
        let articles = QuerySet::table("articles");
        match self {
            Selection::All => articles,
            Selection::Category(id) => articles.filter(eq("category_id", id)),
            Selection::Author(id) => articles.filter(eq("author_id", id)),
            Selection::Tag(id) => articles
                .join("article_tags", "id", "article_id")
                .filter(eq("article_tags.tag_id", id)),
            Selection::Month(month) => articles.filter(like("published_at", format!("{month}-%"))),
            Selection::Search(text) => articles.filter(like("body", contains(text))),
        }
    }

    fn condition(&self) -> Where {
        let (sql, value) = match self {
            Selection::All => ("?1 IS NULL", rusqlite::types::Value::Null),
            Selection::Category(id) => ("category_id = ?1", (*id).into()),
            Selection::Author(id) => ("author_id = ?1", (*id).into()),
            Selection::Tag(id) => {
                ("id IN (SELECT article_id FROM article_tags WHERE tag_id = ?1)", (*id).into())
            }
            Selection::Month(month) => ("published_at LIKE ?1", format!("{month}-%").into()),
            Selection::Search(text) => (
                "title LIKE ?1 ESCAPE '\\' OR summary LIKE ?1 ESCAPE '\\' \
                 OR body LIKE ?1 ESCAPE '\\'",
                contains(text).into(),
            ),
        };
        Where { sql, value }
    }

    /// How many articles there are: from the cache, but for a search.
    pub(crate) fn count(&self, cache: &Cacheops, db: &Db) -> Result<u64, Error> {
        let count = || -> Result<u64, Error> {
            let Where { sql, value } = self.condition();
            let sql = format!("SELECT count(*) FROM articles WHERE {sql}");
            Ok(db.row::<i64>(&sql, [value])?.map_or(0, i64::cast_unsigned))
        };
        if self.is_search() {
            return count();
        }
        let counted = cache.cached_as(self.queryset()).name("article-count");
        counted.get_or_fill(count).map_err(FillError::into_inner)
    }
}

impl Listing {
    /// What the page is made from.
    pub(crate) fn queryset(&self) -> QuerySet {
        let all = self.selection.queryset().order_by("-published_at").order_by("-id");
        all.limit(PER_PAGE).offset(self.offset())
    }

    /// The ids of its articles.
    pub(crate) fn ids(&self, db: &Db) -> rusqlite::Result<Vec<i64>> {
        let Where { sql, value } = self.selection.condition();
        let sql = format!(
            "SELECT id FROM articles WHERE {sql} \
             ORDER BY published_at DESC, id DESC LIMIT ?2 OFFSET ?3"
        );
        db.rows(&sql, params![value, PER_PAGE.cast_signed(), self.offset().cast_signed()])
    }

    fn offset(&self) -> u64 {
        self.page.saturating_sub(1).saturating_mul(PER_PAGE)
    }
}

/// A pattern for `LIKE … ESCAPE '\'` that matches what contains `text`.
fn contains(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len() + 2);
    pattern.push('%');
    for c in text.chars() {
        if matches!(c, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern.push('%');
    pattern
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by it")]
mod tests {
    use super::*;

    #[test]
    fn what_is_searched_for_is_no_pattern() {
        assert_eq!(contains("100%_\\"), "%100\\%\\_\\\\%");
    }

    #[test]
    fn a_listing_goes_both_ways_through_serde() {
        for selection in [Selection::All, Selection::Tag(3), Selection::Month("2026-03".into())] {
            let listing = Listing { selection, page: 2 };
            let json = serde_json::to_value(&listing).unwrap();
            assert_eq!(serde_json::from_value::<Listing>(json).unwrap(), listing);
        }
    }
}
