//! Names that are relative to the template that names them
//! (`set_path_join_callback`).

use std::sync::{Arc, Mutex};

use cacheops::Cacheops;
use minijinja::Environment;
use minijinja_cacheops::Tags;

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
fn an_include_by_a_variable_in_another_folder() {
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
fn inheritances_and_imports_in_another_folder() {
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
