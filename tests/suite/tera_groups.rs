//! Which templates Tera resolves a name to, and what that means for tags whose
//! bodies are made of several templates.

use cacheops::Cacheops;
use tera::{Context, Tera, context};
use tera_cacheops::Tags;

fn engine(prefixes: &[&'static str]) -> (Tera, Tags, Cacheops) {
    let cache = Cacheops::in_memory();
    let mut tera = Tera::default();
    tera.set_fallback_prefixes(prefixes.iter().copied()).unwrap();
    let tags = Tags::install(&mut tera, &cache);
    (tera, tags, cache)
}

const LAYOUT: &str = "{% cached %}[{% block b %}{% endblock %}]{% endcached %}";

/// The order of the prefixes decides, and not that of the names.
#[test]
fn layouts_behind_prefixes_share_no_fragments() {
    for (plain, cached) in [("a/", "b/"), ("b/", "a/")] {
        for prefixes in [["a/", "b/"], ["b/", "a/"]] {
            let (mut tera, tags, _) = engine(&prefixes);
            let child =
                |text: &str| format!("{{% extends 'base' %}}{{% block b %}}{text}{{% endblock %}}");
            tags.add_templates(
                &mut tera,
                [
                    (format!("{plain}base"), "<{% block b %}{% endblock %}>".to_owned()),
                    (format!("{cached}base"), LAYOUT.to_owned()),
                    ("one".to_owned(), child("1")),
                    ("two".to_owned(), child("2")),
                ],
            )
            .unwrap();
            let edges = if prefixes[0] == cached { ("[", "]") } else { ("<", ">") };
            for (name, text) in [("one", "1"), ("two", "2"), ("one", "1")] {
                let expected = format!("{}{text}{}", edges.0, edges.1);
                assert_eq!(tera.render(name, &Context::new()).unwrap(), expected);
                assert_eq!(tags.render(&tera, name, &Context::new()).unwrap(), expected);
                assert_eq!(tags.render_block(&tera, name, "b", &Context::new()).unwrap(), text);
            }
        }
    }
}

/// A page that is itself found by a prefix, and a chain of layouts.
#[test]
fn pages_behind_prefixes_share_no_fragments() {
    let (mut tera, tags, _) = engine(&["theme/", "base/"]);
    tags.add_templates(
        &mut tera,
        [
            ("base/page", "{% block b %}never{% endblock %}"),
            ("base/layout", LAYOUT),
            ("theme/page", "{% extends 'middle' %}{% block b %}theme{% endblock %}"),
            ("base/middle", "{% extends 'layout' %}{% block b %}{% endblock %}"),
            ("other", "{% extends 'middle' %}{% block b %}other{% endblock %}"),
        ],
    )
    .unwrap();
    for _ in 0..2 {
        let context = Context::new();
        assert_eq!(tags.render(&tera, "page", &context).unwrap(), "[theme]");
        assert_eq!(tags.render(&tera, "other", &context).unwrap(), "[other]");
        assert_eq!(tags.render_block(&tera, "page", "b", &context).unwrap(), "theme");
    }
    // One of the exact name comes later, and goes before those with a prefix.
    tags.add_template(&mut tera, "middle", "{% extends 'layout' %}").unwrap();
    tags.add_template(&mut tera, "layout", "({% block b %}{% endblock %})").unwrap();
    assert_eq!(tags.render(&tera, "page", &Context::new()).unwrap(), "(theme)");
    assert_eq!(tags.render(&tera, "other", &Context::new()).unwrap(), "(other)");
}

/// What blocks set in any of the layouts is put back behind a tag.
#[test]
fn assignments_of_blocks_behind_prefixes_end_with_the_tag() {
    let (mut tera, tags, _) = engine(&["b/", "a/"]);
    tags.add_templates(
        &mut tera,
        [
            ("a/base", "{% block b %}{% endblock %}"),
            (
                "b/base",
                "{% set x = 1 %}{% cached %}{% block b %}{% endblock %}{% endcached %}{{ x }}",
            ),
            ("page", "{% extends 'base' %}{% block b %}{% set x = 2 %}b{% endblock %}"),
        ],
    )
    .unwrap();
    for _ in 0..2 {
        assert_eq!(tera.render("page", &Context::new()).unwrap(), "b1");
    }
}

/// Where a block is rendered alone, the tags around it are left out; what they
/// set has its old value behind them all the same.
#[test]
fn assignments_end_with_a_tag_that_does_not_cache() {
    let (mut tera, tags, _) = engine(&[]);
    let page = "{% set x = 1 %}{% set y = 1 %}\
        {% cached %}{% set x = 2 %}{% block a %}{% set_global y = 2 %}{% endblock %}{% endcached %}\
        {% block b %}{% cached %}{{ x }}{{ y }}{% endcached %}{{ x }}{{ y }}{% endblock %}";
    tags.add_template(&mut tera, "page", page).unwrap();
    let context = Context::new();
    assert_eq!(tags.render_block(&tera, "page", "b", &context).unwrap(), "1111");
    assert_eq!(tags.render(&tera, "page", &context).unwrap(), "1111");
    assert_eq!(tags.render_block(&tera, "page", "b", &context).unwrap(), "1111");
}

/// A name that Tera has itself is not that of another template that only ends
/// like it.
#[test]
fn a_template_without_the_plugin_with_the_same_ending_is_refused() {
    let (mut tera, tags, _) = engine(&[]);
    tera.add_raw_template("part", "raw").unwrap();
    tags.add_template(&mut tera, "my part", "mine").unwrap();
    let page = "{% cached %}{% include 'part' %}{% endcached %}";
    let error = tags.add_template(&mut tera, "page", page).unwrap_err().to_string();
    assert!(error.contains("was not loaded through `Tags`"), "{error}");
    // The same for what it extends.
    tera.add_raw_template("base", "{% block b %}{% endblock %}").unwrap();
    tags.add_template(&mut tera, "my base", LAYOUT).unwrap();
    let page = "{% extends 'base' %}{% block b %}{% cached %}x{% endcached %}{% endblock %}";
    let error = tags.add_template(&mut tera, "page", page).unwrap_err().to_string();
    assert!(error.contains("was not loaded through `Tags`"), "{error}");
}

/// Blanks in the name of a component do not hide which one it is.
#[test]
fn components_written_with_blanks_are_found() {
    let (mut tera, tags, _) = engine(&[]);
    let component =
        |text: &str| format!("{{% component ui . Card() %}}{text}{{% endcomponent ui.Card %}}");
    tags.add_template(&mut tera, "ui", component("1")).unwrap();
    let uses = "{% cached %}{{ < ui .Card /> }}{% < ui. Card > %}{% </ ui . Card > %}{% endcached %}{{ n }}";
    tags.add_template(&mut tera, "page", uses).unwrap();
    let render = |tera: &Tera| tera.render("page", &context!(n => &0)).unwrap();
    assert_eq!((render(&tera), render(&tera)), ("110".to_owned(), "110".to_owned()));
    tags.add_template(&mut tera, "ui", component("2")).unwrap();
    assert_eq!(render(&tera), "220");
    // One that came past the plugin.
    tera.add_raw_template("raw", "{% component my.Box() %}{% endcomponent my.Box %}").unwrap();
    let uses = "{% cached %}{{ <my . Box /> }}{% endcached %}";
    let error = tags.add_template(&mut tera, "box", uses).unwrap_err().to_string();
    assert!(error.contains("`my.Box`, which was not loaded through `Tags`"), "{error}");
}

/// A child that came past the plugin is not taken for the layout.
#[test]
fn a_child_without_the_plugin_caches_no_blocks() {
    let (mut tera, tags, cache) = engine(&["theme/"]);
    tags.add_template(&mut tera, "layout", LAYOUT).unwrap();
    tags.add_template(&mut tera, "theme/page", "{% extends 'layout' %}").unwrap();
    tera.add_raw_templates([
        ("one", "{% extends 'layout' %}{% block b %}1{% endblock %}"),
        ("theme/two", "{% extends 'layout' %}{% block b %}2{% endblock %}"),
    ])
    .unwrap();
    let render = |name: &str| tags.render(&tera, name, &Context::new()).unwrap();
    for (name, page) in [("layout", "[]"), ("one", "[1]"), ("two", "[2]"), ("page", "[]")] {
        assert_eq!((render(name), render(name)), (page.to_owned(), page.to_owned()));
        let mut out = Vec::new();
        tags.render_to(&tera, name, &Context::new(), &mut out).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), page);
    }
    // Those that are known are cached all the same, by a prefix, too.
    assert_eq!(cache.stats().stored, 2);
    // What extends one of them.
    let child = |text: &str| format!("{{% extends 'one' %}}{{% block b %}}{text}{{% endblock %}}");
    tags.add_templates(&mut tera, [("three", child("3")), ("four", child("4"))]).unwrap();
    let render = |name: &str| tags.render(&tera, name, &Context::new()).unwrap();
    assert_eq!((render("three"), render("four")), ("[3]".to_owned(), "[4]".to_owned()));
}

