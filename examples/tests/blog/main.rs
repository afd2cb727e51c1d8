//! Drives the blog over HTTP, as a browser would.
#![allow(clippy::unwrap_used, reason = "a test fails by it")]
#![allow(clippy::print_stdout, reason = "processes tell their address")]

/// Makes tests of functions that take an engine: one by each.
macro_rules! either_engine {
    ($($name:ident,)*) => {
        mod minijinja {
            $(#[test]
            fn $name() {
                super::$name(cacheops_examples::blog::Engine::MiniJinja);
            })*
        }
        mod tera {
            $(#[test]
            fn $name() {
                super::$name(cacheops_examples::blog::Engine::Tera);
            })*
        }
    };
}

mod engines;
mod instances;
mod site;

use std::sync::atomic::{AtomicBool, Ordering};

use cacheops_examples::blog::{Engine, Options, serve};
use serde_json::Value;
use tokio::runtime::Runtime;

use site::{Site, area, edit, names, newest};

either_engine! {
    pages_are_there,
    all_articles_and_what_they_link_to_are_there,
    what_is_not_there_is_404,
    the_second_time_nothing_is_asked_of_the_database,
    the_front_page_is_made_of_many_fragments,
    an_edit_changes_just_what_shows_the_article,
    an_edit_elsewhere_leaves_the_cards_alone,
    saving_without_a_change_invalidates_nothing,
    other_tags_change_just_where_tags_are_shown,
    a_comment_changes_just_where_it_is_shown,
    who_changes_something_sees_it_at_once_whoever_reads_meanwhile,
    a_comment_can_be_changed_and_deleted,
    a_wrong_form_comes_back_with_what_was_typed,
    too_much_text_is_refused_politely,
    html_is_text,
    search_finds_what_contains_the_words,
    a_list_varies_by_how_it_is_wanted,
    outlines_tell_of_each_fragment,
    the_live_page_tells_of_invalidations,
    an_existing_database_is_kept,
    what_a_shell_changes_is_on_the_next_page,
}

fn pages_are_there(engine: Engine) {
    let site = Site::start(engine);
    let front = site.page("/");
    assert!(front.contains("Newest articles") && front.contains("Page 1 of 3"), "{front}");
    assert_eq!(front.matches("<article class=\"card\">").count(), 5);
    assert!(site.page("/?page=3").contains("Page 3 of 3"));
    assert!(site.page("/category/start").contains("<h1>Start</h1>"));
    assert!(site.page("/author/ada-brandt").contains("<h1>Ada Brandt</h1>"));
    let article = site.page("/article/querysets");
    assert!(article.contains("<div class=\"prose\">") && article.contains("Write a comment"));
    let (_, tag) = front.split_once("href=\"/tag/").unwrap();
    let tag = tag.split_once('"').unwrap().0;
    assert!(site.page(&format!("/tag/{tag}")).contains("<p class=\"kicker\">Tag</p>"));
    let (_, month) = front.split_once("href=\"/archive/").unwrap();
    assert!(site.page(&format!("/archive/{}", &month[..7])).contains("Archive"));
    assert!(site.page("/cache").contains("Inside the cache"));
    assert!(site.page("/static/site.css").contains("--paper"));
}

fn all_articles_and_what_they_link_to_are_there(engine: Engine) {
    let site = Site::start(engine);
    for page in 1..=3 {
        let list = site.page(&format!("/?page={page}"));
        for rest in list.split("<h2><a href=\"").skip(1) {
            let article = site.page(rest.split_once('"').unwrap().0);
            for link in article.split("href=\"/article/").skip(1) {
                let to = link.split_once(['"', '#', '?']).unwrap().0;
                assert_eq!(site.get(&format!("/article/{to}")).status, 200, "{to}");
            }
        }
    }
}

fn what_is_not_there_is_404(engine: Engine) {
    let site = Site::start(engine);
    let addresses = [
        "/nowhere",
        "/article/nothing",
        "/article/nothing/edit",
        "/category/x",
        "/tag/x",
        "/author/x",
        "/archive/2026",
        "/archive/1999-01",
        "/archive/____-__",
        "/?page=0",
        "/?page=99",
        "/?page=two",
        "/comment/0/edit",
        "/comment/x/edit",
    ];
    for address in addresses {
        let answer = site.get(address);
        assert_eq!(answer.status, 404, "{address}");
        assert!(answer.body.contains("Not found"), "{address}");
    }
    assert_eq!(site.post("/comment/999/delete", &[]).status, 404);
}

