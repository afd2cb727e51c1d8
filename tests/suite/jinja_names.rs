//! Names that are relative to the template that names them
//! (`set_path_join_callback`).

use std::sync::{Arc, Mutex};

use cacheops::Cacheops;
use minijinja::Environment;
use minijinja_cacheops::{Tags, TemplateSource};

type Files = Arc<Mutex<Vec<(&'static str, &'static str)>>>;

/// Names are relative to the folder of the template, all of them.
fn site(files: &Files) -> (Environment<'static>, Cacheops) {
    let cache = Cacheops::in_memory();
    let mut env = Environment::new();
    env.set_path_join_callback(|name, parent| match parent.rsplit_once('/') {
        Some((folder, _)) => format!("{folder}/{name}").into(),
        None => name.into(),
    });
    let tags = Tags::install(&mut env, &cache);
    let of = files.clone();
    tags.set_loader(&mut env, move |name| {
        let files = of.lock().unwrap();
        Ok(files.iter().rev().find(|(other, _)| *other == name).map(|(_, text)| *text))
    });
    (env, cache)
}

#[test]
fn an_include_by_a_variable_is_relative_to_its_folder() {
    let files = Files::default();
    files.lock().unwrap().extend([
        ("page", "{% cached timeout=60 %}{% include 'sub/inner' %}{% endcached %}"),
        (
            "sub/inner",
            "{% set name = 'leaf' %}{% include [name, 'other'] %}{% include name ignore missing %}",
        ),
        ("sub/other", "other"),
        // Another of that name, where the tag is.
        ("leaf", "wrong"),
    ]);
    let (mut env, cache) = site(&files);
    let render = |env: &Environment<'_>| env.get_template("page").unwrap().render(()).unwrap();
    assert_eq!((render(&env), render(&env)), ("other".into(), "other".into()));
    assert_eq!(cache.stats().hits, 1, "the second is a hit");
    // One is added later, and one is changed.
    files.lock().unwrap().push(("sub/leaf", "leaf"));
    assert_eq!((render(&env), render(&env)), ("leafleaf".into(), "leafleaf".into()));
    assert_eq!(cache.stats().hits, 2);
    files.lock().unwrap().push(("sub/leaf", "new"));
    env.clear_templates();
    assert_eq!((render(&env), render(&env)), ("newnew".into(), "newnew".into()));
    assert_eq!(cache.stats().hits, 3);
}

#[test]
fn inheritances_and_imports_are_relative_to_their_folder() {
    let files = Files::default();
    files.lock().unwrap().extend([
        ("sub/child", "{% extends 'layout' %}{% block a %}child{% endblock %}"),
        ("sub/layout", "{% cached timeout=60 %}{% block a %}{% endblock %}{% endcached %}{% include 'deep/part' %}"),
        ("sub/deep/part", "{% set name = 'macros' %}{% import name as m %}{% cached timeout=60 %}{{ m.x() }}{% endcached %}"),
        ("sub/deep/macros", "{% macro x() %}1{% endmacro %}"),
    ]);
    let (mut env, cache) = site(&files);
    let render = |env: &Environment<'_>| env.get_template("sub/child").unwrap().render(()).unwrap();
    assert_eq!((render(&env), render(&env)), ("child1".into(), "child1".into()));
    assert_eq!(cache.stats().hits, 2);
    files.lock().unwrap().push(("sub/deep/macros", "{% macro x() %}2{% endmacro %}"));
    files
        .lock()
        .unwrap()
        .push(("sub/child", "{% extends 'layout' %}{% block a %}new{% endblock %}"));
    env.clear_templates();
    assert_eq!((render(&env), render(&env)), ("new2".into(), "new2".into()));
}

/// A text that is rendered under the name of a template fills a layout's blocks
/// otherwise than that template does.
#[test]
fn a_text_under_the_name_of_a_template_shares_no_fragment() {
    let mut env = Environment::new();
    let tags = Tags::install(&mut env, &Cacheops::in_memory());
    let layout = "{% cached %}[{% block c %}{% endblock %}]{% endcached %}";
    tags.add_template(&mut env, "layout", layout).unwrap();
    let child =
        |text: &str| format!("{{% extends 'layout' %}}{{% block c %}}{text}{{% endblock %}}");
    tags.add_template(&mut env, "page", child("A")).unwrap();
    for _ in 0..2 {
        assert_eq!(env.get_template("page").unwrap().render(()).unwrap(), "[A]");
        for text in ["B", "C", "A", "D"] {
            let source = tags.rewrite(env.syntax(), "page", &child(text)).unwrap();
            let page = env.render_named_str("page", &source, ()).unwrap();
            assert_eq!(page, format!("[{text}]"));
        }
    }
}

/// Templates that are edited while a page runs that has them already.
#[test]
fn an_edited_template_stores_no_old_fragment() {
    let layout = "{% cached %}[{% block c %}{% endblock %}]{% endcached %}";
    for page in [
        "{% from 'lib' import m %}{{ edit() }}{% cached %}{{ m() }}{% endcached %}",
        "{% import 'lib' as lib %}{{ edit() }}{% cached %}{{ lib.m() }}{% endcached %}",
        "{% set n = 'lib' %}{% from n import m %}{{ edit() }}{% cached %}{{ m() }}{% endcached %}",
        "{% extends 'layout' %}{{ edit() }}{% block c %}VERSION{% endblock %}",
    ] {
        let version = Arc::new(Mutex::new("V1"));
        let mut env = Environment::new();
        let tags = Tags::install(&mut env, &Cacheops::in_memory());
        let it = version.clone();
        tags.set_loader(&mut env, move |name| {
            let now = *it.lock().unwrap();
            let text = match name {
                "page" => page.replace("VERSION", now),
                "lib" => format!("{{% macro m() %}}{now}{{% endmacro %}}"),
                _ => layout.to_owned(),
            };
            let again = it.clone();
            let source = TemplateSource::new(text);
            Ok(Some(source.with_uptodate_check(move || *again.lock().unwrap() == now)))
        });
        let it = version.clone();
        env.add_function("edit", move || {
            *it.lock().unwrap() = "V2";
            ""
        });
        let render = || env.get_template("page").unwrap().render(()).unwrap();
        assert!(render().contains("V1"), "{page}");
        assert!(render().contains("V2"), "{page}");
    }
}

/// A dynamic import of a template that the tag's own template imports, or that
/// is in its inheritance.
#[test]
fn a_dynamic_import_in_another_template_is_in_the_key() {
    let by_lib = "{% set n = 'base' %}{% from n import b %}{% macro m() %}{{ b() }}{% endmacro %}";
    let by_layout = "{% set n = 'base' %}{% from n import b %}{% block c %}{{ b() }}{% endblock %}";
    for (page, other) in [
        ("{% from 'other' import m %}{% cached %}{{ m() }}{% endcached %}", by_lib),
        (
            "{% extends 'other' %}{% block c %}{% cached %}{{ super() }}{% endcached %}{% endblock %}",
            by_layout,
        ),
    ] {
        let mut env = Environment::new();
        let tags = Tags::install(&mut env, &Cacheops::in_memory());
        for (name, source) in [("other", other), ("page", page)] {
            tags.add_template(&mut env, name, source).unwrap();
        }
        for text in ["V1", "V2"] {
            let base = format!("{{% macro b() %}}{text}{{% endmacro %}}");
            tags.add_template(&mut env, "base", base).unwrap();
            assert_eq!(env.get_template("page").unwrap().render(()).unwrap(), text, "{page}");
        }
    }
}
