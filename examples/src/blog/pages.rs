//! The pages, and how a page is rendered.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::response::{Html, IntoResponse, Redirect, Response};
use minijinja_cacheops::cacheops::{FillError, QuerySet, eq};
use serde::Deserialize;

use super::db::Place;
use super::error::Error;
use super::forms::{CommentForm, Errors};
use super::listing::{Listing, PER_PAGE, Selection};
use super::live::Snapshot;
use super::shared::Line;
use super::templates::Values;
use super::visit::Visit;
use super::{App, bar, forms, words};

/// The longest text that is searched for, in characters.
const LONGEST_SEARCH: usize = 100;

/// A page to be rendered.
pub(crate) struct Page {
    pub(crate) status: StatusCode,
    pub(crate) template: &'static str,
    pub(crate) title: String,
    pub(crate) values: Values,
}

/// What answers a request.
pub(crate) enum Reply {
    /// A page.
    Page(Page),
    /// Another address, after a change.
    Redirect(String),
}

impl Page {
    pub(crate) fn new(template: &'static str, title: impl Into<String>, values: Values) -> Self {
        Page { status: StatusCode::OK, template, title: title.into(), values }
    }

    /// A page that says why there is no other.
    pub(crate) fn message(status: StatusCode, title: &str, text: &str) -> Self {
        let values = Values::new().with("heading", title).with("text", text);
        Page { status, ..Page::new("message.html", title, values) }
    }

    /// The page for an address that leads nowhere.
    pub(crate) fn not_found() -> Self {
        let text = "There is nothing at this address. It may have been mistyped, or what was \
                    here is gone.";
        Page::message(StatusCode::NOT_FOUND, "Not found", text)
    }
}

/// Makes a reply in a thread that may block, with its bar at the foot.
pub(crate) async fn reply<F>(app: Arc<App>, visit: Visit, make: F) -> Response
where
    F: FnOnce(&App) -> Result<Reply, Error> + Send + 'static,
{
    let work = tokio::task::spawn_blocking(move || {
        bar::begin();
        app.look_for_external_writes();
        let done = make(&app).and_then(|reply| app.render(&visit, reply));
        bar::end();
        done.unwrap_or_else(|error| app.failure(&error))
    });
    work.await.unwrap_or_else(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response())
}

async fn page<F>(app: Arc<App>, visit: Visit, make: F) -> Response
where
    F: FnOnce(&App) -> Result<Page, Error> + Send + 'static,
{
    reply(app, visit, |app| make(app).map(Reply::Page)).await
}

impl App {
    fn render(&self, visit: &Visit, reply: Reply) -> Result<Response, Error> {
        let page = match reply {
            Reply::Page(page) => page,
            Reply::Redirect(to) => return Ok(Redirect::to(&to).into_response()),
        };
        let views = Values::new()
            .with("cards", visit.with("view=cards"))
            .with("titles", visit.with("view=titles"));
        let values = page.values.with("title", page.title).with("outline", visit.outline);
        let values = values.with("view", visit.view).with("views", views);
        let mut html = self.templates.render(page.template, &values)?;
        self.add_bar(visit, &mut html)?;
        Ok((page.status, headers(), Html(html)).into_response())
    }

    /// Ends a page. The bar tells of the page, so it comes when that is made,
    /// and is part of no fragment.
    fn add_bar(&self, visit: &Visit, html: &mut String) -> Result<(), Error> {
        let Some(record) = bar::end() else { return Ok(()) };
        let summary = record.summary(&visit.here);
        let outlines = visit.outline.then(|| record.outlines(html, &self.cache));
        let switch = visit.with(if visit.outline { "outline=0" } else { "outline=1" });
        let values = Values::new()
            .with("bar", &summary)
            .with("line", Line::of(&self.cache))
            .with("outline", visit.outline)
            .with("outlines", outlines)
            .with("switch", switch);
        html.push_str(&self.templates.render("bar.html", &values)?);
        // Watching is not to push what is watched out of the log.
        if !visit.here.starts_with("/cache") {
            self.log.note_request(summary);
        }
        Ok(())
    }

    /// The page for a mistake in the program, which goes to its operator.
    #[expect(clippy::print_stderr, reason = "the example's operator sits at the terminal")]
    fn failure(&self, error: &Error) -> Response {
        eprintln!("{}", self.templates.explain(error));
        let text = "Something went wrong here. It has been noted.";
        (StatusCode::INTERNAL_SERVER_ERROR, text).into_response()
    }