/// A template that has become one that nothing can be known of is no matter to
/// a source that does not use it.
#[test]
fn a_source_that_is_not_added_is_checked_alone() {
    let (mut tera, tags, _) = engine(&["a/"]);
    tags.add_templates(
        &mut tera,
        [("a/part", "p"), ("page", "{% cached %}{% include 'part' %}{% endcached %}")],
    )
    .unwrap();
    tera.add_raw_template("part", "raw").unwrap();
    let render = |source: &str| tags.render_str(&tera, source, &context!(n => &1), true);
    assert_eq!(render("{{ n }}").unwrap(), "1");
    assert_eq!(render("{% cached %}{{ n }}{% endcached %}").unwrap(), "1");
    let error = render("{% cached %}{% include 'page' %}{% endcached %}").unwrap_err().to_string();
    assert!(error.contains("was not loaded through `Tags`"), "{error}");
}

/// A component of such a source hands its `body` to what it includes.
#[test]
fn components_of_a_source_that_is_not_added_are_checked() {
    let (mut tera, tags, _) = engine(&[]);
    tags.add_template(&mut tera, "part", "{% cached %}{{ body }}{% endcached %}").unwrap();
    let source = "{% component C() %}{% include 'part' %}{% endcomponent C %}{% <C> %}1{% </C> %}";
    let error = tags.render_str(&tera, source, &Context::new(), true).unwrap_err().to_string();
    assert!(error.contains("passes `body` to it"), "{error}");
}
