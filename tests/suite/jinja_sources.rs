//! Which sources a MiniJinja rendering is made of, while templates are edited,
//! loaded anew, and shared by clones of an environment.

use std::sync::{Arc, Mutex};

use cacheops::Cacheops;
use minijinja::{Environment, context};
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

/// What a template includes, imports and extends stays known when its name is
/// used for something else meanwhile.
#[test]
fn sources_are_not_known_by_their_names() {
    type Else = fn(&mut Environment<'static>, &Tags, &Cacheops);
    let others: [(&str, Else); 5] = [
        ("a clone", |env, tags, _| {
            let mut clone = env.clone();
            NAMES.iter().for_each(|name| tags.add_template(&mut clone, *name, "other").unwrap());
            assert_eq!(render(&clone), "otherother");
        }),
        ("a clone with a name", |env, tags, cache| {
            let mut clone = env.clone();
            Tags::install_as(&mut clone, cache, "clone");
            NAMES.iter().for_each(|name| tags.add_template(&mut clone, *name, "other").unwrap());
            assert_eq!(render(&clone), "otherother");
        }),
        ("a text", |env, tags, _| {
            for name in NAMES {
                let text = tags.rewrite(env.syntax(), name, "text{{ 1 }}").unwrap();
                assert_eq!(env.render_named_str(name, &text, ()).unwrap(), "text1");
            }
        }),
        ("an error", |env, tags, _| {
            assert!(NAMES.iter().all(|name| tags.add_template(env, *name, "{% for %}").is_err()));
        }),
        ("rewritten, and added past the tags", |env, tags, _| {
            for (name, source) in NAMES.into_iter().zip([IMPORT, "{% extends 'layout' %}"]) {
                let other = tags.rewrite(env.syntax(), name, &format!("{source} ")).unwrap();
                env.add_template_owned(name, other).unwrap();
            }
            assert_eq!(render(env), "old old");
        }),
    ];
    const NAMES: [&str; 2] = ["part", "kid"];
    const IMPORT: &str = "{% from 'lib' import m %}{{ m() }}";
    fn render(env: &Environment<'_>) -> String {
        env.get_template("page").unwrap().render(()).unwrap()
    }
    for (what, other) in others {
        for import in [IMPORT, "{% import 'lib' as lib %}{{ lib.m() }}"] {
            let cache = Cacheops::in_memory();
            let mut env = Environment::new();
            let tags = Tags::install(&mut env, &cache);
            let mut add = |name: &str, source: &str| tags.add_template(&mut env, name, source);
            add("lib", "{% macro m() %}old{% endmacro %}").unwrap();
            add("layout", "old{% block x %}{% endblock %}").unwrap();
            add("part", import).unwrap();
            add("kid", "{% extends 'layout' %}").unwrap();
            let page = "{% cached %}{% include 'part' %}{% include 'kid' %}{% endcached %}";
            add("page", page).unwrap();
            assert_eq!(render(&env), "oldold");
            other(&mut env, &tags, &cache);
            assert_eq!(render(&env).replace(' ', ""), "oldold", "{what}");
            let hits = cache.stats().hits;
            assert_eq!(render(&env).replace(' ', ""), "oldold", "{what}");
            assert_eq!(cache.stats().hits, hits + 1, "{what}");
            tags.add_template(&mut env, "lib", "{% macro m() %}new{% endmacro %}").unwrap();
            assert_eq!(render(&env).replace(' ', ""), "newold", "{what}");
            tags.add_template(&mut env, "layout", "new{% block x %}{% endblock %}").unwrap();
            assert_eq!(render(&env).replace(' ', ""), "newnew", "{what}");
        }
    }
}

/// A clone reads its templates by another syntax; those that it had before stay
/// what they are.
#[test]
fn sources_stay_known_under_another_syntax() {
    let mut env = Environment::new();
    let tags = Tags::install(&mut env, &Cacheops::in_memory());
    tags.add_template(&mut env, "lib", "{% macro m() %}old{% endmacro %}").unwrap();
    tags.add_template(&mut env, "part", "{% from 'lib' import m %}{{ m() }}").unwrap();
    tags.add_template(&mut env, "page", "{% cached %}{% include 'part' %}{% endcached %}").unwrap();
    let mut clone = env.clone();
    let mut syntax = minijinja::syntax::SyntaxConfig::builder();
    syntax.block_delimiters("<%", "%>").variable_delimiters("<<", ">>");
    clone.set_syntax(syntax.build().unwrap());
    let render = |env: &Environment<'_>| env.get_template("page").unwrap().render(()).unwrap();
    assert_eq!((render(&env), render(&clone)), ("old".into(), "old".into()));
    tags.add_template(&mut clone, "lib", "<% macro m() %>new<% endmacro %>").unwrap();
    tags.add_template(&mut clone, "part", "{% just text %}").unwrap();
    tags.add_template(&mut env, "part", "{% from 'lib' import m %}{{ m() }}!").unwrap();
    assert_eq!((render(&env), render(&clone)), ("old!".into(), "{% just text %}".into()));
}

/// A block that a tag shows by `self` may include and import.
#[test]
fn what_blocks_include() {
    for page in [
        "{% cached %}{{ self.b() }}{% endcached %}{% if 0 %}{% block b %}{% include 'leaf' %}{% endblock %}{% endif %}",
        "{% if 0 %}{% block b %}{% include 'leaf' %}{% endblock %}{% endif %}{% cached %}{{ self.b() }}{% endcached %}",
        "{% if 0 %}{% block b %}{% from 'leaf' import m %}{{ m() }}{% endblock %}{% endif %}{% cached %}{{ self.b() }}{% endcached %}",
        "{% if 0 %}{% block b %}{{ self.c() }}{% endblock %}{% block c %}{% include 'leaf' %}{% endblock %}{% endif %}{% cached %}{{ self.b() }}{% endcached %}",
        "{% if 0 %}{% block b %}{% include 'leaf' %}{% endblock %}{% endif %}{% from 'lib' import show %}{% cached %}{{ show() }}{% endcached %}",
        "{% if 0 %}{% block b %}{% include 'leaf' %}{% endblock %}{% endif %}{% from 'lib' import tag %}{{ tag() }}",
    ] {
        let mut env = Environment::new();
        let tags = Tags::install(&mut env, &Cacheops::in_memory());
        let mut add = |name: &str, source: &str| tags.add_template(&mut env, name, source).unwrap();
        add(
            "lib",
            "{% macro show() %}{{ self.b() }}{% endmacro %}{% macro tag() %}{% cached %}{{ self.b() }}{% endcached %}{% endmacro %}",
        );
        add("leaf", "old{% macro m() %}old{% endmacro %}");
        add("page", page);
        add("child", "{% extends 'page' %}");
        let render = |env: &Environment<'_>| {
            let of = |name: &str| env.get_template(name).unwrap().render(()).unwrap();
            (of("page"), of("child"))
        };
        for _ in 0..2 {
            assert_eq!(render(&env), ("old".into(), "old".into()), "{page}");
        }
        tags.add_template(&mut env, "leaf", "new{% macro m() %}new{% endmacro %}").unwrap();
        for _ in 0..2 {
            assert_eq!(render(&env), ("new".into(), "new".into()), "{page}");
        }
    }
}