    /// What has a page of its own under `slug`, from the cache.
    pub(crate) fn place(&self, table: Table, slug: &str) -> Result<Option<Place>, Error> {
        let (table, sql) = match table {
            Table::Articles => {
                ("articles", "SELECT id, title AS name FROM articles WHERE slug = ?1")
            }
            Table::Categories => ("categories", "SELECT id, name FROM categories WHERE slug = ?1"),
            Table::Tags => ("tags", "SELECT id, name FROM tags WHERE slug = ?1"),
            Table::Authors => ("authors", "SELECT id, name FROM authors WHERE slug = ?1"),
        };
        let place = QuerySet::table(table).filter(eq("slug", slug));
        let place = self.cache.cached_as(place).name("address");
        let found = place.get_or_fill(|| Ok(self.db.row::<Place>(sql, [slug])?));
        found.map_err(FillError::into_inner)
    }

    /// A page of a list: what its template needs, or nothing beyond the last.
    fn listing(&self, selection: Selection, page: u64) -> Result<Option<Listed>, Error> {
        let count = selection.count(&self.cache, &self.db)?;
        let pages = count.div_ceil(PER_PAGE).max(1);
        if page == 0 || page > pages {
            return Ok(None);
        }
        let listing = Listing { selection, page };
        let values = Values::new().with("listing", listing).with("count", count);
        Ok(Some(Listed { count, values: values.with("page", page).with("pages", pages) }))
    }
}

/// A page of a list.
struct Listed {
    count: u64,
    values: Values,
}

impl Listed {
    /// What its template needs, with where its other pages are: an address up
    /// to their numbers.
    fn at(self, base: String) -> Values {
        self.values.with("base", base)
    }
}

/// Tables whose rows have pages.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Table {
    /// Articles.
    Articles,
    /// Categories.
    Categories,
    /// Tags.
    Tags,
    /// Authors.
    Authors,
}

/// What every page says to browsers besides its content.
fn headers() -> [(axum::http::HeaderName, &'static str); 4] {
    let policy =
        "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'";
    [
        (CACHE_CONTROL, "no-store"),
        (CONTENT_SECURITY_POLICY, policy),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "same-origin"),
    ]
}

/// What a list's address says besides its path.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Asked {
    page: Option<String>,
    q: Option<String>,
}

impl Asked {
    /// The page's number; 0, which there is none of, for what is no number.
    fn page(&self) -> u64 {
        self.page.as_deref().map_or(1, |page| page.parse().unwrap_or(0))
    }
}

type Asks = (State<Arc<App>>, Visit, Query<Asked>);

/// The newest articles.
pub(crate) async fn front((State(app), visit, Query(asked)): Asks) -> Response {
    page(app, visit, move |app| {
        let Some(listing) = app.listing(Selection::All, asked.page())? else {
            return Ok(Page::not_found());
        };
        Ok(Page::new("front.html", "The cacheops handbook", listing.at("/?".to_owned())))
    })
    .await
}

/// The articles of a category.
pub(crate) async fn category(Path(slug): Path<String>, asks: Asks) -> Response {
    by_place(Table::Categories, "category", slug, Selection::Category, asks).await
}

/// The articles of a tag.
pub(crate) async fn tag(Path(slug): Path<String>, asks: Asks) -> Response {
    by_place(Table::Tags, "tag", slug, Selection::Tag, asks).await
}

/// The articles of an author.
pub(crate) async fn author(Path(slug): Path<String>, asks: Asks) -> Response {
    by_place(Table::Authors, "author", slug, Selection::Author, asks).await
}

async fn by_place(
    table: Table,
    kind: &'static str,
    slug: String,
    selection: fn(i64) -> Selection,
    (State(app), visit, Query(asked)): Asks,
) -> Response {
    page(app, visit, move |app| {
        let Some(place) = app.place(table, &slug)? else { return Ok(Page::not_found()) };
        let Some(listing) = app.listing(selection(place.id), asked.page())? else {
            return Ok(Page::not_found());
        };
        let values = listing.at(format!("/{kind}/{slug}?"));
        Ok(Page::new("list.html", place.name, values.with("kind", kind).with("id", place.id)))
    })
    .await
}

