//! Instances of the site over one Redis and one database.

use std::sync::Arc;
use std::time::{Duration, Instant};

use cacheops_examples::blog::{Engine, Options, serve};
use cacheops_tests::servers::{Mode, PATIENCE, Proxy, Server, wait_at_most};
use serde_json::Value;
use tokio::runtime::Runtime;

use crate::site::{Folder, Site, edit, names, newest};

/// How long another instance may show what was before; the cache's default.
const BOUND: Duration = Duration::from_secs(1);

either_engine! {
    an_edit_in_one_appears_in_the_other,
    a_strict_instance_sees_each_edit_at_once,
    what_one_has_made_the_other_finds,
    both_tiers_are_shown,
    without_redis_pages_and_edits_go_on,
    what_could_not_be_delivered_is_delivered_later,
    an_edit_in_one_drops_just_what_shows_it_in_the_other,
    what_a_shell_changes_is_on_the_next_page_of_each,
    what_changed_while_no_instance_was_running_is_shown,
    without_redis_instances_see_each_other_through_the_file,
}

fn two(engine: Engine, redis: &str) -> (Site, Site) {
    let folder = Arc::new(Folder::new());
    (Site::over(engine, redis, &folder), Site::over(engine, redis, &folder))
}

/// Over Redis, with no writer but the instances: so they learn by Redis alone.
fn exclusive(engine: Engine, redis: &str, folder: &Arc<Folder>) -> Site {
    let options = Site::options_over(engine, redis, folder);
    Site::open(Options { exclusive: true, ..options }, folder.clone())
}

/// Asks for a page until it says something, which it does within the bound of
/// now.
fn appears(site: &Site, path: &str, text: &str) {
    let since = Instant::now();
    loop {
        let asked = since.elapsed();
        if site.page(path).contains(text) {
            return;
        }
        assert!(asked < BOUND, "{path} does not say {text:?} after {asked:?}");
    }
}

/// Waits until the line to Redis is as the bar at the foot says.
fn wait_for_line(site: &Site, is_live: bool) {
    let is_so = || site.live()["line"]["is_live"] == is_live;
    assert!(wait_at_most(PATIENCE, is_so), "{}", site.live()["line"]);
}

fn fragment(live: &Value, name: &str) -> Value {
    let all = live["fragments"].as_array().unwrap();
    all.iter().find(|fragment| fragment["name"] == name).unwrap().clone()
}

fn an_edit_in_one_appears_in_the_other(engine: Engine) {
    let server = Server::start();
    let folder = Arc::new(Folder::new());
    let [here, there] = [(); 2].map(|()| exclusive(engine, &server.url(), &folder));
    let slug = newest(&here);
    let article = format!("/article/{slug}");
    for path in ["/", &article] {
        there.page(path);
        there.page(path);
        assert_eq!(names(&there.last()["missed"]), [""; 0], "{path}");
    }
    for number in 0..5 {
        let title = format!("Title {number} of five");
        assert_eq!(edit(&here, &slug, &[("title", &title)]).status, 303);
        assert!(here.page("/").contains(&title), "who changes something sees it at once");
        appears(&there, "/", &title);
        appears(&there, &article, &title);
    }
    let answer = there.post(&format!("{article}/comments"), &[("name", "Zoë"), ("body", "Hi")]);
    assert_eq!(answer.status, 303);
    appears(&here, &article, "Zoë");
}

fn a_strict_instance_sees_each_edit_at_once(engine: Engine) {
    let server = Server::start();
    let folder = Arc::new(Folder::new());
    let here = exclusive(engine, &server.url(), &folder);
    let options = Site::options_over(engine, &server.url(), &folder);
    let there = Site::open(Options { strict: true, exclusive: true, ..options }, folder);
    let slug = newest(&there);
    for number in 0..5 {
        there.page("/");
        let title = format!("Title {number} of five");
        assert_eq!(edit(&here, &slug, &[("title", &title)]).status, 303);
        assert!(there.page("/").contains(&title), "{title}");
    }
}