/// The blocks that a macro shows are those of the template that calls it.
#[test]
fn blocks_that_a_macro_of_another_template_shows() {
    let mut env = Environment::new();
    let tags = Tags::install(&mut env, &Cacheops::in_memory());
    let lib = "{% macro m() %}{% cached %}{{ self.b() }}{% endcached %}{% endmacro %}";
    tags.add_template(&mut env, "lib", lib).unwrap();
    for name in ["one", "two"] {
        let page = format!(
            "{{% from 'lib' import m %}}{{{{ m() }}}}{{% if 0 %}}{{% block b %}}{name}{{% endblock %}}{{% endif %}}"
        );
        tags.add_template(&mut env, name, page).unwrap();
    }
    for name in ["one", "two", "one"] {
        assert_eq!(env.get_template(name).unwrap().render(()).unwrap(), name);
    }
}

/// The engine wants a required block to be empty.
#[test]
fn required_blocks() {
    let mut env = Environment::new();
    let tags = Tags::install(&mut env, &Cacheops::in_memory());
    let layouts = [
        "{% block a required %}{% endblock %}",
        "{% block a required %} {# a comment #}\n{% endblock a %}",
        "{% cached %}{% block a required %}{% endblock %}{% endcached %}",
    ];
    for layout in layouts {
        tags.add_template(&mut env, "layout", layout).unwrap();
        let child = "{% extends 'layout' %}{% block a %}{{ n }}{% endblock %}";
        tags.add_template(&mut env, "child", child).unwrap();
        let render =
            |name: &str, n: u8| env.get_template(name).unwrap().render(context!(n)).unwrap();
        assert_eq!(render("child", 1), "1");
        assert!(env.get_template("layout").unwrap().render(()).is_err());
    }
}

