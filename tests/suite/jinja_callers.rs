//! The `caller` of a macro, under other names: a tag shows no one the body of
//! somebody else's call.

use cacheops::Cacheops;
use minijinja::{Environment, context};
use minijinja_cacheops::Tags;

const WITHOUT: [(&str, &str); 4] = [
    ("{% cached %}", "{% if true %}"),
    ("{% endcached %}", "{% endif %}"),
    ("{% call cached() %}", "{% if true %}"),
    ("{% endcall cached %}", "{% endif %}"),
];

/// Two call blocks of one macro print as without the tag, in each rendering.
fn print_each_their_own(macros: &str, part: &str, others: &[(&str, &str)]) {
    let page = format!("{macros}{{% call m() %}}A{{% endcall %}}{{% call m() %}}B{{% endcall %}}");
    let mut env = Environment::new();
    let tags = Tags::install(&mut env, &Cacheops::in_memory());
    let mut plain = Environment::new();
    for (name, source) in others.iter().chain(&[("part", part), ("page", &page)]) {
        tags.add_template(&mut env, *name, source.replace("endcall cached", "endcall")).unwrap();
        let without = WITHOUT.iter().fold((*source).to_owned(), |text, (a, b)| text.replace(a, b));
        plain.add_template_owned((*name).to_owned(), without).unwrap();
    }
    let render = |env: &Environment<'_>| env.get_template("page").unwrap().render(context!());
    let expected = render(&plain).unwrap();
    for _ in 0..2 {
        assert_eq!(render(&env).unwrap(), expected, "{macros} {part}");
    }
}

#[test]
fn a_caller_under_another_name() {
    const SHOW: &str = "{% cached %}{{ c() }}{% endcached %}";
    const INCLUDES: &str =
        "{% macro m() %}{% if caller %}{% include 'part' %}{% endif %}{% endmacro %}";
    let mid = ("mid", "{% set c = caller %}{% include 'part' %}");
    for (macros, part) in [
        ("{% macro m() %}{% set c = caller %}{% include 'part' %}{% endmacro %}", SHOW),
        ("{% macro m() %}{% set c = none or caller %}{% include 'part' %}{% endmacro %}", SHOW),
        ("{% macro m() %}{% set c = caller if true %}{% include 'part' %}{% endmacro %}", SHOW),
        (
            "{% macro m() %}{% set all = {'c': caller} %}{% include 'part' %}{% endmacro %}",
            "{% cached %}{{ all.c() }}{% endcached %}",
        ),
        (
            "{% macro m() %}{% set all = [caller]|reverse %}{% include 'part' %}{% endmacro %}",
            "{% cached %}{{ (all|first)() }}{% endcached %}",
        ),
        (
            "{% macro inner(c) %}{% include 'part' %}{% endmacro %}{% macro m() %}{{ inner(caller) }}{% endmacro %}",
            SHOW,
        ),
        (
            "{% macro m() %}{% with c = caller %}{% include 'part' %}{% endwith %}{% endmacro %}",
            SHOW,
        ),
        (
            "{% macro m() %}{% for c in [caller] %}{% include 'part' %}{% endfor %}{% endmacro %}",
            SHOW,
        ),
        (INCLUDES, "{% set c = caller %}{% cached %}{{ c() }}{% endcached %}"),
        ("{% macro m() %}{% if caller %}{% include 'mid' %}{% endif %}{% endmacro %}", SHOW),
        (
            INCLUDES,
            "{% macro show() %}{{ c() }}{% endmacro %}{% set c = caller %}{% cached %}{{ show() }}{% endcached %}",
        ),
        (
            INCLUDES,
            "{% macro show() %}{{ c() }}{% endmacro %}{% set c = caller %}{% call cached() %}{{ show() }}{% endcall cached %}",
        ),
        (
            "{% macro m() %}{% set c = caller %}{% include 'part' %}{% endmacro %}",
            "{% call cached() %}{{ c() }}{% endcall cached %}",
        ),
        (
            "{% macro m() %}{% set c = caller %}{% include 'part' %}{% endmacro %}",
            "{% cached %}{% cached %}{{ c() }}{% endcached %}{% endcached %}",
        ),
    ] {
        print_each_their_own(macros, part, &[mid]);
    }
}

/// Handing a caller on changes nothing of what else the names mean.
#[test]
fn names_that_are_no_value() {
    for source in [
        "{% set caller = 1 %}{{ caller }}{{ [caller, 2]|sum }}",
        "{% for caller in [1, 2] %}{{ caller }}{% endfor %}",
        "{% set caller, other = 1, 2 %}{{ caller }}{{ other }}",
        "{% set caller %}text{% endset %}{{ caller|upper }}",
        "{% set caller | upper %}text{% endset %}{{ caller }}",
        "{% macro m(caller, b=caller) %}{{ caller }}{{ b }}{% endmacro %}{{ m(1) }}{{ m(caller=2) }}",
        "{% macro m() %}{% if caller is defined and caller %}{{ caller(1) }}{% endif %}{{ caller.name }}{% endmacro %}{% call(caller) m() %}{{ caller }}{% endcall %}{{ m() }}",
        "{% with caller = 3 %}{{ caller }}{% endwith %}{{ {'caller': 1}.caller }}",
        "{{ caller }}{{ caller is defined }}{{ caller|default('none') }}",
    ] {
        let mut env = Environment::new();
        let tags = Tags::install(&mut env, &Cacheops::in_memory());
        let added = tags.add_template(&mut env, "page", source).map_err(|error| error.to_string());
        let plain = env.add_template("plain", source).map_err(|error| error.to_string());
        assert_eq!(added.is_ok(), plain.is_ok(), "{source}: {added:?} {plain:?}");
        if plain.is_ok() {
            let render = |name: &str| env.get_template(name).unwrap().render(context!());
            let text = |name| render(name).map_err(|error| error.kind());
            assert_eq!(text("page"), text("plain"), "{source}");
        }
    }
}
