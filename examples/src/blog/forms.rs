//! Forms: their fields, their mistakes, and their results.
//!
//! If a form has a mistake, the response has status 422. It shows what was typed,
//! and the mistake beside each field.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Form;
use axum::extract::rejection::FormRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};

use super::App;
use super::db::{Article, Author, Category, Comment, Place};
use super::error::Error;
use super::pages::{Page, Reply, Table, reply};
use super::templates::Values;
use super::visit::Visit;
use super::words::thousands;
use super::writes::ArticleChange;

/// Mistakes by the names of their fields.
pub(crate) type Errors = BTreeMap<&'static str, String>;

/// A form as it came, or why it could not be read.
type Sent<T> = Result<Form<T>, FormRejection>;

/// The form of an article.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct ArticleForm {
    title: String,
    summary: String,
    body: String,
    category: String,
    author: String,
    tags: String,
}

/// The form of a comment.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct CommentForm {
    name: String,
    body: String,
}

/// Takes the fields of a form one by one, and notes what is wrong.
#[derive(Default)]
struct Checks(Errors);

impl Checks {
    fn wrong(&mut self, field: &'static str, why: impl Into<String>) {
        self.0.entry(field).or_insert_with(|| why.into());
    }

    /// A text that must be there and may not be too long.
    fn text(&mut self, field: &'static str, text: &str, what: &str, limit: usize) -> String {
        let text = text.trim().replace("\r\n", "\n");
        let length = text.chars().count();
        if text.is_empty() {
            self.wrong(field, format!("{what} is needed."));
        } else if length > limit {
            let (limit, length) = (thousands(limit), thousands(length));
            self.wrong(field, format!("At most {limit} characters, please; these are {length}."));
        }
        text
    }

    /// The id of something to choose from.
    fn choice(&mut self, field: &'static str, id: &str, known: &[i64]) -> i64 {
        let id = id.parse().ok().filter(|id| known.contains(id));
        if id.is_none() {
            self.wrong(field, "Choose one of the list.");
        }
        id.unwrap_or_default()
    }

    /// Names and slugs of tags, from a list with commas.
    fn tags(&mut self, text: &str) -> Vec<(String, String)> {
        let mut tags: Vec<(String, String)> = Vec::new();
        for name in text.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            let slug = slug(name);
            if slug.is_empty() || name.chars().count() > 40 {
                self.wrong("tags", "A tag has letters or digits, and 40 characters at most.");
            } else if tags.iter().all(|(_, other)| *other != slug) {
                tags.push((name.to_owned(), slug));
            }
        }
        if tags.len() > 8 {
            self.wrong("tags", "At most 8 tags, please.");
        }
        tags
    }

    /// The result, if nothing was wrong.
    fn done<T>(self, value: T) -> Result<T, Errors> {
        if self.0.is_empty() { Ok(value) } else { Err(self.0) }
    }
}

/// A name as it stands in addresses: lower case, with dashes.
pub(crate) fn slug(name: &str) -> String {
    let lower = name.to_lowercase();
    let words = lower.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join("-")
}

impl ArticleForm {
    fn check(&self, choices: &Choices) -> Result<ArticleChange, Errors> {
        let mut checks = Checks::default();
        let categories: Vec<i64> = choices.categories.iter().map(|category| category.id).collect();
        let authors: Vec<i64> = choices.authors.iter().map(|author| author.id).collect();
        let change = ArticleChange {
            title: checks.text("title", &self.title, "A title", 200),
            summary: checks.text("summary", &self.summary, "A summary", 500),
            body: checks.text("body", &self.body, "A text", 100_000),
            category_id: checks.choice("category", &self.category, &categories),
            author_id: checks.choice("author", &self.author, &authors),
            tags: checks.tags(&self.tags),
        };
        checks.done(change)
    }
}

impl CommentForm {
    /// The name and the text.
    fn check(&self) -> Result<(String, String), Errors> {
        let mut checks = Checks::default();
        let name = checks.text("name", &self.name, "A name", 80);
        let body = checks.text("body", &self.body, "A comment", 5_000);
        checks.done((name, body))
    }
}

