//! Which sources a MiniJinja rendering is made of, while templates are edited,
//! loaded anew, and shared by clones of an environment.

use std::sync::{Arc, Mutex};

use cacheops::Cacheops;
use minijinja::Environment;
use minijinja_cacheops::{Tags, TemplateSource};

/// A site whose templates are loaded anew once a page calls `edit`: `VERSION`
/// is `old` until then.
fn edited_while_it_renders(
    templates: &'static [(&'static str, &'static str)],
) -> Environment<'static> {
    let version = Arc::new(Mutex::new("old"));
    let mut env = Environment::new();
    let tags = Tags::install(&mut env, &Cacheops::in_memory());
    let it = version.clone();
    tags.set_loader(&mut env, move |name| {
        let now = *it.lock().unwrap();
        let it = it.clone();
        let is_same = move || *it.lock().unwrap() == now;
        let found = templates.iter().find(|(other, _)| *other == name);
        Ok(found.map(|(_, text)| {
            let is_fixed = !text.contains("VERSION");
            TemplateSource::new(text.replace("VERSION", now))
                .with_uptodate_check(move || is_fixed || is_same())
        }))
    });
    env.add_function("edit", move || {
        *version.lock().unwrap() = "new";
        ""
    });
    env
}

const PART: (&str, &str) = ("part", "{% cached %}{{ m() }}{% endcached %}");

/// What a page shows that began before an edit is not kept for those that begin
/// behind it.
#[test]
fn a_template_that_is_edited_while_it_renders() {
    let sites: &[&[(&str, &str)]] = &[
        &[("page", "{% macro m() %}VERSION{% endmacro %}{{ edit() }}{% include 'part' %}"), PART],
        &[("page", "{{ edit() }}{% call cached() %}VERSION{% endcall %}")],
        &[(
            "page",
            "{% block b %}{{ edit() }}{% call cached() %}VERSION{% endcall %}{% endblock %}",
        )],
        &[
            (
                "page",
                "{% extends 'layout' %}{% block a %}{% cached %}{{ super() }}{% endcached %}{% endblock %}",
            ),
            ("layout", "{{ edit() }}{% block a %}VERSION{% endblock %}"),
        ],
        &[
            (
                "page",
                "{% extends 'layout' %}{% block a %}{% cached %}{{ self.t() }}{% endcached %}{% endblock %}",
            ),
            ("layout", "{{ edit() }}{% block a %}{% endblock %}{% block t %}VERSION{% endblock %}"),
        ],
        // The layout has given its blocks, and not begun.
        &[
            (
                "page",
                "{% extends 'layout' %}{% macro m() %}{% cached %}{{ self.t() }}{% endcached %}{% endmacro %}{{ edit() }}{% set x = m() %}{% block a %}{{ x }}{% endblock %}",
            ),
            (
                "layout",
                "{% block a %}{% endblock %}{% if 0 %}{% block t %}VERSION{% endblock %}{% endif %}",
            ),
        ],
        &[
            ("page", "{% macro m() %}VERSION{% endmacro %}{% extends 'layout' %}"),
            ("layout", "{{ edit() }}{% cached %}{{ m() }}{% endcached %}"),
        ],
        &[
            ("page", "{% from 'lib' import m %}{{ edit() }}{% include 'part' %}"),
            ("lib", "{% macro m() %}VERSION{% endmacro %}"),
            PART,
        ],
        &[
            ("page", "{% from 'lib' import m %}{{ edit() }}{% cached %}{{ m() }}{% endcached %}"),
            ("lib", "{% from 'deep' import d %}{% macro m() %}{{ d() }}{% endmacro %}"),
            ("deep", "{% macro d() %}VERSION{% endmacro %}"),
        ],
        &[
            ("page", "{% include 'mid' %}"),
            ("mid", "{% macro m() %}VERSION{% endmacro %}{{ edit() }}{% include 'part' %}"),
            PART,
        ],
    ];
    for templates in sites {
        let env = edited_while_it_renders(templates);
        let render = || env.get_template("page").unwrap().render(()).unwrap();
        render();
        for page in [render(), render()] {
            assert!(page.contains("new") && !page.contains("old"), "{page} of {templates:?}");
        }
    }
}