fn what_one_has_made_the_other_finds(engine: Engine) {
    let server = Server::start();
    let (here, there) = two(engine, &server.url());
    here.page("/");
    there.page("/");
    let last = there.last();
    assert_eq!(names(&last["missed"]), [""; 0]);
    assert_eq!(last["queries"], 0);
    let found = names(&last["hits"]).len();
    assert_eq!(last["shared"], found);
    let again = there.page("/");
    assert_eq!(there.last()["shared"], 0, "the second time it is in memory");
    assert!(again.contains(&format!("<dt>in memory</dt><dd>{found}</dd>")), "{again}");
    assert!(again.contains("<dt>in Redis</dt><dd>0</dd>"), "{again}");
}

fn both_tiers_are_shown(engine: Engine) {
    let server = Server::start();
    let (here, there) = two(engine, &server.url());
    let slug = newest(&here);
    there.page("/");
    let live = there.live();
    assert_eq!(live["line"]["is_live"], true);
    // What is inside another fragment was not asked for, and so not read here.
    let list = fragment(&live, "article-list");
    assert_eq!(list["shared"]["state"], "current", "{list}");
    assert!(list["shared"]["bytes"].as_u64().unwrap() > 100, "{list}");
    assert_eq!(list["depends_on"], fragment(&here.live(), "article-list")["depends_on"]);
    assert!(there.page("/cache").contains("Connected to Redis."));
    // What is inside another fragment has its name from Redis.
    here.get_as("/", "outline=1");
    let outlined = there.get_as("/", "outline=1").body;
    let (_, json) = outlined.split_once("id=\"outlines\">").unwrap();
    let json: Value = serde_json::from_str(json.split_once("</script>").unwrap().0).unwrap();
    let facts: Vec<&Value> = json.as_object().unwrap().values().collect();
    assert!(facts.iter().any(|fact| fact["name"] == "card"), "{json}");
    for fact in facts {
        assert_ne!(fact["name"], "", "{fact}");
        assert_eq!(fact["shared"]["state"], "current", "{fact}");
        assert_ne!(fact["depends_on"].as_array().unwrap().len(), 0, "{fact}");
    }

    assert_eq!(edit(&here, &slug, &[("title", "Another title")]).status, 303);
    let is_old = || fragment(&there.live(), "sidebar")["shared"]["state"] == "invalidated";
    assert!(wait_at_most(PATIENCE, is_old));
    assert_eq!(server.command(&["FLUSHALL"]).as_deref(), Ok("OK"));
    let is_gone = || fragment(&there.live(), "sidebar")["shared"]["state"] == "missing";
    assert!(wait_at_most(PATIENCE, is_gone));

    let alone = Site::start(engine);
    alone.page("/");
    assert_eq!(alone.live()["line"], Value::Null);
    assert_eq!(fragment(&alone.live(), "card")["shared"], Value::Null);
    assert!(alone.page("/").contains("<dt>hit</dt>"));
}

fn without_redis_pages_and_edits_go_on(engine: Engine) {
    let server = Server::start();
    let (here, there) = two(engine, &server.url());
    let slug = newest(&here);
    let path = format!("/article/{slug}");
    there.page("/");
    server.kill();

    let answer = edit(&here, &slug, &[("title", "While Redis was away")]);
    assert_eq!(answer.status, 303, "{}", answer.body);
    let comment = here.post(&format!("{path}/comments"), &[("name", "Zoë"), ("body", "Hi")]);
    assert_eq!(comment.status, 303, "{}", comment.body);
    for site in [&here, &there] {
        wait_for_line(site, false);
        let page = site.page("/");
        assert!(page.contains("While Redis was away"), "{page}");
        assert!(page.contains("<dt>is away</dt><dd>Redis</dd>"), "{page}");
        assert!(site.page("/cache").contains("Redis is away"));
        assert!(site.page(&path).contains("Zoë"));
    }

    server.restart();
    // Whoever meets the new server drops what is there.
    [&here, &there].into_iter().for_each(|site| wait_for_line(site, true));
    for site in [&here, &there] {
        // What could not be delivered is not found until it is.
        let is_hit = || {
            assert!(site.page("/").contains("While Redis was away"));
            site.last()["queries"] == 0
        };
        assert!(wait_at_most(PATIENCE, is_hit));
    }
}

