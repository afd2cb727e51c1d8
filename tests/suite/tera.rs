//! How templates reach Tera, and Tera's own features on templates with tags.

use std::error::Error as _;
use std::fs;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use cacheops::{Cacheops, QuerySet, eq};
use tera::{Context, Delimiters, Error, Kwargs, State, Tera, Value, context};
use tera_cacheops::{Caching, Tags, lazy, queryset};

fn engine() -> (Tera, Tags, Cacheops) {
    let cache = Cacheops::in_memory();
    let mut tera = Tera::default();
    tera.register_function("fail", |_: Kwargs, _: &State| {
        Err::<bool, _>(Error::message("no luck"))
    });
    let tags = Tags::install(&mut tera, &cache);
    (tera, tags, cache)
}

fn n(n: u32) -> Context {
    context!(n => &n)
}

#[test]
fn errors_show_the_original_source() {
    let (mut tera, tags, _) = engine();
    let source = "<p>\n{% set a = 1 %}{% cached extra=n %}{{ a }}{{ x }}{% endcached %}";
    tags.add_template(&mut tera, "page", source).unwrap();
    let expected = "\
error: Variable `x` is not defined. Available variables: a, n
 --> page:2:46
  |
2 | {% set a = 1 %}{% cached extra=n %}{{ a }}{{ x }}{% endcached %}
  |                                              ^";
    let error = tags.render(&tera, "page", &n(1)).unwrap_err();
    assert_eq!(error.to_string(), expected);
    // The same from Tera's own method.
    let error = tera.render("page", &n(1)).unwrap_err();
    assert!(error.to_string().contains("_cacheops"));
    assert_eq!(tags.author_error(error).to_string(), expected);
    // In an argument.
    let source = "{% cached extra=user.name.first %}x{% endcached %}";
    tags.add_template(&mut tera, "page", source).unwrap();
    let error = tags.render(&tera, "page", &context!(user => &1)).unwrap_err();
    let expected = "\
error: Field `name` is not defined.
 --> page:1:22
  |
1 | {% cached extra=user.name.first %}x{% endcached %}
  |                      ^^^^";
    assert_eq!(error.to_string(), expected);
    // Of the tag itself.
    let source = "a\n  b {% cached extra=x %}x{% endcached %}";
    tags.add_template(&mut tera, "page", source).unwrap();
    let error = tags.render(&tera, "page", &n(1)).unwrap_err();
    let expected = "\
error: `{% cached extra=x %}`: `extra` is undefined: fragments would be shared that should differ; give it a value, or `none` to mean that
 --> page:2:5
  |
2 |   b {% cached extra=x %}x{% endcached %}
  |     ^^^^^^^^^^^^^^^^^^^^";
    assert_eq!(error.to_string(), expected);
    // What no rewriting touches stays Tera's own error.
    tags.add_template(&mut tera, "page", "{% cached %}\n{{ fail() }}\n{% endcached %}").unwrap();
    let error = tags.render(&tera, "page", &n(1)).unwrap_err();
    assert!(matches!(error.kind(), tera::ErrorKind::RenderingError(_)), "{error}");
}

#[test]
fn errors_in_loading_show_the_original_source() {
    let (mut tera, tags, _) = engine();
    let mut load = |source: &str| {
        let error = tags.add_template(&mut tera, "page", source).unwrap_err().to_string();
        assert!(!error.contains("_cacheops"), "{error}");
        error
    };
    assert_eq!(
        load("ä\n ä{% cached timeot=1 %}x{% endcached %}"),
        "\
error: `{% cached timeot=1 %}`: it has no argument `timeot`; known are timeout, extra, name, lock, if and unless
 --> page:2:3
  |
2 |  ä{% cached timeot=1 %}x{% endcached %}
  |   ^^^^^^^^^^^^^^^^^^^^^"
    );
    assert_eq!(
        load("{% cached %}ä{{ x | nothing }}{% endcached %}"),
        "\
error: Unknown filter `nothing`
 --> page:1:21
  |
1 | {% cached %}ä{{ x | nothing }}{% endcached %}
  |                     ^^^^^^^"
    );
    assert_eq!(
        load("{% cached extra=a b %}{% endcached %}").lines().next().unwrap(),
        "error: `{% cached extra=a b %}`: `extra=…` needs commas: the form without them has no keywords"
    );
    assert_eq!(
        load("{% cached extra=a. %}{% endcached %}").lines().nth(1).unwrap(),
        " --> page:1:1"
    );
    load("{% cached %}{% for a in b %}{% block c %}{% endblock %}{% endfor %}{% endcached %}");
}

