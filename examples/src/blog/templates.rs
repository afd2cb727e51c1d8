//! The templates, and what they are given besides their context.

use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, Error, ErrorKind, UndefinedBehavior, Value};
use minijinja_cacheops::cacheops::Cacheops;
use minijinja_cacheops::{Caching, TagCall, Tags};
use serde::Deserialize;

use super::db::Db;
use super::listing::Listing;
use super::{markdown, queries};

/// Lists files of the folder of templates, to be built into the program.
macro_rules! templates {
    ($($name:literal,)*) => {
        [$(($name, include_str!(concat!("../../blog/templates/", $name)))),*]
    };
}

const TEMPLATES: [(&str, &str); 19] = templates![
    "base.html",
    "fields.html",
    "listing.html",
    "card.html",
    "title_line.html",
    "byline.html",
    "tag_links.html",
    "comment_count.html",
    "sidebar.html",
    "front.html",
    "list.html",
    "search.html",
    "article.html",
    "article_form.html",
    "comment_form.html",
    "message.html",
    "unannounced.html",
    "live.html",
    "bar.html",
];

/// An environment with all templates, tags, functions and filters.
pub(crate) fn environment(
    cache: &Cacheops,
    db: &Db,
) -> Result<(Environment<'static>, Tags), Error> {
    let mut env = Environment::new();
    env.set_undefined_behavior(UndefinedBehavior::SemiStrict);
    env.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?);
    let tags = Tags::install(&mut env, cache);
    tags.decorator_tag("article_list", article_list)?;
    tags.mark_fragments(|state| state.lookup("outline").is_some_and(|on| on.is_true()));
    queries::add_functions(&mut env, cache, db);
    env.add_filter("markdown", |text: &str| Value::from_safe_string(markdown::to_html(text)));
    env.add_filter("date", date);
    env.add_filter("month", month);
    env.add_filter("plural", plural);
    for (name, source) in TEMPLATES {
        tags.add_template(&mut env, name, source)?;
    }
    Ok((env, tags))
}

/// How every list of articles is cached, `{% article_list listing %}`: said
/// once, here, and not in each template that shows one.
///
/// A list varies by how the reader wants to see it. What somebody searched for
/// is hardly asked for twice, so it is not kept, nor anything around it; the
/// cards inside are, as everywhere.
fn article_list(call: &TagCall<'_>) -> Result<Caching, Error> {
    let Some(listing) = call.arguments().first() else {
        return Err(Error::new(ErrorKind::MissingArgument, "article_list: which list?"));
    };
    let listing = Listing::deserialize(listing.clone())?;
    if listing.selection.is_search() {
        return Ok(Caching::skip());
    }
    Ok(Caching::cached_as(listing.queryset()).extra(&call.lookup("view"))?.name("article-list"))
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// `2026-03-09`, with or without a time behind it, as `9 March 2026`.
fn date(text: &str) -> String {
    let day = text.get(8..10).and_then(|day| day.parse::<u8>().ok());
    match day {
        Some(day) => format!("{day} {}", month(text)),
        None => text.to_owned(),
    }
}

/// `2026-03`, with or without more behind it, as `March 2026`.
pub(crate) fn month(text: &str) -> String {
    let number = text.get(5..7).and_then(|month| month.parse::<usize>().ok());
    let name = number.and_then(|number| MONTHS.get(number.checked_sub(1)?));
    match (name, text.get(..4)) {
        (Some(name), Some(year)) => format!("{name} {year}"),
        _ => text.to_owned(),
    }
}

/// `3|plural("article")` as `3 articles`.
fn plural(count: usize, noun: &str) -> String {
    let ending = if count == 1 { "" } else { "s" };
    format!("{} {noun}{ending}", thousands(count))
}

/// `12,345`.
pub(crate) fn thousands(number: usize) -> String {
    let digits = number.to_string();
    let groups: Vec<&str> = digits
        .as_bytes()
        .rchunks(3)
        .rev()
        .filter_map(|group| std::str::from_utf8(group).ok())
        .collect();
    groups.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_in_words() {
        assert_eq!(date("2026-03-09"), "9 March 2026");
        assert_eq!(date("2026-12-31 10:00:00"), "31 December 2026");
        assert_eq!(month("2026-01"), "January 2026");
        assert_eq!(date("soon"), "soon");
        assert_eq!(month("2026-00"), "2026-00");
    }

    #[test]
    fn numbers_in_groups() {
        assert_eq!(plural(1, "word"), "1 word");
        assert_eq!(plural(1234567, "word"), "1,234,567 words");
        assert_eq!(plural(100, "word"), "100 words");
    }
}