fn what_could_not_be_delivered_is_delivered_later(engine: Engine) {
    let server = Server::start();
    let proxy = Proxy::start(server.port());
    let folder = Arc::new(Folder::new());
    let here = exclusive(engine, &server.url_at(proxy.port()), &folder);
    let there = exclusive(engine, &server.url(), &folder);
    let slug = newest(&there);
    there.page("/");

    proxy.set(Mode::Refuse);
    assert_eq!(edit(&here, &slug, &[("title", "Cut off")]).status, 303);
    assert!(here.page("/").contains("Cut off"));
    assert!(!there.page("/").contains("Cut off"), "nobody has told it");

    proxy.set(Mode::Pass);
    // Redis still has the old page when it is back, and this process knows.
    let told = || {
        assert!(here.page("/").contains("Cut off"));
        there.page("/").contains("Cut off")
    };
    assert!(wait_at_most(PATIENCE, told));
    assert!(here.page("/").contains("Cut off"));
}

fn an_edit_in_one_drops_just_what_shows_it_in_the_other(engine: Engine) {
    let server = Server::start();
    let folder = Arc::new(Folder::new());
    let [here, there] = [(); 2].map(|()| exclusive(engine, &server.url(), &folder));
    let path = format!("/article/{}", newest(&there));
    for path in ["/", &path, "/article/first-ten-minutes"] {
        there.page(path);
    }
    let edited = edit(&here, "first-ten-minutes", &[("summary", "Another summary.")]);
    assert_eq!(edited.status, 303);
    appears(&there, "/article/first-ten-minutes", "Another summary.");
    assert_eq!(there.missed(&path), [""; 0]);
    assert!(!there.missed("/").contains(&"card".to_owned()));
}

fn what_a_shell_changes_is_on_the_next_page_of_each(engine: Engine) {
    let server = Server::start();
    let (here, there) = two(engine, &server.url());
    let slug = newest(&here);
    for number in 0..3 {
        let title = format!("Title {number} of three");
        [&here, &there].into_iter().for_each(|site| drop(site.page("/")));
        let sql = format!("UPDATE articles SET title = '{title}' WHERE slug = '{slug}'");
        here.folder().sql(&sql);
        for site in [&here, &there] {
            assert!(site.page("/").contains(&title), "{title}");
        }
        // As exact as a shell is an instance that has not told yet.
        let title = format!("Title {number} of a form");
        assert_eq!(edit(&here, &slug, &[("title", &title)]).status, 303);
        assert!(there.page("/").contains(&title), "{title}");
    }
}

fn what_changed_while_no_instance_was_running_is_shown(engine: Engine) {
    let server = Server::start();
    let folder = Arc::new(Folder::new());
    let mut site = Site::over(engine, &server.url(), &folder);
    let slug = newest(&site);
    site.restart_after(|| {
        folder.sql(&format!("UPDATE articles SET title = 'By night' WHERE slug = '{slug}'"));
    });
    assert!(site.page("/").contains("By night"));
}

fn without_redis_instances_see_each_other_through_the_file(engine: Engine) {
    let folder = Arc::new(Folder::new());
    let [here, there] = [(); 2]
        .map(|()| Site::open(Options { engine, ..Options::new(folder.db()) }, folder.clone()));
    let slug = newest(&here);
    for number in 0..3 {
        [&here, &there].into_iter().for_each(|site| drop(site.page("/")));
        for site in [&here, &there] {
            let title = format!("Title {number} by {}", site.address());
            assert_eq!(edit(site, &slug, &[("title", &title)]).status, 303);
            assert!([&here, &there].iter().all(|site| site.page("/").contains(&title)), "{title}");
        }
    }
}

#[test]
fn a_redis_that_is_not_there_is_told_of() {
    let server = Server::start();
    let url = server.url();
    drop(server);
    let folder = Folder::new();
    let options = Options { redis: Some(url), ..Options::new(folder.db()) };
    let error = Runtime::new().unwrap().block_on(serve(options)).unwrap_err().to_string();
    assert!(error.contains("the cache: shared tier unavailable: redis: "), "{error}");
}