/// An error in a body gives the fill up at once, whoever began the rendering.
#[test]
fn a_failing_body_does_not_block_other_renders() {
    let (mut tera, tags, cache) = engine();
    let source = "{% cached %}{% if n == 1 %}{{ fail() }}{% endif %}{{ n }}{% endcached %}";
    tags.add_template(&mut tera, "page", source).unwrap();
    for through_tags in [true, false] {
        cache.invalidate_all().unwrap();
        let failed = match through_tags {
            true => tags.render(&tera, "page", &n(1)),
            false => tera.render("page", &n(1)),
        };
        assert!(failed.is_err());
        assert!(!cache.is_filling());
        let begun = Instant::now();
        let other = std::thread::scope(|scope| {
            scope.spawn(|| tera.render("page", &n(2)).unwrap()).join().unwrap()
        });
        assert_eq!(other, "2");
        assert!(begun.elapsed() < Duration::from_secs(5), "it waited");
        assert_eq!(tera.render("page", &n(3)).unwrap(), "2");
    }
    assert_eq!(cache.stats().stored, 2);
}

#[test]
fn a_panicking_body_does_not_block_other_renders() {
    let (mut tera, tags, cache) = engine();
    let fails = Arc::new(Mutex::new(true));
    let once = fails.clone();
    tera.register_function("panics", move |_: Kwargs, _: &State| {
        let fails = std::mem::replace(&mut *once.lock().unwrap(), false);
        assert!(!fails, "a body panics");
        "fine"
    });
    let source = "{% cached_as 'outer' %}{% cached_as 'inner' %}{{ panics() }}{% endcached_as %}{% endcached_as %}";
    tags.add_template(&mut tera, "page", source).unwrap();
    let render = || tera.render("page", &Context::new());
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(render));
    assert!(panicked.is_err());
    assert!(!cache.is_filling());
    assert_eq!(cache.stats().stored, 0);
    assert_eq!((render().unwrap(), render().unwrap()), ("fine".to_owned(), "fine".to_owned()));
    assert_eq!((cache.stats().stored, cache.stats().hits), (2, 1));
}

/// A function of Rust that swallows the error of a rendering leaves a fill
/// behind: what is around it depends on that fill all the same.
#[test]
fn a_caught_error_of_another_tera_does_not_stop_caching() {
    let (mut inner, inner_tags, cache) = engine();
    inner_tags
        .add_template(&mut inner, "inner", "{% cached_as 'inner' %}{{ fail() }}{% endcached_as %}")
        .unwrap();
    let mut tera = Tera::default();
    tera.register_function("swallow", move |_: Kwargs, _: &State| {
        inner.render("inner", &Context::new()).unwrap_or_else(|_| "swallowed".to_owned())
    });
    let tags = Tags::install(&mut tera, &cache);
    let source = "{% cached_as 'outer' %}{{ swallow() }}{{ n }}{% endcached_as %}";
    tags.add_template(&mut tera, "page", source).unwrap();
    let render = |i: u32| tera.render("page", &n(i)).unwrap();
    assert_eq!((render(1), render(2)), ("swallowed1".to_owned(), "swallowed1".to_owned()));
    cache.invalidate_model("inner").unwrap();
    assert_eq!(render(3), "swallowed3");
}