fn the_second_time_nothing_is_asked_of_the_database(engine: Engine) {
    let site = Site::start(engine);
    for path in ["/", "/?page=2", "/article/querysets", "/category/start", "/author/ada-brandt"] {
        site.page(path);
        site.page(path);
        let last = site.last();
        assert_eq!(last["path"], path);
        assert_eq!(last["queries"], 0, "{path}: {last}");
        assert_eq!(names(&last["missed"]), [""; 0], "{path}");
        assert!(!names(&last["hits"]).is_empty(), "{path}");
    }
}

fn the_front_page_is_made_of_many_fragments(engine: Engine) {
    let site = Site::start(engine);
    let mut missed = site.missed("/");
    assert!(missed.len() >= 12, "{missed:?}");
    missed.dedup();
    assert!(missed.len() >= 12, "{missed:?}");
}

fn an_edit_changes_just_what_shows_the_article(engine: Engine) {
    let site = Site::start(engine);
    let slug = newest(&site);
    site.page("/");
    let answer = edit(&site, &slug, &[("title", "Another title")]);
    assert_eq!(answer.status, 303, "{}", answer.body);
    assert!(answer.head.contains(&format!("location: /article/{slug}")), "{}", answer.head);

    let expected = [
        "archive",
        "article-count",
        "article-list",
        "author-count",
        "authors",
        "card",
        "categories",
        "category-count",
        "comment-line",
        "newest-comments",
        "sidebar",
    ];
    assert_eq!(site.missed("/"), expected);
    assert!(site.page("/").contains("Another title"));
    assert!(site.page(&format!("/article/{slug}")).contains("<h1>Another title</h1>"));
}

fn an_edit_elsewhere_leaves_the_cards_alone(engine: Engine) {
    let site = Site::start(engine);
    site.page("/");
    site.page("/article/first-ten-minutes");
    site.page("/article/querysets");
    let answer = edit(&site, "first-ten-minutes", &[("summary", "Another summary.")]);
    assert_eq!(answer.status, 303);
    assert!(!site.missed("/").contains(&"card".to_owned()));
    let article = site.missed("/article/first-ten-minutes");
    assert_eq!(article, ["address", "article"]);
    assert_eq!(site.missed("/article/querysets"), [""; 0]);
}

fn saving_without_a_change_invalidates_nothing(engine: Engine) {
    let site = Site::start(engine);
    let slug = newest(&site);
    site.page("/");
    assert_eq!(edit(&site, &slug, &[]).status, 303);
    assert_eq!(site.missed("/"), [""; 0]);
}

fn other_tags_change_just_where_tags_are_shown(engine: Engine) {
    let site = Site::start(engine);
    let slug = newest(&site);
    site.page("/");
    assert_eq!(edit(&site, &slug, &[("tags", "Brand new")]).status, 303);
    let expected = ["article-list", "card", "sidebar", "tag-cloud", "tag-links"];
    assert_eq!(site.missed("/"), expected);
    assert!(site.page("/tag/brand-new").contains(&format!("/article/{slug}")));
    assert!(site.page(&format!("/article/{slug}/edit")).contains("value=\"Brand new\""));
}

fn a_comment_changes_just_where_it_is_shown(engine: Engine) {
    let site = Site::start(engine);
    let slug = newest(&site);
    let path = format!("/article/{slug}");
    site.page("/");
    site.page(&path);
    let comments = format!("{path}/comments");
    let answer = site.post(&comments, &[("name", "Zoë"), ("body", "one\n\ntwo")]);
    assert_eq!(answer.status, 303, "{}", answer.body);
    assert!(answer.head.contains(&format!("location: {path}#comment-")), "{}", answer.head);

    let expected =
        ["article-list", "card", "comment-count", "comment-line", "newest-comments", "sidebar"];
    assert_eq!(site.missed("/"), expected);
    assert_eq!(site.missed(&path), ["comment", "comments"]);
    let page = site.page(&path);
    assert!(page.contains("Zoë") && page.contains("one\n\ntwo"), "{page}");
}

fn who_changes_something_sees_it_at_once_whoever_reads_meanwhile(engine: Engine) {
    let site = Site::start(engine);
    let slug = newest(&site);
    let path = format!("/article/{slug}");
    let is_done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for path in ["/", &path, "/?page=2"] {
            let (site, is_done) = (&site, &is_done);
            scope.spawn(move || {
                while !is_done.load(Ordering::Relaxed) {
                    site.page(path);
                }
            });
        }
        let seen = (0..20).all(|number| {
            let title = format!("Title {number} of many");
            edit(&site, &slug, &[("title", &title)]).status == 303
                && [site.page("/"), site.page(&path)].iter().all(|page| page.contains(&title))
        });
        is_done.store(true, Ordering::Relaxed);
        assert!(seen);
    });
}

