//! What a MiniJinja template has read outside of a tag, and shows inside one,
//! counts until the rendering ends, in whatever it is held meanwhile.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use cacheops::{Cacheops, Error, Page, QuerySet, eq};
use cacheops_tests::{Backend, InMemory};
use minijinja::value::Serde;
use minijinja::{Environment, State, Value, context};
use minijinja_cacheops::{Tags, lazy};
use serde_json::json;

/// A site of one comment, whose text counts up.
struct Site {
    env: Environment<'static>,
    tags: Tags,
    cache: Cacheops,
    text: Arc<AtomicU64>,
    /// Whether `change()` changes the comment when it is next called.
    is_armed: Arc<AtomicBool>,
}

fn comments(cache: &Cacheops, text: &Arc<AtomicU64>) -> Value {
    let text = text.clone();
    lazy(cache, QuerySet::table("comments"), move || {
        Ok::<_, Error>(vec![json!({"id": 1, "text": text.load(Ordering::SeqCst)})])
    })
}

fn write(cache: &Cacheops, text: &AtomicU64) {
    text.fetch_add(1, Ordering::SeqCst);
    cache.invalidate_obj("comments", &json!({"id": 1})).unwrap();
}

impl Site {
    fn new(cache: Cacheops) -> Self {
        let mut env = Environment::new();
        let tags = Tags::install(&mut env, &cache);
        let (text, is_armed) = (Arc::new(AtomicU64::new(1)), Arc::new(AtomicBool::new(false)));
        let (it, of) = (cache.clone(), text.clone());
        env.add_function("comments", move || comments(&it, &of));
        let (it, of) = (cache.clone(), text.clone());
        env.add_function("got", move |number: u64| {
            let got = it.cached_as("comments").extra(&number);
            let got = got.get_or_fill(|| Ok::<_, Error>(of.load(Ordering::SeqCst)));
            Value::from(Serde(json!([{"id": 1, "text": got.unwrap()}])))
        });
        let (it, of, armed) = (cache.clone(), text.clone(), is_armed.clone());
        env.add_function("change", move || {
            if armed.swap(false, Ordering::SeqCst) {
                write(&it, &of);
            }
            ""
        });
        env.add_function("render", |state: &mut State, name: &str, c: Value| {
            let text = state.env().get_template(name)?.render(context!(c))?;
            Ok::<_, minijinja::Error>(Value::from_safe_string(text))
        });
        Site { env, tags, cache, text, is_armed }
    }

    fn add(&mut self, name: &str, source: &str) {
        self.tags.add_template(&mut self.env, name, source).unwrap();
    }

    fn render(&self, name: &str) -> String {
        self.env.get_template(name).unwrap().render(()).unwrap()
    }
}

/// Tags inside of which a row is shown that was read before.
const PAGES: [&str; 24] = [
    "{% for c in comments() %}{{ change() }}TAG{% endfor %}",
    "{% for c in comments() if c.id %}{{ change() }}TAG{% endfor %}",
    "{% for c in comments()|sort(attribute='id') %}{{ change() }}TAG{% endfor %}",
    "{% for c in comments()|list %}{{ change() }}TAG{% endfor %}",
    "{% for c in comments()|reverse %}{{ change() }}TAG{% endfor %}",
    "{% for c in comments()|selectattr('id') %}{{ change() }}TAG{% endfor %}",
    "{% for c in comments()|batch(1)|first %}{{ change() }}TAG{% endfor %}",
    "{% for c in comments()|slice(1)|first %}{{ change() }}TAG{% endfor %}",
    "{% for c in comments()[:1] %}{{ change() }}TAG{% endfor %}",
    "{% for g in comments()|groupby('id') %}{% for c in g.list %}{{ change() }}TAG{% endfor %}{% endfor %}",
    "{% set t = comments()|map(attribute='text')|first %}{% set c = {'id': 1, 'text': t} %}{{ change() }}TAG",
    "{% set c = comments()|first %}{{ change() }}TAG",
    "{% set c = comments()[0] %}{{ change() }}TAG",
    "{% macro m(c) %}{{ change() }}TAG{% endmacro %}{{ m(comments()|first) }}",
    "{% set ns = namespace() %}{% for c in comments() %}{% set ns.c = c %}{% endfor %}{% set c = ns.c %}{{ change() }}TAG",
    "{% with c = comments()|first %}{{ change() }}{% include 'part' %}{% endwith %}",
    "{% with c = comments()|first %}{{ change() }}{{ render('part', c) }}{% endwith %}",
    "{% set t %}{% for c in comments() %}{{ c.text }}{% endfor %}{% endset %}{% set c = {'id': 1, 'text': t} %}{{ change() }}TAG",
    // What another fragment shows, and what was got from the cache.
    "{% set t %}{% cached_as 'comments' %}{{ comments()[0].text }}{% endcached_as %}{% endset %}{% set c = {'id': 1, 'text': t} %}{{ change() }}TAG",
    "{% for c in got(1) %}{{ change() }}TAG{% endfor %}",
    "{% for c in got(2)|sort(attribute='id') %}{{ change() }}TAG{% endfor %}",
    "{% set c = got(3)|first %}{% cached timeout=60 %}x{% endcached %}{{ change() }}TAG",
    "{% set c = got(4)|first %}{{ change() }}{{ render('part', c) }}",
    "{% with c = got(5)|first %}{% include 'other' %}{{ change() }}{% include 'part' %}{% endwith %}",
];