/// The articles of a month.
pub(crate) async fn month(
    Path(month): Path<String>,
    (State(app), visit, Query(asked)): Asks,
) -> Response {
    page(app, visit, move |app| {
        if !is_month(&month) {
            return Ok(Page::not_found());
        }
        let selection = Selection::Month(month.clone());
        let listing = app.listing(selection, asked.page())?;
        let Some(listing) = listing.filter(|listing| listing.count > 0) else {
            return Ok(Page::not_found());
        };
        let values = listing.at(format!("/archive/{month}?"));
        Ok(Page::new("list.html", words::month(&month), values.with("kind", "month")))
    })
    .await
}

/// Whether a text is of the form `2026-03`.
fn is_month(text: &str) -> bool {
    let is_digits = |part: &str, len| part.len() == len && part.bytes().all(|b| b.is_ascii_digit());
    text.split_once('-').is_some_and(|(year, month)| is_digits(year, 4) && is_digits(month, 2))
}

/// What contains a text.
pub(crate) async fn search((State(app), visit, Query(asked)): Asks) -> Response {
    page(app, visit, move |app| {
        let page = asked.page();
        let q: String = asked.q.unwrap_or_default().trim().chars().take(LONGEST_SEARCH).collect();
        if q.is_empty() {
            return Ok(Page::new("search.html", "Search", Values::new().with("q", q)));
        }
        let Some(listing) = app.listing(Selection::Search(q.clone()), page)? else {
            return Ok(Page::not_found());
        };
        let values = listing.at(format!("/search?q={}&", in_address(&q)));
        Ok(Page::new("search.html", format!("Search: {q}"), values.with("q", q)))
    })
    .await
}

/// A text as it stands in an address.
fn in_address(text: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let one = |byte: u8| match is_plain(byte) {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    };
    text.bytes().map(one).collect()
}

/// An article with its comments.
pub(crate) async fn article(
    State(app): State<Arc<App>>,
    visit: Visit,
    Path(slug): Path<String>,
) -> Response {
    page(app, visit, move |app| {
        let Some(place) = app.place(Table::Articles, &slug)? else { return Ok(Page::not_found()) };
        Ok(forms::commented(place, &slug, &CommentForm::default(), Errors::new()))
    })
    .await
}

/// Where a form for a comment was sent to: there is only the article.
pub(crate) async fn comments(
    State(app): State<Arc<App>>,
    visit: Visit,
    Path(slug): Path<String>,
) -> Response {
    reply(app, visit, move |app| match app.place(Table::Articles, &slug)? {
        Some(_) => Ok(Reply::Redirect(format!("/article/{slug}#comments"))),
        None => Ok(Reply::Page(Page::not_found())),
    })
    .await
}

/// The live page.
pub(crate) async fn live(State(app): State<Arc<App>>, visit: Visit) -> Response {
    page(app, visit, |app| {
        let now = Snapshot::take(&app.cache, &app.log);
        Ok(Page::new("live.html", "Inside the cache", Values::new().with("now", now)))
    })
    .await
}

/// What the live page asks for every second.
pub(crate) async fn live_json(State(app): State<Arc<App>>) -> Response {
    let work = tokio::task::spawn_blocking(move || Snapshot::take(&app.cache, &app.log));
    match work.await {
        Ok(now) => ([(CACHE_CONTROL, "no-store")], Json(now)).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// A file that pages refer to.
pub(crate) async fn asset(Path(name): Path<String>) -> Response {
    let (kind, text) = match name.as_str() {
        "site.css" => ("text/css; charset=utf-8", include_str!("../../blog/static/site.css")),
        "outline.js" => ("text/javascript", include_str!("../../blog/static/outline.js")),
        "live.js" => ("text/javascript", include_str!("../../blog/static/live.js")),
        _ => return StatusCode::NOT_FOUND.into_response(),
    };
    ([(CONTENT_TYPE, kind), (CACHE_CONTROL, "no-cache")], text).into_response()
}

/// Any other address.
pub(crate) async fn nowhere(State(app): State<Arc<App>>, visit: Visit) -> Response {
    page(app, visit, |_| Ok(Page::not_found())).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_are_escaped_in_addresses() {
        assert_eq!(in_address("a-b_c.d~e 1&2=ü/"), "a-b_c.d~e%201%262%3D%C3%BC%2F");
    }
}