fn a_comment_can_be_changed_and_deleted(engine: Engine) {
    let site = Site::start(engine);
    let path = "/article/querysets";
    let page = site.page(path);
    let (_, rest) = page.split_once("href=\"/comment/").unwrap();
    let id = rest.split_once('/').unwrap().0;
    let edit = format!("/comment/{id}/edit");
    assert!(site.page(&edit).contains("Edit the comment"));
    assert_eq!(site.post(&edit, &[("name", "Dan"), ("body", "Shorter.")]).status, 303);
    site.page("/");
    assert_eq!(site.missed(path), ["comment", "comments"]);
    assert!(site.page(path).contains("Shorter."));
    assert_eq!(site.post(&format!("/comment/{id}/delete"), &[]).status, 303);
    assert!(!site.page(path).contains("Shorter."));
    assert_eq!(site.get(&edit).status, 404);
}

fn a_wrong_form_comes_back_with_what_was_typed(engine: Engine) {
    let site = Site::start(engine);
    let answer = edit(&site, "querysets", &[("title", "  "), ("summary", "Kept <as> typed")]);
    assert_eq!(answer.status, 422);
    assert!(answer.body.contains("A title is needed."), "{}", answer.body);
    assert!(answer.body.contains("aria-describedby=\"title-error\""), "{}", answer.body);
    assert_eq!(area(&answer.body, "summary"), "Kept <as> typed");
    assert!(!site.page("/article/querysets").contains("Kept"));

    let answer = site.post("/article/querysets/comments", &[("name", "Ann"), ("body", "")]);
    assert_eq!(answer.status, 422);
    assert!(answer.body.contains("A comment is needed.") && answer.body.contains("value=\"Ann\""));

    let answer = site.post("/article/querysets/edit", &[("title", "Only this")]);
    assert_eq!(answer.status, 422);
    let answer = edit(&site, "querysets", &[("category", "999")]);
    assert!(answer.body.contains("Choose one of the list."), "{}", answer.body);
}

fn too_much_text_is_refused_politely(engine: Engine) {
    let site = Site::start(engine);
    let long = "x".repeat(100 << 10);
    let answer = site.post("/article/querysets/comments", &[("name", "Ann"), ("body", &long)]);
    assert_eq!(answer.status, 422);
    assert!(answer.body.contains("At most 5,000 characters, please; these are 102,400."));
    assert!(answer.body.contains(&long), "what was typed is lost");
    let longer = "x".repeat(600 << 10);
    let answer = site.post("/article/querysets/comments", &[("name", "Ann"), ("body", &longer)]);
    assert_eq!(answer.status, 413);
    assert!(!site.page("/article/querysets").contains("xxxx"));
}

fn html_is_text(engine: Engine) {
    let site = Site::start(engine);
    let evil = "<script>alert(1)</script>";
    site.post("/article/querysets/comments", &[("name", evil), ("body", evil)]);
    let changes = [
        ("title", evil),
        ("summary", evil),
        ("body", "<script>alert(1)</script> [a](javascript:alert)"),
    ];
    assert_eq!(edit(&site, "querysets", &changes).status, 303);
    let pages = ["/", "/?page=2", "/?page=3", "/article/querysets", "/search?q=%3Cscript%3E"];
    for path in pages.into_iter().chain(["/article/querysets/edit", "/cache"]) {
        let page = site.page(path);
        assert!(!page.contains("<script>"), "{path}: {page}");
        assert!(!page.contains("href=\"javascript"), "{path}: {page}");
        let outlined = site.get_as(path, "outline=1").body;
        assert!(!outlined.contains("<script>"), "{path} with outlines");
    }
}

fn search_finds_what_contains_the_words(engine: Engine) {
    let site = Site::start(engine);
    let found = site.page("/search?q=queryset");
    assert!(found.contains("found") && found.contains("<article class=\"card\">"), "{found}");
    assert!(found.contains("search?q=queryset&amp;page=2"), "{found}");
    assert!(site.page("/search?q=queryset&page=2").contains("Page 2 of"));
    assert!(site.page("/search?q=no+such+words").contains("0 articles found"));
    assert!(site.page("/search?q=%25%25").contains("0 articles found"));
    assert!(site.page("/search?q=++").contains("Search the articles"));
    assert_eq!(site.get("/search?q=queryset&page=99").status, 404);
}