const TAG: &str = "{% cached_as queryset('comments', id=c.id) %}{{ c.text }}{% endcached_as %}";

fn rows_count_until_the_rendering_ends<B: Backend>() {
    for source in PAGES {
        // Once where all is a miss, and once where values that are got, and
        // fragments that are shown by others, are hits.
        for warm in [false, true] {
            let mut site = Site::new(B::cache(Cacheops::builder()));
            site.add("part", TAG);
            site.add("other", "{% cached timeout=60, name='other' %}x{% endcached %}");
            site.add("page", &source.replace("TAG", TAG));
            if warm {
                site.render("page");
                site.cache.invalidate_obj("comments", &json!({"id": 2})).unwrap();
                site.tags.clone().add_template(&mut site.env, "part", format!("{TAG} ")).unwrap();
                site.add("page", &format!("{} ", source.replace("TAG", TAG)));
            }
            site.is_armed.store(true, Ordering::SeqCst);
            site.render("page");
            assert!(!site.is_armed.load(Ordering::SeqCst));
            for turn in 1..=2 {
                let page = site.render("page");
                assert!(page.contains('2'), "{source}: {page:?} in turn {turn}, warm: {warm}");
            }
            // What was read too long ago does not keep it from being stored.
            let before = site.cache.stats();
            site.render("page");
            let now = site.cache.stats();
            assert_eq!((now.misses, now.stored), (before.misses, before.stored), "{source}");
        }
    }
}

/// Whatever a handler has got with its page counts until the page ends.
fn what_is_got_with_a_page<B: Backend>() {
    let cache = B::cache(Cacheops::builder());
    let text = AtomicU64::new(1);
    let one = || QuerySet::table("comments").filter(eq("id", 1));
    let first = |page: &Page| {
        let got = cache.cached_as("comments").page(page);
        got.get_or_fill(|| Ok::<_, Error>(text.load(Ordering::SeqCst))).unwrap()
    };
    let second = |page: &Page, shown: u64| {
        cache.cached_as(one()).page(page).get_or_fill(|| Ok::<_, Error>(shown)).unwrap()
    };
    // A fill, and a hit.
    for is_hit in [false, true] {
        cache.invalidate_all().unwrap();
        let page = cache.page();
        if is_hit {
            first(&cache.page());
        }
        let shown = first(&page);
        write(&cache, &text);
        assert_eq!(second(&page, shown), shown);
        drop(page);
        let page = cache.page();
        let shown = first(&page);
        assert_eq!(second(&page, shown), shown, "is_hit: {is_hit}");
        assert_eq!(second(&page, 0), shown, "it is stored");
    }
}

/// A page that is entered: all that the thread reads, and renders, is of it.
fn a_page_that_is_entered<B: Backend>() {
    let mut site = Site::new(B::cache(Cacheops::builder()));
    site.add("part", TAG);
    let handle = |changes: bool| {
        let page = site.cache.page();
        page.enter();
        let got = site.cache.cached_as("comments");
        let shown = got.get_or_fill(|| Ok::<_, Error>(site.text.load(Ordering::SeqCst))).unwrap();
        if changes {
            write(&site.cache, &site.text);
        }
        let c = Value::from(Serde(json!({"id": 1, "text": shown})));
        site.env.get_template("part").unwrap().render(context!(c)).unwrap()
    };
    assert_eq!((handle(true), handle(false), handle(true)), ("1".into(), "2".into(), "2".into()));
    assert_eq!(handle(false), "3");
}