#[test]
fn templates_that_use_each_other_load_at_once() {
    let (mut tera, tags, _) = engine();
    tags.add_templates(
        &mut tera,
        [
            ("page.html", "{% extends 'base.html' %}{% block b %}{% cached %}{% include 'part.html' %}{{ n }}{% endcached %}{% endblock %}"),
            ("base.html", "[{% block b %}{% endblock %}]"),
            ("part.html", "p{% include 'deep.html' %}"),
            ("deep.html", "d"),
        ],
    )
    .unwrap();
    let render = |tera: &Tera, i: u32| tera.render("page.html", &n(i)).unwrap();
    assert_eq!((render(&tera, 1), render(&tera, 2)), ("[pd1]".into(), "[pd1]".into()));
    // A clone goes on with what it has.
    let old = tera.clone();
    tags.add_template(&mut tera, "deep.html", "D").unwrap();
    assert_eq!((render(&tera, 3), render(&tera, 4)), ("[pD3]".into(), "[pD3]".into()));
    assert_eq!(render(&old, 5), "[pd1]");
    // A name with escapes.
    let escaped = "{% cached %}{% include \"de\\\"ep\" %}{% endcached %}";
    tags.add_templates(&mut tera, [("de\"ep", "1"), ("escaped", escaped)]).unwrap();
    assert_eq!(tera.render("escaped", &n(1)).unwrap(), "1");
    tags.add_template(&mut tera, "de\"ep", "2").unwrap();
    assert_eq!(tera.render("escaped", &n(1)).unwrap(), "2");
    // What fails changes nothing.
    assert!(tags.add_template(&mut tera, "deep.html", "{{ x | nothing }}").is_err());
    assert!(tags.add_template(&mut tera, "part.html", "{% cached %}").is_err());
    assert_eq!(render(&tera, 6), "[pD3]");
    tags.add_template(&mut tera, "deep.html", "d").unwrap();
    assert_eq!(render(&tera, 7), "[pd1]");
}

#[test]
fn a_tag_cannot_use_a_template_loaded_without_the_plugin() {
    let (mut tera, tags, _) = engine();
    tera.add_raw_template("raw", "r").unwrap();
    tags.add_template(&mut tera, "fine", "{% include 'raw' %}").unwrap();
    let error =
        tags.add_template(&mut tera, "page", "{% cached %}{% include 'raw' %}{% endcached %}");
    assert!(error.unwrap_err().to_string().contains("was not loaded through `Tags`"));
    for delimiters in [
        Delimiters { variable_start: "<<".into(), ..Delimiters::default() },
        Delimiters { block_start: "<%".into(), block_end: "%>".into(), ..Delimiters::default() },
        Delimiters { comment_end: "#>".into(), ..Delimiters::default() },
    ] {
        let mut other = Tera::default();
        other.set_delimiters(delimiters).unwrap();
        let tags = Tags::install(&mut other, &Cacheops::in_memory());
        let source = "{% cached %}text{% endcached %}{#> #}";
        let error = tags.add_template(&mut other, "page", source).unwrap_err();
        assert!(error.to_string().contains("Tags::set_delimiters"), "{error}");
    }
}

