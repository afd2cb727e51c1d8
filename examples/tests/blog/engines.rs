//! The pages are the same by either engine.

use std::sync::Arc;

use cacheops_examples::blog::{Engine, Options};
use cacheops_tests::servers::Server as RedisServer;

use crate::site::{Folder, Site, edit, newest};

/// A page without what an engine may write in its own way, white space and how
/// a sign is escaped, and without what hangs on the time.
fn plain(html: &str) -> String {
    let html = html.replace("&#x27;", "&#39;").replace("&#x2f;", "/");
    let (html, _bar) = html.split_once("<section class=\"bar\"").unwrap_or((&html, ""));
    let html = match html.split_once("Counted at ") {
        // The time, which has eight characters, is that of the site's own count.
        Some((before, after)) => format!("{before}{}", &after["00:00:00".len()..]),
        None => html.to_owned(),
    };
    html.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Two sites on one database, by one engine each.
fn both() -> [Site; 2] {
    let folder = Arc::new(Folder::new());
    Engine::ALL
        .map(|engine| Site::open(Options { engine, ..Options::new(folder.db()) }, folder.clone()))
}

/// Compares tag by tag, so that a failure shows where they part.
#[track_caller]
fn assert_same(what: &str, [one, other]: [&str; 2]) {
    let (one, other) = (plain(one), plain(other));
    for (one, other) in one.split('<').zip(other.split('<')) {
        assert_eq!(one, other, "{what}");
    }
    assert_eq!(one, other, "{what}");
}

#[test]
fn pages_are_the_same() {
    let sites = both();
    let slug = newest(&sites[0]);
    let paths = [
        "/",
        "/?page=2",
        "/category/start",
        "/author/ada-brandt",
        "/tag/querysets",
        "/archive/2026-11",
        "/search",
        "/search?q=queryset",
        "/search?q=%3Cscript%3E",
        "/nowhere",
        "/comment/1/edit",
        &format!("/article/{slug}"),
        &format!("/article/{slug}/edit"),
    ];
    for path in paths {
        for cookie in ["", "view=titles", "outline=1"] {
            let [one, other] = sites.each_ref().map(|site| site.get_as(path, cookie));
            let status = if path == "/nowhere" { 404 } else { 200 };
            assert_eq!([one.status, other.status], [status; 2], "{path}");
            let what = format!("{path} {cookie}");
            assert_same(&what, [&without_marks(&one.body), &without_marks(&other.body)]);
        }
    }
}

/// A page with a sign in place of each mark around a fragment: marks hold keys,
/// which are the engine's own, and white space may stand before or behind them.
fn without_marks(html: &str) -> String {
    let mut parts = html.split("<!--");
    let first = parts.next().unwrap_or_default();
    let rest = parts.map(|part| part.split_once("-->").unwrap().1.trim_start());
    [first].into_iter().chain(rest).map(str::trim_end).collect::<Vec<_>>().join("¦")
}

#[test]
fn forms_with_mistakes_are_the_same() {
    let sites = both();
    let wrong = |site: &Site| edit(site, "querysets", &[("title", ""), ("summary", "<'/\">")]);
    let [one, other] = sites.each_ref().map(wrong);
    assert_same("an article", [&one.body, &other.body]);
    let wrong = |site: &Site| site.post("/article/querysets/comments", &[("name", "A & B")]);
    let [one, other] = sites.each_ref().map(wrong);
    assert_same("a comment without a text", [&one.body, &other.body]);
}

#[test]
fn bars_are_the_same() {
    let sites = both();
    for path in ["/", "/", "/article/querysets", "/category/start", "/search?q=queryset"] {
        let [one, other] = sites.each_ref().map(|site| {
            site.page(path);
            site.last()
        });
        for fact in ["queries", "hits", "missed"] {
            assert_eq!(one[fact], other[fact], "{path}: {fact}");
        }
    }
}

#[test]
fn instances_by_different_engines_share_a_redis() {
    let redis = RedisServer::start();
    let folder = Arc::new(Folder::new());
    let sites = Engine::ALL.map(|engine| {
        let options = Site::options_over(engine, &redis.url(), &folder);
        Site::open(Options { strict: true, ..options }, folder.clone())
    });
    let slug = newest(&sites[0]);
    for (number, site) in sites.iter().enumerate() {
        sites.iter().for_each(|site| drop(site.page("/")));
        let title = format!("Title {number} of two");
        assert_eq!(edit(site, &slug, &[("title", &title)]).status, 303);
        assert!(sites.iter().all(|site| site.page("/").contains(&title)), "{title}");
    }
}

#[test]
fn a_name_of_an_engine_is_read_back() {
    for engine in Engine::ALL {
        assert_eq!(engine.to_string().parse(), Ok(engine));
    }
    let error = "jinja2".parse::<Engine>().unwrap_err();
    assert_eq!(error, "\"jinja2\" is no engine here: choose minijinja or tera");
}