/// Rows that a handler has read before it renders, of which it keeps no list.
fn rows_of_before_the_rendering<B: Backend>() {
    let mut site = Site::new(B::cache(Cacheops::builder()));
    site.add("part", TAG);
    let handle = |changes: bool| {
        let c = comments(&site.cache, &site.text).get_item_by_index(0).unwrap();
        if changes {
            write(&site.cache, &site.text);
        }
        site.env.get_template("part").unwrap().render(context!(c)).unwrap()
    };
    assert_eq!((handle(true), handle(false), handle(false)), ("1".into(), "2".into(), "2".into()));
}

/// What the query of a lazy queryset gets from the cache, or says of its rows,
/// is so of them at each look, wherever the first one was.
fn what_a_query_stands_on<B: Backend>() {
    const LOOKS: [&str; 4] = [
        "",
        "{{ l|length }}",
        "{% cached_as l, name='count' %}{{ l|length }}{% endcached_as %}",
        "{% set rows = l|list %}{% cached_as l, name='text' %}{% for a in rows %}{{ a }}{% endfor %}{% endcached_as %}",
    ];
    const LIST: &str = "|{% cached_as l %}{% for a in l %}{{ a }}{% endfor %}{% endcached_as %}";
    for look in LOOKS {
        for is_skipped in [false, true] {
            let mut site = Site::new(B::cache(Cacheops::builder()));
            let (cache, text) = (site.cache.clone(), site.text.clone());
            site.env.add_function("articles", move || {
                let (of, text) = (cache.clone(), text.clone());
                lazy(&cache, QuerySet::table("articles"), move || {
                    if is_skipped {
                        of.do_not_cache();
                        return Ok(vec![text.load(Ordering::SeqCst)]);
                    }
                    let author = of.cached_as("authors");
                    Ok::<_, Error>(vec![
                        author.get_or_fill(|| Ok::<_, Error>(text.load(Ordering::SeqCst)))?,
                    ])
                })
            });
            site.add("page", &format!("{{% set l = articles() %}}{look}{LIST}"));
            site.render("page");
            site.text.fetch_add(1, Ordering::SeqCst);
            if !is_skipped {
                site.cache.invalidate_model("authors").unwrap();
            }
            let page = site.render("page");
            assert!(page.ends_with("|2"), "{look}: {page}");
            let is_text_new = !is_skipped || !look.contains("text") || page.starts_with('2');
            assert!(is_text_new, "rows that were shown by a variable: {page}");
        }
    }
}

/// A lazy queryset that outlives a rendering, and changes, keeps nothing else
/// from being stored once it has been read anew.
fn rows_that_live_long<B: Backend>() {
    let mut site = Site::new(B::cache(Cacheops::builder()));
    let list = comments(&site.cache, &site.text);
    site.env.add_global("list", list);
    site.add("list", "{% for c in list %}{{ c.text }}{% endfor %}");
    site.add("other", "{% cached timeout=60 %}x{% endcached %}");
    assert_eq!(site.render("list"), "1");
    write(&site.cache, &site.text);
    assert_eq!(site.render("list"), "2");
    site.render("other");
    assert_eq!(site.cache.stats().stored, 1);
}

/// What is shown in place of rows that cannot be read is not kept, wherever
/// that is: no change tells that they can be.
fn rows_that_cannot_be_read<B: Backend>() {
    const PAGES: [&str; 4] = [
        "{% set t = safe(l) %}{% cached_as l %}{{ t }}{% endcached_as %}",
        "{% set t %}{% cached_as l %}{{ safe(l) }}{% endcached_as %}{% endset %}{% cached_as l %}{{ t }}{% endcached_as %}",
        "{% cached_as l %}{% set t = safe(l) %}{% cached_as l %}{{ t }}{% endcached_as %}{% endcached_as %}",
        "{% set t = safe(l) %}{% include 'part' %}",
    ];
    for source in PAGES {
        let mut site = Site::new(B::cache(Cacheops::builder()));
        site.env.add_function("safe", |rows: Value| {
            let first = rows.try_iter().ok().and_then(|mut rows| rows.next());
            first.and_then(|row| row.as_usize()).map_or("sorry".to_owned(), |row| row.to_string())
        });
        site.add("part", "{% cached_as l %}{{ t }}{% endcached_as %}");
        site.add("page", source);
        let render = |fails: bool| {
            let l = lazy(&site.cache, QuerySet::table("rows"), move || {
                if fails { Err(std::io::Error::other("down")) } else { Ok(vec![7]) }
            });
            site.env.get_template("page").unwrap().render(context!(l)).unwrap()
        };
        assert_eq!((render(true), render(false)), ("sorry".into(), "7".into()), "{source}");
        let before = site.cache.stats().stored;
        assert!(before > 0, "{source}: what can be read is kept");
        assert_eq!((render(true), site.cache.stats().stored), ("7".into(), before), "{source}");
    }
}