#[test]
fn templates_load_from_files_and_globs() {
    let (mut tera, tags, _) = engine();
    let folder = std::env::temp_dir().join(format!("cacheops-tera-{}", std::process::id()));
    fs::create_dir_all(folder.join("sub")).unwrap();
    let write = |name: &str, text: &str| fs::write(folder.join(name), text).unwrap();
    write(
        "sub/page.html",
        "{% cached %}\r\n{% include 'part.html' %}{{ n }}\r\n{% endcached %}\r\n",
    );
    write("part.html", "p");
    tags.add_template(&mut tera, "kept", "kept").unwrap();
    let glob = format!("{}/**/*.html", folder.display());
    tags.load_from_glob(&mut tera, &glob).unwrap();
    let render = |tera: &Tera, i: u32| tera.render("sub/page.html", &n(i));
    assert_eq!(render(&tera, 1).unwrap(), "\r\np1\r\n\r\n");
    assert_eq!(render(&tera, 2).unwrap(), "\r\np1\r\n\r\n");
    write("part.html", "P");
    write("new.html", "new");
    tags.full_reload(&mut tera).unwrap();
    assert_eq!(render(&tera, 3).unwrap(), "\r\nP3\r\n\r\n");
    assert_eq!(tera.render("new.html", &n(1)).unwrap(), "new");
    fs::remove_file(folder.join("new.html")).unwrap();
    tags.full_reload(&mut tera).unwrap();
    assert!(tera.render("new.html", &n(1)).is_err());
    assert_eq!(tera.render("kept", &n(1)).unwrap(), "kept");
    write("part.html", "{% cached %}");
    assert!(tags.full_reload(&mut tera).is_err());
    assert_eq!(render(&tera, 4).unwrap(), "\r\nP3\r\n\r\n");
    let file = folder.join("sub/page.html");
    write("part.html", "p");
    tags.add_template_files(&mut tera, [(&file, Some("named"))]).unwrap();
    assert_eq!(tera.render("named", &n(5)).unwrap(), "\r\nP5\r\n\r\n");
    assert!(tags.add_template_files(&mut tera, [("/nowhere", None::<&str>)]).is_err());
    fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn blocks_and_components_render_as_by_tera() {
    let (mut tera, tags, cache) = engine();
    tera.global_context().insert("site", "S");
    tags.add_templates(
        &mut tera,
        [
            ("base.html", "{% cached %}({% block a %}a{% endblock %}){% endcached %}{% block b %}{% cached %}b{{ site }}{{ n }}{% endcached %}{% endblock %}"),
            ("page.html", "{% extends 'base.html' %}{% block a %}{{ super() }}{% block c %}{% cached %}c{{ n }}{% endcached %}{% endblock %}{% endblock %}"),
            ("c.html", "{% component Card(title) %}{% cached extra=[title, body] %}<b>{{ title }}</b>{{ body }}{{ <Note t={title} /> }}{% endcached %}{% endcomponent Card %}{% component Note(t) %}{% cached extra=t %}!{{ t }}{% endcached %}{% endcomponent Note %}"),
            ("uses.html", "{% cached %}{% <Card title=\"<\"> %}{% cached %}i{{ n }}{% endcached %}{% </Card> %}{% endcached %}"),
        ],
    )
    .unwrap();
    for _ in 0..2 {
        assert_eq!(tera.render("page.html", &n(1)).unwrap(), "(ac1)bS1");
        let mut out = Vec::new();
        tera.render_to("page.html", &n(2), &mut out).unwrap();
        assert_eq!(out, b"(ac1)bS1");
        assert_eq!(tera.render_block("page.html", "b", &n(3)).unwrap(), "bS1");
        assert_eq!(tags.render_block(&tera, "page.html", "b", &n(3)).unwrap(), "bS1");
        assert_eq!(tags.render_block(&tera, "page.html", "a", &n(3)).unwrap(), "ac1");
        assert_eq!(tags.render_block(&tera, "page.html", "c", &n(3)).unwrap(), "c1");
        let card = |body: &str| {
            tera.render_component("Card", &context!(title => "<"), Some(body), true).unwrap()
        };
        assert_eq!(card("x"), "<b>&lt;</b>x!&lt;");
        assert_eq!(card("y"), "<b>&lt;</b>y!&lt;");
        assert_eq!(tera.render("uses.html", &n(1)).unwrap(), "<b>&lt;</b>i1!&lt;");
    }
    assert_eq!(tera.render_str("{{ n }}", &n(1), true).unwrap(), "1");
    assert_eq!(Tera::one_off("{{ n }}", &n(1), true).unwrap(), "1");
    let source = "{% cached %}{% include 'uses.html' %}{{ n }}{% endcached %}";
    assert_eq!(tags.render_str(&tera, source, &n(4), true).unwrap(), "<b>&lt;</b>i1!&lt;4");
    assert_eq!(tags.render_str(&tera, source, &n(5), true).unwrap(), "<b>&lt;</b>i1!&lt;4");
    let error = tags.render_str(&tera, "{% cached %}{{ x }}{% endcached %}", &n(5), true);
    assert!(!error.unwrap_err().to_string().contains("_cacheops"));
    assert!(!cache.is_filling());
}

#[test]
fn lazy_querysets_run_on_demand() {
    let (mut tera, tags, cache) = engine();
    let runs = Arc::new(AtomicU64::new(0));
    let articles = || {
        let runs = runs.clone();
        let set = QuerySet::table("articles").filter(eq("lang", "de"));
        lazy(&cache, set, move || {
            runs.fetch_add(1, Ordering::SeqCst);
            Ok::<_, std::io::Error>(vec![1, 2])
        })
    };
    let source = "{% cached_as a %}{% for i in rows(of=a) %}{{ i }}{% endfor %}{{ a | rows | length }}{% endcached_as %}";
    tags.add_template(&mut tera, "page", source).unwrap();
    let render = || {
        let a = articles();
        tags.render(&tera, "page", &context!(a => &a))
    };
    assert_eq!((render().unwrap(), render().unwrap()), ("122".into(), "122".into()));
    assert_eq!(runs.load(Ordering::SeqCst), 1);
    cache.invalidate_obj("articles", &serde_json::json!({"lang": "en"})).unwrap();
    assert_eq!(render().unwrap(), "122");
    cache.invalidate_obj("articles", &serde_json::json!({"lang": "de"})).unwrap();
    assert_eq!(render().unwrap(), "122");
    assert_eq!(runs.load(Ordering::SeqCst), 2);
    cache.invalidate_all().unwrap();
    let mut dropped = Context::new();
    dropped.insert_value("a", articles().value());
    let failure = |context: &Context| tags.render(&tera, "page", context).unwrap_err().to_string();
    assert!(failure(&dropped).contains("has been dropped"));
    let plain = queryset(QuerySet::table("articles"));
    assert!(failure(&context!(a => &plain)).contains("create it with `lazy(…)`"));
    assert!(failure(&context!(a => "articles")).contains("is not a queryset with rows"));
    let failing = lazy(&cache, "articles", || Err::<Vec<u8>, _>(std::io::Error::other("gone")));
    let error = tags.render(&tera, "page", &context!(a => &failing)).unwrap_err();
    assert_eq!(error.source().unwrap().to_string(), "gone");
    assert!(error.source().unwrap().is::<std::io::Error>());
    // A list passes as it is.
    tags.add_template(&mut tera, "list", "{{ a | rows | length }}").unwrap();
    assert_eq!(tera.render("list", &context!(a => &[1, 2, 3])).unwrap(), "3");
}

#[test]
fn names_that_no_tag_can_have_are_refused() {
    let (mut tera, tags, _) = engine();
    for name in ["", "for", "cached", "endx", "a b", "a-b", "1a", "ä", "set_global"] {
        let error = tags.decorator_tag(name, |_| Ok(Caching::skip()));
        assert!(error.unwrap_err().to_string().contains("cannot be a tag"), "{name}");
    }
    tags.decorator_tag("menu", |call| {
        let _ = call.keyword("known");
        Ok(Caching::cached())
    })
    .unwrap();
    tags.add_template(&mut tera, "page", "{% menu known=1, unknown=2 %}x{% endmenu %}").unwrap();
    let error = tags.render(&tera, "page", &Context::new()).unwrap_err();
    assert!(error.to_string().contains("unknown keyword argument 'unknown'"), "{error}");
}

/// Comments that tell where fragments are.
#[test]
fn marked_fragments_have_comments_around_them() {
    let (mut tera, tags, _) = engine();
    tags.mark_fragments(|state| {
        state.get::<Value>("outline").ok().flatten().is_some_and(|value| value.is_truthy())
    });
    let source = "{% cached %}x{% cached %}y{% endcached %}{% endcached %}";
    tags.add_templates(&mut tera, [("a.html", source), ("a.txt", source)]).unwrap();
    let render =
        |name: &str, outline: bool| tera.render(name, &context!(outline => &outline)).unwrap();
    assert_eq!(render("a.html", false), "xy");
    let marked = render("a.html", true);
    assert_eq!(marked.matches("<!--cacheops ").count(), 2);
    assert_eq!(marked.matches("<!--/cacheops ").count(), 2);
    assert_eq!(render("a.html", true), marked);
    assert_eq!(render("a.html", false), "xy");
    assert_eq!(render("a.txt", true), "xy");
}

/// A table that is never cached is not by way of its rows either.
#[test]
fn a_lazy_queryset_of_an_uncached_table_still_runs() {
    let cache = Cacheops::builder()
        .profile("sessions", cacheops::Profile::never())
        .profile("articles", cacheops::Profile::new())
        .build()
        .unwrap();
    let mut tera = Tera::default();
    let tags = Tags::install(&mut tera, &cache);
    tags.add_template(&mut tera, "page", "{% cached %}{{ a | rows | join }}{% endcached %}")
        .unwrap();
    let render = |table: &'static str| {
        let a = lazy(&cache, table, || Ok::<_, Error>(vec![1]));
        tags.render(&tera, "page", &context!(a => &a))
    };
    assert_eq!(render("sessions").unwrap(), "1");
    assert_eq!(cache.stats().stored, 0);
    assert!(render("unknown").unwrap_err().to_string().contains("no profile"));
}

