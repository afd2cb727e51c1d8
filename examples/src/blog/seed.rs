//! The initial contents of the database: the articles of the handbook, and
//! comments on them.

use rusqlite::{Transaction, params};

use super::db::Db;
use super::error::Error;
use super::forms::slug;

/// Lists articles of the handbook, to be built into the program.
macro_rules! handbook {
    ($($slug:literal,)*) => {
        [$(($slug, include_str!(concat!("../../../docs/handbook/", $slug, ".md")))),*]
    };
}

const ARTICLES: [(&str, &str); 15] = handbook![
    "first-ten-minutes",
    "how-invalidation-works",
    "querysets",
    "tags-in-templates",
    "lazy-querysets",
    "announcing-changes",
    "time-and-memory",
    "tags-of-your-own",
    "nested-fragments",
    "what-makes-a-page-wrong",
    "watching-the-cache",
    "running-redis",
    "testing",
    "axum-template",
    "from-django-cacheops",
];

/// Comments: on which article, by whom, how many hours after it was published.
const COMMENTS: [(&str, &str, i64, &str); 13] = [
    (
        "first-ten-minutes",
        "Ruth",
        9,
        "Followed it step by step with an existing MiniJinja project. The part that took longest \
         was finding out which of my handlers write to the database.",
    ),
    (
        "first-ten-minutes",
        "Tomasz",
        30,
        "Do I need a cache server for this, or is it all in the process?",
    ),
    (
        "first-ten-minutes",
        "Ada Brandt",
        33,
        "All in the process, Tomasz. There is nothing to install and nothing to run beside it. \
         Redis comes in when there are several processes.",
    ),
    (
        "how-invalidation-works",
        "Priya",
        14,
        "So the cost of a write depends on how many different shapes of queries there are, and not \
         on how many fragments are kept. That was the sentence I was missing.",
    ),
    (
        "querysets",
        "Daniel",
        20,
        "One thing to remember: a comparison such as \"newer than\" identifies the queryset, but \
         every change of the table invalidates it.",
    ),
    (
        "lazy-querysets",
        "Ines",
        26,
        "Loaded a page twice and watched the bar at its foot: the number of queries went to zero. \
         A good way to see that a query really does not run.",
    ),
    (
        "announcing-changes",
        "Oskar",
        11,
        "We had the call before the commit in one place. A reader in between filled the cache with \
         the old row, and it stayed. After the commit, always.",
    ),
    (
        "announcing-changes",
        "Mei Lindqvist",
        16,
        "That is the most common mistake of all, Oskar, and hard to see in a test.",
    ),
    (
        "nested-fragments",
        "Ruth",
        40,
        "The outlines on this site helped me more than the text: edit a comment, go back to the \
         front page, and look at what is orange.",
    ),
    (
        "what-makes-a-page-wrong",
        "Henrik",
        18,
        "I would print this list and put it next to the desk.",
    ),
    (
        "watching-the-cache",
        "Priya",
        52,
        "Is it safe to leave the inspecting on in production, or is it only for development?",
    ),
    (
        "from-django-cacheops",
        "Camille",
        12,
        "The tags have the same two forms, so most of our templates needed no change.",
    ),
    (
        "running-redis",
        "Daniel",
        7,
        "So the default is an error when a change could not be announced. I had looked for a way \
         to ignore it, and now I know why there is none.",
    ),
];

/// An article as its file holds it.
#[derive(Debug, PartialEq)]
struct File<'t> {
    title: &'t str,
    category: &'t str,
    tags: Vec<&'t str>,
    author: &'t str,
    published: &'t str,
    summary: &'t str,
    body: &'t str,
}

/// Fills a database that has no articles, and leaves any other alone.
pub(crate) fn fill_if_empty(db: &Db) -> Result<(), Error> {
    let files = ARTICLES.iter().map(|(slug, text)| match read(text) {
        Some(file) => Ok((*slug, file)),
        None => Err(Error::Seed(format!("{slug} has no proper front matter"))),
    });
    let files: Vec<(&str, File<'_>)> = files.collect::<Result<_, Error>>()?;
    db.write(|tx| {
        if tx.query_row("SELECT EXISTS (SELECT 1 FROM articles)", [], |row| row.get(0))? {
            return Ok(());
        }
        files.iter().try_for_each(|(slug, file)| insert_article(tx, slug, file))?;
        COMMENTS.iter().try_for_each(|comment| insert_comment(tx, comment))
    })?;
    Ok(())
}

/// Reads the front matter between two lines of dashes, and the text below.
fn read(text: &str) -> Option<File<'_>> {
    let (front, body) = text.strip_prefix("---\n")?.split_once("\n---\n")?;
    let field = |name: &str| {
        let lines = front.lines().filter_map(|line| line.split_once(':'));
        let (_, value) = lines.into_iter().find(|(key, _)| key.trim() == name)?;
        Some(value.trim().trim_matches('"'))
    };
    Some(File {
        title: field("title")?,
        category: field("category")?,
        tags: field("tags")?.split(',').map(str::trim).filter(|tag| !tag.is_empty()).collect(),
        author: field("author")?,
        published: field("published")?,
        summary: field("summary")?,
        body: body.trim(),
    })
}

fn insert_article(tx: &Transaction<'_>, article: &str, file: &File<'_>) -> rusqlite::Result<()> {
    let category = id_of(tx, "categories", file.category)?;
    let author = id_of(tx, "authors", file.author)?;
    tx.execute(
        "INSERT INTO articles (title, slug, summary, body, category_id, author_id, published_at, \
         updated_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?7 || ' 08:00:00')",
        params![file.title, article, file.summary, file.body, category, author, file.published],
    )?;
    let id = tx.last_insert_rowid();
    for tag in &file.tags {
        let tag = id_of(tx, "tags", tag)?;
        tx.execute("INSERT OR IGNORE INTO article_tags VALUES (?1, ?2)", [id, tag])?;
    }
    Ok(())
}

/// The id of a category, an author or a tag, made if there is none.
fn id_of(tx: &Transaction<'_>, table: &'static str, name: &str) -> rusqlite::Result<i64> {
    let sql = format!(
        "INSERT INTO {table} (name, slug) VALUES (?1, ?2) \
         ON CONFLICT (slug) DO UPDATE SET slug = slug RETURNING id"
    );
    tx.query_row(&sql, [name, &slug(name)], |row| row.get(0))
}

fn insert_comment(
    tx: &Transaction<'_>,
    (article, name, hours, body): &(&str, &str, i64, &str),
) -> rusqlite::Result<()> {
    tx.execute(
        "INSERT INTO comments (article_id, name, body, created_at) \
         SELECT id, ?2, ?3, strftime('%Y-%m-%d %H:%M:%S', published_at, ?4 || ' hours') \
         FROM articles WHERE slug = ?1",
        params![article, name, body, hours],
    )?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_articles_have_front_matter() {
        for (slug, text) in ARTICLES {
            let file = read(text);
            assert!(file.as_ref().is_some_and(|file| !file.body.is_empty()), "{slug}: {file:?}");
        }
    }
}