/// A block that an application renders by itself begins a rendering, before it
/// reads anything.
fn blocks_that_are_rendered_by_themselves<B: Backend>() {
    const BLOCKS: [&str; 4] = [
        "{% set c = got(1)|first %}{{ change() }}TAG",
        "{% set c = got(1)|first %}{{ render('widget', 1) }}{{ change() }}TAG",
        "{% set c = comments()|first %}{{ render('widget', 1) }}{{ change() }}TAG",
        "{% set c = comments()|first %}{{ end_page() }}{{ change() }}TAG",
    ];
    for source in BLOCKS {
        let mut site = Site::new(B::cache(Cacheops::builder()));
        let other: Arc<Mutex<Option<Page>>> = Arc::default();
        let it = other.clone();
        site.env.add_function("end_page", move || {
            it.lock().unwrap().take();
            ""
        });
        site.add("widget", "{{ c }}");
        let block = source.replace("TAG", TAG);
        site.add("page", &format!("{{% block b %}}{block}{{% endblock %}}"));
        let render = || {
            let template = site.env.get_template("page").unwrap();
            template.new_state().render_block("b").unwrap()
        };
        if source.contains("end_page") {
            let page = site.cache.page();
            page.enter();
            *other.lock().unwrap() = Some(page);
        }
        site.is_armed.store(true, Ordering::SeqCst);
        render();
        assert!(!site.is_armed.load(Ordering::SeqCst));
        let page = render();
        assert!(page.ends_with('2'), "{source}: {page}");
    }
}

/// Where the plugin does not see the beginning, a page that the handler enters
/// has all count that is read.
fn templates_past_the_plugin_in_a_page<B: Backend>() {
    const CALL: &str =
        "{% call cached_as(queryset('comments', id=c.id)) %}{{ c.text }}{% endcall %}";
    const SOURCES: [&str; 4] = [
        "{% set c = got(1)|first %}{{ change() }}CALL",
        "{% set c = got(1)|first %}{{ change() }}{% include 'part' %}",
        "{% set c = comments()|first %}{{ change() }}{{ render('widget', 1) }}CALL",
        "{% set c = comments()|first %}{{ render('widget', 1) }}{{ change() }}{% include 'part' %}",
    ];
    for source in SOURCES {
        let mut site = Site::new(B::cache(Cacheops::builder()));
        site.add("widget", "{{ c }}");
        site.add("part", TAG);
        site.env.add_template_owned("page", source.replace("CALL", CALL)).unwrap();
        let render = || {
            let page = site.cache.page();
            page.enter();
            site.render("page")
        };
        site.is_armed.store(true, Ordering::SeqCst);
        render();
        let page = render();
        assert!(page.ends_with('2'), "{source}: {page}");
    }
}

on_stores! {
    templates_past_the_plugin_in_a_page
    blocks_that_are_rendered_by_themselves
    what_a_query_stands_on
    rows_that_live_long
    rows_that_cannot_be_read
    rows_count_until_the_rendering_ends
    what_is_got_with_a_page
    a_page_that_is_entered
    rows_of_before_the_rendering
}

/// A state that is kept goes on, in another thread too, with what it has read.
#[test]
fn a_state_that_is_kept_works_in_another_thread() {
    let mut site = Site::new(InMemory::cache(Cacheops::builder()));
    let tag = TAG.replace("c.", "ns.c.");
    site.add(
        "page",
        &format!(
            "{{% set ns = namespace() %}}{{% for c in comments() %}}{{% set ns.c = c %}}{{% endfor %}}{{% cached timeout=9 %}}{{% endcached %}}{{% block b %}}{{{{ change() }}}}{tag}{{% endblock %}}"
        ),
    );
    let page = |changes: bool| {
        let template = site.env.get_template("page").unwrap();
        let mut kept = template.render_captured(()).unwrap();
        site.is_armed.store(changes, Ordering::SeqCst);
        std::thread::scope(|scope| {
            let rest = scope.spawn(move || kept.with_state_mut(|state| state.render_block("b")));
            rest.join().unwrap().unwrap()
        })
    };
    assert_eq!(page(true), "1");
    assert_eq!(page(false), "2");
}
