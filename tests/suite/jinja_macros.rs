//! Macros that a template around an include defines or imports.

use cacheops::Cacheops;
use minijinja::{Environment, context};
use minijinja_cacheops::Tags;

/// What is included shows the macro of the page that includes it, on a miss and
/// on a hit, and after an edit of the macro.
fn a_body_shows_the_macros_of_its_own_page(page: &str, others: &[(&str, &str)]) {
    let mut env = Environment::new();
    let tags = Tags::install(&mut env, &Cacheops::in_memory());
    let mut add = |name: &str, source: &str| tags.add_template(&mut env, name, source).unwrap();
    let of = |text: &str| format!("{{% macro m() %}}{text}{{% endmacro %}}");
    others.iter().for_each(|(name, source)| add(name, source));
    for name in ["one", "two"] {
        add(&format!("macros_{name}"), &of(name));
        add(name, &page.replace("MACROS", &format!("'macros_{name}'")).replace("MACRO", &of(name)));
    }
    let render = |env: &Environment<'_>, name: &str, n: u8| {
        env.get_template(name).unwrap().render(context!(n, leaf => "leaf")).unwrap()
    };
    for n in [1, 2] {
        assert_eq!(
            (render(&env, "one", n), render(&env, "two", n)),
            ("one1".into(), "two1".into()),
            "{page}"
        );
    }
    tags.add_template(&mut env, "macros_one", of("new")).unwrap();
    let edited = page.replace("MACROS", "'macros_one'").replace("MACRO", &of("new"));
    tags.add_template(&mut env, "one", edited).unwrap();
    for n in [3, 4] {
        assert_eq!(
            (render(&env, "one", n), render(&env, "two", n)),
            ("new3".into(), "two1".into()),
            "{page}"
        );
    }
}

const PART: (&str, &str) = ("part", "{% cached %}{{ m() }}{{ n }}{% endcached %}");

#[test]
fn a_macro_that_the_page_defines_is_in_the_key() {
    a_body_shows_the_macros_of_its_own_page("MACRO{% include 'part' %}", &[PART]);
    a_body_shows_the_macros_of_its_own_page(
        "MACRO{% for i in [1] %}{% include 'part' %}{% endfor %}",
        &[PART],
    );
    a_body_shows_the_macros_of_its_own_page(
        "MACRO{% set f = m %}{% include 'part' %}",
        &[("part", "{% cached %}{{ f() }}{{ n }}{% endcached %}")],
    );
    a_body_shows_the_macros_of_its_own_page(
        "MACRO{% set all = {'f': [m]} %}{% include 'part' %}",
        &[("part", "{% cached %}{{ all.f[0]() }}{{ n }}{% endcached %}")],
    );
    a_body_shows_the_macros_of_its_own_page(
        "MACRO{% include 'part' %}",
        &[("part", "{% call cached() %}{{ m() }}{{ n }}{% endcall %}")],
    );
}

#[test]
fn a_macro_that_the_page_imports_is_in_the_key() {
    a_body_shows_the_macros_of_its_own_page(
        "{% from MACROS import m %}{% include 'part' %}",
        &[PART],
    );
    let module = ("part", "{% cached %}{{ all.m() }}{{ n }}{% endcached %}");
    a_body_shows_the_macros_of_its_own_page(
        "{% import MACROS as all %}{% include 'part' %}",
        &[module],
    );
}

#[test]
fn a_macro_that_an_include_of_the_body_calls_is_in_the_key() {
    let leaf = ("leaf", "{{ m() }}{{ n }}");
    let by_name = ("part", "{% cached %}{% include 'leaf' %}{% endcached %}");
    a_body_shows_the_macros_of_its_own_page("MACRO{% include 'part' %}", &[leaf, by_name]);
    let by_variable = ("part", "{% cached %}{% include leaf %}{% endcached %}");
    a_body_shows_the_macros_of_its_own_page("MACRO{% include 'part' %}", &[leaf, by_variable]);
    // It has one of the name, but later.
    let later =
        ("part", "{% cached %}{{ m() }}{{ n }}{% endcached %}{% macro m() %}{% endmacro %}");
    a_body_shows_the_macros_of_its_own_page("MACRO{% include 'part' %}", &[later]);
    let perhaps = (
        "part",
        "{% if n > 9 %}{% macro m() %}{% endmacro %}{% endif %}{% cached %}{{ m() }}{{ n }}{% endcached %}",
    );
    a_body_shows_the_macros_of_its_own_page("MACRO{% include 'part' %}", &[perhaps]);
}

#[test]
fn a_macro_that_a_child_defines_is_in_the_key() {
    let layout = ("layout", "{% cached %}{{ m() }}{{ n }}{% endcached %}");
    a_body_shows_the_macros_of_its_own_page("{% extends 'layout' %}MACRO", &[layout]);
}

/// A part that uses no macro from around it is shared by all pages.
#[test]
fn includes_without_outer_macros_are_shared() {
    let cache = Cacheops::in_memory();
    let mut env = Environment::new();
    let tags = Tags::install(&mut env, &cache);
    let own = "{% from 'own' import m %}{% import 'own' as all with context %}{% macro k() %}{% endmacro %}\
        {% cached extra=rows|length %}{{ m() }}{{ all.m() }}{{ k() }}{{ n }}{{ rows[0].m }}{% endcached %}";
    for (name, source) in [
        ("own", "{% macro m() %}own{% endmacro %}"),
        ("part", own),
        ("one", "{% macro m() %}1{% endmacro %}{% include 'part' %}"),
        ("two", "{% macro m() %}2{% endmacro %}{% from 'own' import m as k %}{% include 'part' %}"),
    ] {
        tags.add_template(&mut env, name, source).unwrap();
    }
    let page = |name: &str, n: u8| {
        let rows = [context!(m => "row")];
        env.get_template(name).unwrap().render(context!(n, rows)).unwrap()
    };
    assert_eq!((page("one", 1), page("two", 2)), ("ownown1row".into(), "ownown1row".into()));
    assert_eq!(cache.stats().stored, 1);
}