/// A template that was rewritten for one set of tags says so under another.
#[test]
fn templates_of_tags_before_are_refused() {
    let cache = Cacheops::in_memory();
    let mut tera = tera::Tera::default();
    let first = Tags::install(&mut tera, &cache);
    first.add_template(&mut tera, "p1", "{% cached %}A{% endcached %}").unwrap();
    let second = Tags::install(&mut tera, &cache);
    second.add_template(&mut tera, "p2", "{% cached %}B{% endcached %}").unwrap();
    let render = |name| second.render(&tera, name, &tera::Context::new());
    assert!(render("p1").unwrap_err().to_string().contains("rewritten for another Tera"));
    assert_eq!(render("p2").unwrap(), "B");
}

/// A statement that becomes a tag between two attempts to load it.
#[test]
fn a_custom_tag_can_be_added_later() {
    let cache = Cacheops::in_memory();
    let mut tera = tera::Tera::default();
    let tags = Tags::install(&mut tera, &cache);
    let page = "{% menu %}P{% endmenu %}";
    assert!(tags.add_template(&mut tera, "page", page).is_err());
    tags.decorator_tag("menu", |_| Ok(tera_cacheops::Caching::cached())).unwrap();
    tags.add_template(&mut tera, "other", "{% menu %}O{% endmenu %}").unwrap();
    tags.add_template(&mut tera, "page", page).unwrap();
    let render = |name| tags.render(&tera, name, &tera::Context::new()).unwrap();
    assert_eq!((render("page"), render("other")), ("P".to_owned(), "O".to_owned()));
}