/// What there is to choose from in an article's form.
#[derive(Debug, Serialize)]
struct Choices {
    categories: Vec<Category>,
    authors: Vec<Author>,
}

impl App {
    fn choices(&self) -> Result<Choices, Error> {
        Ok(Choices {
            categories: self.db.rows("SELECT * FROM categories ORDER BY id", [])?,
            authors: self.db.rows("SELECT * FROM authors ORDER BY name", [])?,
        })
    }

    /// An article as its form shows it.
    fn article_form(&self, id: i64) -> Result<Option<ArticleForm>, Error> {
        let article: Option<Article> = self.db.row("SELECT * FROM articles WHERE id = ?1", [id])?;
        let tags: Vec<String> = self.db.rows(
            "SELECT t.name FROM tags t JOIN article_tags a ON a.tag_id = t.id \
             WHERE a.article_id = ?1 ORDER BY t.name",
            [id],
        )?;
        Ok(article.map(|article| ArticleForm {
            title: article.title,
            summary: article.summary,
            body: article.body,
            category: article.category_id.to_string(),
            author: article.author_id.to_string(),
            tags: tags.join(", "),
        }))
    }

    /// A comment and the slug of its article.
    fn comment(&self, id: i64) -> Result<Option<(Comment, String)>, Error> {
        let comment: Option<Comment> = self.db.row("SELECT * FROM comments WHERE id = ?1", [id])?;
        let Some(comment) = comment else { return Ok(None) };
        let sql = "SELECT slug FROM articles WHERE id = ?1";
        Ok(self.db.row(sql, [comment.article_id])?.map(|slug| (comment, slug)))
    }
}

/// The form of an article.
pub(crate) async fn edit_article(
    State(app): State<Arc<App>>,
    visit: Visit,
    Path(slug): Path<String>,
) -> Response {
    reply(app, visit, move |app| {
        let Some(place) = app.place(Table::Articles, &slug)? else { return not_found() };
        let Some(form) = app.article_form(place.id)? else { return not_found() };
        Ok(article_page(&slug, &form, &app.choices()?, Errors::new()))
    })
    .await
}

/// Saves an article.
pub(crate) async fn save_article(
    State(app): State<Arc<App>>,
    visit: Visit,
    Path(slug): Path<String>,
    sent: Sent<ArticleForm>,
) -> Response {
    reply(app, visit, move |app| {
        let Some(place) = app.place(Table::Articles, &slug)? else { return not_found() };
        let form = match sent {
            Ok(Form(form)) => form,
            Err(rejection) => return Ok(unreadable(&rejection)),
        };
        let choices = app.choices()?;
        match form.check(&choices) {
            Err(errors) => Ok(article_page(&slug, &form, &choices, errors)),
            Ok(change) if app.update_article(place.id, &change)? => Ok(saved(&slug, "")),
            Ok(_) => not_found(),
        }
    })
    .await
}

/// Adds a comment.
pub(crate) async fn add_comment(
    State(app): State<Arc<App>>,
    visit: Visit,
    Path(slug): Path<String>,
    sent: Sent<CommentForm>,
) -> Response {
    reply(app, visit, move |app| {
        let Some(place) = app.place(Table::Articles, &slug)? else { return not_found() };
        let form = match sent {
            Ok(Form(form)) => form,
            Err(rejection) => return Ok(unreadable(&rejection)),
        };
        match form.check() {
            Ok((name, body)) => {
                let id = app.add_comment(place.id, &name, &body)?;
                Ok(saved(&slug, &format!("#comment-{id}")))
            }
            Err(errors) => Ok(refused(commented(place, &slug, &form, errors))),
        }
    })
    .await
}

/// The form of a comment.
pub(crate) async fn edit_comment(
    State(app): State<Arc<App>>,
    visit: Visit,
    Path(id): Path<String>,
) -> Response {
    reply(app, visit, move |app| {
        let Some((comment, slug)) = app.comment(number(&id))? else { return not_found() };
        let form = CommentForm { name: comment.name, body: comment.body };
        Ok(comment_page(comment.id, &slug, &form, Errors::new()))
    })
    .await
}