/// A layout that its own child imports or includes shows its own blocks there,
/// and those of the child where it is the layout.
#[test]
fn a_layout_that_its_child_also_uses() {
    let layout = "{% macro button() %}b{% endmacro %}{% cached %}<{% block c %}base{% endblock %}>{% endcached %}";
    let lib = "{% cached %}{% from 'base' import button %}{{ button() }}{% endcached %}";
    for used in [
        "{% if user %}{% from 'base' import button %}{% endif %}",
        "{% if user %}{% set x %}{% include 'base' %}{% endset %}{% endif %}",
        "{% if user %}{% set x %}{% cached %}{% include 'base' %}{% endcached %}{% endset %}{% endif %}",
        "{% if user %}{% import 'lib' as l %}{% endif %}",
        "{% macro m() %}{% include 'base' %}{% endmacro %}{% if user %}{% set x = m() %}{% endif %}",
        "{% if user %}{% include 'conditional' %}{% from 'base' import button %}{% endif %}",
    ] {
        let cache = Cacheops::in_memory();
        let mut env = Environment::new();
        let tags = Tags::install(&mut env, &cache);
        let mut add = |name: &str, source: &str| tags.add_template(&mut env, name, source).unwrap();
        add("base", layout);
        add("lib", lib);
        add("conditional", "{% if 0 %}{% extends 'lib' %}{% endif %}");
        add(
            "child",
            &format!("{{% extends 'base' %}}{used}{{% block c %}}child{{{{ x }}}}{{% endblock %}}"),
        );
        let render = |user: bool| {
            env.get_template("child").unwrap().render(context!(user)).unwrap().replace("<base>", "")
        };
        let pages = [true, false, false, true, false].map(render);
        assert!(pages.iter().all(|page| page == "<child>"), "{pages:?} of {used}");
        let hits = cache.stats().hits;
        render(false);
        assert!(cache.stats().hits > hits, "{used}");
    }
}

/// The same template begins by itself in one inheritance, and as the layout of
/// another that is made of the same sources.
#[test]
fn the_same_sources_in_another_inheritance() {
    let base = "{% macro button() %}b{% endmacro %}{% cached %}<{% block c %}base{% endblock %}>{% endcached %}";
    let child = "{% block c %}child{% endblock %}";
    for (page, other) in [
        (
            "{% extends 'middle' %}{% if user %}{% from 'base' import button %}{% endif %}",
            "<child>",
        ),
        (
            "{% if 0 %}{% include 'base' %}{% endif %}{% extends 'around' if user else 'base' %}",
            "(<base>)",
        ),
    ] {
        let mut env = Environment::new();
        let tags = Tags::install(&mut env, &Cacheops::in_memory());
        let mut add = |name: &str, source: &str| tags.add_template(&mut env, name, source).unwrap();
        add("base", base);
        add("middle", "{% extends 'base' %}");
        add("around", "({% include 'base' %})");
        add("page", &format!("{{% if 0 %}}{{% include 'around' %}}{{% endif %}}{page}{child}"));
        let render = |user: bool| env.get_template("page").unwrap().render(context!(user)).unwrap();
        for _ in 0..2 {
            assert_eq!((render(true), render(false)), (other.into(), "<child>".into()), "{page}");
        }
    }
}

/// What is put behind the last statement of a child changes no text, where it
/// extends nothing after all.
#[test]
fn text_behind_the_end_of_a_child() {
    let ends = [
        "{{ n }}",
        "{{ n -}}",
        "{% if n %}{% endif %}",
        "{% if n %}{% endif -%}",
        "{% if n %}{% endif +%}",
        "\n# if n\nx\n  # endif\n",
        "{# c #}",
        "{% raw %}{{{% endraw %}",
        "{% cached %}x{% endcached %}",
        "{% cached %}x\n{%- endcached -%}",
        "\n# cached\nx\n# endcached\n",
    ];
    let texts = ["", "\n", "\n\n", "  \n z", "z\n", "{# c #}\n\n", "## line\n\n", "\r\n\r\n"];
    for (end, text) in ends.iter().flat_map(|end| texts.map(|text| (end, text))) {
        for flags in 0..8 {
            let mut syntax = minijinja::syntax::SyntaxConfig::builder();
            syntax.trim_blocks(flags & 1 != 0).lstrip_blocks(flags & 2 != 0);
            syntax.keep_trailing_newline(flags & 4 != 0);
            syntax.line_statement_prefix("#").line_comment_prefix("##");
            let mut env = Environment::new();
            env.set_syntax(syntax.build().unwrap());
            let tags = Tags::install(&mut env, &Cacheops::in_memory());
            for (name, extends) in [
                ("page", "{% if 0 %}{% extends 'x' %}{% endif %}"),
                ("plain", "{% if 0 %}{% endif %}"),
            ] {
                tags.add_template(&mut env, name, format!("{extends}{end}{text}")).unwrap();
            }
            let render =
                |name: &str| env.get_template(name).unwrap().render(context!(n => 1)).unwrap();
            assert_eq!(render("page"), render("plain"), "{end:?} {text:?} {flags}");
        }
    }
}