/// A body that fails inside a fragment which is not Tera's: what is shown in
/// its place depends on what the body read.
#[test]
fn fragments_that_caught_a_failure_are_not_cached() {
    let cache = Cacheops::in_memory();
    let mut tera = tera::Tera::default();
    let tags = Tags::install(&mut tera, &cache);
    tags.add_template(&mut tera, "inner", "{% cached_as 'inner' %}{{ gone }}{% endcached_as %}")
        .unwrap();
    let context = std::cell::RefCell::new(tera::Context::new());
    let outer = || {
        cache
            .cached()
            .get_or_fill(|| {
                let text = tera.render("inner", &context.borrow());
                Ok::<_, cacheops::Error>(text.unwrap_or_else(|_| "fallback".to_owned()))
            })
            .unwrap()
    };
    assert_eq!(outer(), "fallback");
    context.borrow_mut().insert("gone", "back");
    cache.invalidate_model("inner").unwrap();
    assert_eq!(outer(), "back");
}

/// A call whose span holds a whole tag, before text of several bytes a letter.
#[test]
fn errors_beside_a_tag_before_multibyte_letters_have_their_place() {
    for shift in ["", "a"] {
        let (mut tera, tags, _) = engine();
        let ending = format!("{shift}{}", "\u{e4}".repeat(300));
        let source = format!("{{% <C> %}}{{% cached %}}x{{% endcached %}}{{% </C> %}}{ending}");
        tags.add_template(&mut tera, "c", "{% component C() %}{{ gone }}{% endcomponent C %}")
            .unwrap();
        tags.add_template(&mut tera, "page", &source).unwrap();
        let error = tags.render(&tera, "page", &Context::new()).unwrap_err();
        let report = format!("{error}");
        assert!(report.contains("gone") && !report.contains("_cacheops"), "{report}");
    }
}