/// Saves a comment.
pub(crate) async fn save_comment(
    State(app): State<Arc<App>>,
    visit: Visit,
    Path(id): Path<String>,
    sent: Sent<CommentForm>,
) -> Response {
    reply(app, visit, move |app| {
        let Some((comment, slug)) = app.comment(number(&id))? else { return not_found() };
        let form = match sent {
            Ok(Form(form)) => form,
            Err(rejection) => return Ok(unreadable(&rejection)),
        };
        match form.check() {
            Err(errors) => Ok(comment_page(comment.id, &slug, &form, errors)),
            Ok((name, body)) => {
                app.update_comment(comment.id, &name, &body)?;
                Ok(saved(&slug, &format!("#comment-{}", comment.id)))
            }
        }
    })
    .await
}

/// Deletes a comment.
pub(crate) async fn delete_comment(
    State(app): State<Arc<App>>,
    visit: Visit,
    Path(id): Path<String>,
) -> Response {
    reply(app, visit, move |app| {
        let Some((comment, slug)) = app.comment(number(&id))? else { return not_found() };
        app.delete_comment(comment.id)?;
        Ok(saved(&slug, "#comments"))
    })
    .await
}

/// Leads to where a change of an article or its comments is seen.
fn saved(slug: &str, anchor: &str) -> Reply {
    Reply::Redirect(format!("/article/{slug}{anchor}"))
}

/// An id from an address; 0, which no row has, for what is none.
fn number(text: &str) -> i64 {
    text.parse().unwrap_or_default()
}

/// An article with its comments, and a form for another.
pub(crate) fn commented(place: Place, slug: &str, form: &CommentForm, errors: Errors) -> Page {
    let values = Values::new().with("id", place.id).with("slug", slug);
    Page::new("article.html", place.name, values.with("fields", form).with("errors", errors))
}

fn article_page(slug: &str, form: &ArticleForm, choices: &Choices, errors: Errors) -> Reply {
    let is_wrong = !errors.is_empty();
    let values = Values::new().with("slug", slug).with("fields", form);
    let values = values.with("choices", choices).with("errors", errors);
    with_errors(is_wrong, Page::new("article_form.html", "Edit the article", values))
}

fn comment_page(id: i64, slug: &str, form: &CommentForm, errors: Errors) -> Reply {
    let is_wrong = !errors.is_empty();
    let values = Values::new().with("id", id).with("slug", slug);
    let values = values.with("fields", form).with("errors", errors);
    with_errors(is_wrong, Page::new("comment_form.html", "Edit the comment", values))
}

fn with_errors(is_wrong: bool, page: Page) -> Reply {
    if is_wrong { refused(page) } else { Reply::Page(page) }
}

fn refused(page: Page) -> Reply {
    Reply::Page(Page { status: StatusCode::UNPROCESSABLE_ENTITY, ..page })
}

fn not_found() -> Result<Reply, Error> {
    Ok(Reply::Page(Page::not_found()))
}

/// The page for a form that is too large, or none.
fn unreadable(rejection: &FormRejection) -> Reply {
    let status = rejection.status();
    Reply::Page(if status == StatusCode::PAYLOAD_TOO_LARGE {
        let text = "What was sent is larger than any form here. Go back to shorten it.";
        Page::message(status, "Too much text", text)
    } else {
        Page::message(status, "No form", "What was sent could not be read as a form.")
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by it")]
mod tests {
    use super::*;

    #[test]
    fn slugs_have_no_punctuation() {
        assert_eq!(slug("  Über & over, again! "), "über-over-again");
        assert_eq!(slug("—"), "");
    }

    #[test]
    fn tags_come_once_each() {
        let mut checks = Checks::default();
        let tags = checks.tags("Rust, rust,, caching");
        assert_eq!(
            tags.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(),
            ["Rust", "caching"]
        );
        assert!(checks.0.is_empty());
        checks.tags("a,b,c,d,e,f,g,h,i");
        assert!(checks.0.contains_key("tags"));
    }

    #[test]
    fn mistakes_stand_by_their_fields() {
        let form = CommentForm { name: "  ".into(), body: "x".repeat(5001) };
        let errors = form.check().unwrap_err();
        assert_eq!(errors["name"], "A name is needed.");
        assert_eq!(errors["body"], "At most 5,000 characters, please; these are 5,001.");
    }
}