fn a_list_varies_by_how_it_is_wanted(engine: Engine) {
    let site = Site::start(engine);
    let answer = site.get("/?page=2&view=titles");
    assert_eq!(answer.status, 303);
    assert!(answer.head.contains("location: /?page=2\r\n"), "{}", answer.head);
    assert!(answer.head.contains("set-cookie: view=titles"), "{}", answer.head);
    let titles = site.get_as("/", "a=b; view=titles").body;
    assert!(titles.contains("class=\"title-line\"") && !titles.contains("class=\"card\""));
    assert!(site.page("/").contains("class=\"card\""));
}

fn outlines_tell_of_each_fragment(engine: Engine) {
    let site = Site::start(engine);
    site.page("/");
    assert!(!site.page("/").contains("<!--cacheops"));
    let cold = site.get_as("/", "outline=1").body;
    let warm = site.get_as("/", "outline=1").body;
    for (page, outcome) in [(&cold, "miss: no value"), (&warm, "hit, inside another")] {
        let (_, json) = page.split_once("id=\"outlines\">").unwrap();
        let json: Value = serde_json::from_str(json.split_once("</script>").unwrap().0).unwrap();
        for mark in page.split("<!--cacheops ").skip(1) {
            let key = mark.split_once("-->").unwrap().0;
            assert!(page.contains(&format!("<!--/cacheops {key}-->")));
            assert!(!json[key]["name"].as_str().unwrap().is_empty(), "{key}");
        }
        let card = json.as_object().unwrap().values().find(|fact| fact["name"] == "card").unwrap();
        assert_eq!(card["outcome"], outcome);
        let depends_on = names(&card["depends_on"]);
        assert!(depends_on.iter().any(|on| on.starts_with("articles: id=")), "{depends_on:?}");
    }
}

fn the_live_page_tells_of_invalidations(engine: Engine) {
    let site = Site::start(engine);
    site.page("/");
    site.post("/article/querysets/comments", &[("name", "Ann"), ("body", "Hello.")]);
    let live = site.live();
    let last = &live["invalidations"][0];
    assert!(last["target"].as_str().unwrap().starts_with("table comments, id "), "{last}");
    assert_eq!(last["rows"], 1);
    assert!(last["dropped"].as_u64().unwrap() >= 1, "{last}");
    assert!(live["fragments"].as_array().unwrap().iter().any(|f| f["current"] == false));
    let page = site.page("/cache");
    assert!(page.contains(">table comments, id ") && page.contains("(invalidated)"), "{page}");
}

fn an_existing_database_is_kept(engine: Engine) {
    let mut site = Site::start(engine);
    assert_eq!(edit(&site, "querysets", &[("title", "Mine")]).status, 303);
    site.restart_after(|| {});
    assert!(site.page("/article/querysets").contains("<h1>Mine</h1>"));
    assert!(site.page("/").contains("Page 1 of 3"));
}

fn what_a_shell_changes_is_on_the_next_page(engine: Engine) {
    let site = Site::start(engine);
    let slug = newest(&site);
    let path = format!("/article/{slug}");
    for number in 0..3 {
        site.page("/");
        site.page(&path);
        let title = format!("Title {number} of a shell");
        let sql = format!("UPDATE articles SET title = '{title}' WHERE slug = '{slug}'");
        site.folder().sql(&sql);
        assert!(site.page("/").contains(&title));
        assert!(site.page(&path).contains(&title));
        assert_eq!(site.missed("/"), [""; 0]);
        assert_eq!(site.missed(&path), [""; 0]);
    }
    site.folder()
        .sql(&format!("PRAGMA foreign_keys = ON; DELETE FROM articles WHERE slug = '{slug}'"));
    assert_eq!(site.get(&path).status, 404);
    assert!(!site.page("/").contains(&path));
}

#[test]
fn a_port_that_is_taken_is_told_of() {
    let site = Site::start(Engine::default());
    let db = Options::new(site.folder().db());
    let options = Options { port: site.address().port(), ..db };
    let error = Runtime::new().unwrap().block_on(serve(options)).unwrap_err();
    assert!(error.to_string().contains("the port is taken"), "{error}");
}

#[test]
fn forms_of_other_sites_are_refused() {
    let site = Site::start(Engine::default());
    let answer = site.send(
        "POST /comment/1/delete HTTP/1.1\r\nHost: blog\r\nConnection: close\r\n\
         Sec-Fetch-Site: cross-site\r\nContent-Length: 0\r\n\r\n",
    );
    assert_eq!(answer.status, 403);
}
