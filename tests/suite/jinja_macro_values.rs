//! Macros under names that do not say which macro it is: a page with tags
//! prints the same as one without.

use cacheops::Cacheops;
use minijinja::{Environment, Value, context};
use minijinja_cacheops::Tags;

/// A site with tags, and the same without.
struct Sites {
    cache: Cacheops,
    tagged: Environment<'static>,
    tags: Tags,
    plain: Environment<'static>,
}

fn without(source: &str) -> String {
    source
        .replace("{% cached %}", "{% if true %}")
        .replace("{% endcached %}", "{% endif %}")
        .replace("{% call cached() %}", "{% if true %}")
        .replace("{% endcall %}", "{% endif %}")
}

impl Sites {
    fn new() -> Self {
        let cache = Cacheops::in_memory();
        let mut tagged = Environment::new();
        let tags = Tags::install(&mut tagged, &cache);
        Sites { cache, tagged, tags, plain: Environment::new() }
    }

    fn add(&mut self, name: &str, source: &str) -> &mut Self {
        self.tags.add_template(&mut self.tagged, name, source).unwrap();
        self.plain.add_template_owned(name.to_owned(), without(source)).unwrap();
        self
    }

    /// Adds a template past the plugin.
    fn add_raw(&mut self, name: &str, source: &str) -> &mut Self {
        self.tagged.add_template_owned(name.to_owned(), source.to_owned()).unwrap();
        self.plain.add_template_owned(name.to_owned(), source.to_owned()).unwrap();
        self
    }

    #[track_caller]
    fn print_the_same(&self, pages: &[(&str, Value)]) {
        for _ in 0..2 {
            for (page, values) in pages {
                let render = |env: &Environment<'_>| {
                    let rendered = env.get_template(page).unwrap().render(values);
                    rendered.map_err(|error| error.kind())
                };
                let source = self.plain.get_template(page).unwrap().source().to_owned();
                assert_eq!(render(&self.tagged), render(&self.plain), "{page} {values}: {source}");
            }
        }
    }
}

const PART: &str = "{% cached %}{{ m() }}{% endcached %}";
const CALL: &str = "{% call cached() %}{{ m() }}{% endcall %}";

#[test]
fn a_name_that_gets_another_macro() {
    let two = "{% macro ca() %}A{% endmacro %}{% macro cb() %}B{% endmacro %}";
    for part in [PART, CALL] {
        for page in [
            "{% macro m() %}A{% endmacro %}{% include 'part' %}{% macro m() %}B{% endmacro %}{% include 'part' %}",
            &format!("{two}{{% for m in [ca, cb] %}}{{% include 'part' %}}{{% endfor %}}"),
            &format!(
                "{two}{{% for k in [ca, cb] %}}{{% with m = k %}}{{% include 'part' %}}{{% endwith %}}{{% endfor %}}"
            ),
            &format!("{two}{{% set m = ca if flag else cb %}}{{% include 'part' %}}"),
            "{% from 'ma' import m %}{% include 'part' %}{% from 'mb' import m %}{% include 'part' %}",
            "{% from ('ma' if flag else 'mb') import m %}{% include 'part' %}",
            "{% if flag %}{% from 'ma' import m %}{% else %}{% from 'mb' import m %}{% endif %}{% include 'part' %}",
            "{% import 'ma' as a %}{% import 'mb' as b %}{% set m = (a if flag else b).m %}{% include 'part' %}",
            // What a macro calls in turn is another one.
            &format!(
                "{two}{{% set x = ca if flag else cb %}}{{% macro m() %}}{{{{ x() }}}}{{% endmacro %}}{{% include 'part' %}}"
            ),
            &format!(
                "{two}{{% macro m() %}}{{{{ x() }}}}{{% endmacro %}}{{% set x = ca if flag else cb %}}{{% include 'part' %}}"
            ),
            "{% macro m() %}{{ k() }}{% endmacro %}{% macro k() %}A{% endmacro %}{% include 'part' %}{% macro k() %}B{% endmacro %}{% include 'part' %}",
            "{% if flag %}{% import 'ma' as x %}{% else %}{% import 'mb' as x %}{% endif %}{% macro m() %}{{ x.m() }}{% endmacro %}{% include 'part' %}",
            "{% import 'ma' as a %}{% import 'mb' as b %}{% set x = a if flag else b %}{% macro m() %}{{ x.m() }}{% endmacro %}{% include 'part' %}",
        ] {
            let mut sites = Sites::new();
            sites.add("part", part).add("ma", "{% macro m() %}A{% endmacro %}");
            sites.add("mb", "{% macro m() %}B{% endmacro %}").add("page", page);
            sites.print_the_same(&[
                ("page", context!(flag => true)),
                ("page", context!(flag => false)),
            ]);
        }
    }
}

#[test]
fn a_macro_that_is_there_later() {
    let part = "{% cached %}{{ m() if m is defined else 'none' }}{% endcached %}";
    let page = "{% include 'part' %}{% macro m() %}A{% endmacro %}{% include 'part' %}";
    Sites::new().add("part", part).add("page", page).print_the_same(&[("page", context!())]);
}

#[test]
fn one_of_two_modules() {
    for part in [
        "{% cached %}{{ x.m() }}{% endcached %}",
        "{% cached %}{% include 'leaf' %}{% endcached %}",
        "{% cached %}{% include leaf %}{% endcached %}",
        "{% call cached() %}{{ x.m() }}{% endcall %}",
    ] {
        for page in [
            "{% import name as x %}{% include 'part' %}",
            "{% import 'ma' as a %}{% import 'mb' as b %}{% set x = a if name == 'ma' else b %}{% include 'part' %}",
            "{% from name import m %}{% set x = {'m': m} %}{% include 'part' %}",
            "{% import name as x %}{% block b %}{% include 'part' %}{% endblock %}",
        ] {
            let mut sites = Sites::new();
            sites.add("leaf", "{{ x.m() }}").add("part", part).add("page", page);
            sites.add("ma", "{% macro m() %}A{% endmacro %}");
            sites.add("mb", "{% macro m() %}B{% endmacro %}");
            let values = |name: &str| context!(name, leaf => "leaf");
            sites.print_the_same(&[("page", values("ma")), ("page", values("mb"))]);
        }
    }
}

#[test]
fn texts_of_one_name() {
    for (one, two) in [
        ("{% macro m() %}A{% endmacro %}", "{% macro m() %}B{% endmacro %}"),
        ("{% from 'ma' import m %}", "{% from 'mb' import m %}"),
        ("{% import 'ma' as x %}{% set m = x.m %}", "{% import 'mb' as x %}{% set m = x.m %}"),
    ] {
        for is_registered in [false, true] {
            let mut sites = Sites::new();
            sites.add("part", PART).add("ma", "{% macro m() %}A{% endmacro %}");
            sites.add("mb", "{% macro m() %}B{% endmacro %}");
            if is_registered {
                sites.add("text", "registered");
            }
            for (text, expected) in [(one, "A"), (two, "B"), (one, "A")] {
                let text = format!("{text}{{% include 'part' %}}");
                let text = sites.tags.rewrite(sites.tagged.syntax(), "text", &text).unwrap();
                let page = sites.tagged.render_named_str("text", &text, context!()).unwrap();
                assert_eq!(page, expected, "{text}");
            }
        }
    }
}

#[test]
fn macros_inside_of_other_values() {
    for (page, call) in [
        ("{% set t = (m, 1) %}", "t[0]()"),
        ("{% set t = [m][:1] %}", "t[0]()"),
        ("{% set t = [m] + [1] %}", "t[0]()"),
        ("{% set t = [m]|list %}", "t[0]()"),
        ("{% set t = [m]|reverse %}", "(t|first)()"),
        ("{% set t = dict(f=m) %}", "t.f()"),
        ("{% set t = {'f': m}|items %}", "(t|first)[1]()"),
        ("{% set t = {'f': m}|dictsort %}", "(t|first)[1]()"),
        ("{% set t = [{'a': 1, 'f': m}]|groupby('a') %}", "(t|first)[1][0].f()"),
        ("{% set t = [[m]]|map('first') %}", "(t|first)()"),
        ("{% set t = [m]|batch(1) %}", "(t|first)[0]()"),
        ("{% set t = {'f': m}|default(1) %}", "t.f()"),
        ("{% set t = namespace(f=(m,)) %}", "t.f[0]()"),
        ("{% set t = range(400)|list + [m] %}", "t[400]()"),
    ] {
        let mut sites = Sites::new();
        sites.add("part", &format!("{{% cached %}}{{{{ {call} }}}}{{% endcached %}}"));
        for name in ["one", "two"] {
            let of = format!("{{% macro m() %}}{name}{{% endmacro %}}{page}{{% include 'part' %}}");
            sites.add(name, &of);
        }
        sites.print_the_same(&[("one", context!()), ("two", context!())]);
    }
}

#[test]
fn relative_names() {
    let mut sites = Sites::new();
    for env in [&mut sites.tagged, &mut sites.plain] {
        env.set_path_join_callback(|name, parent| match parent.rsplit_once('/') {
            Some((folder, _)) => format!("{folder}/{name}").into(),
            None => name.into(),
        });
    }
    sites.add("dir/m", "-");
    sites.add("dir/part", "{% cached %}{{ x() }}{% include 'm' %}{% endcached %}");
    for text in ["old", "new"] {
        sites.add(
            "m",
            &format!("{{% macro x() %}}{text}{{% endmacro %}}{{% include 'dir/part' %}}"),
        );
        sites.print_the_same(&[("m", context!())]);
    }
}

#[test]
fn pages_that_were_loaded_past_the_plugin() {
    let mut sites = Sites::new();
    sites.add("part", PART);
    sites.add_raw("one", "{% macro m() %}A{% endmacro %}{% include 'part' %}");
    sites.add_raw("two", "{% macro m() %}B{% endmacro %}{% include 'part' %}");
    sites.print_the_same(&[("one", context!()), ("two", context!())]);
    sites.add_raw("la", "{% macro m() %}A{% endmacro %}");
    sites.add_raw("lb", "{% macro m() %}B{% endmacro %}");
    sites.add("three", "{% from lib import m %}{% include 'part' %}");
    sites.print_the_same(&[("three", context!(lib => "la")), ("three", context!(lib => "lb"))]);
}

/// What a macro is besides a call stays.
#[test]
fn a_macro_is_still_a_macro() {
    let page = "{% macro m(a, b=2) %}{{ a }}{{ b }}{{ caller() if caller }}{% endmacro %}\n\
        {{ m }} {{ m.name }} {{ m.arguments }} {{ m.caller }} {{ m is mapping }} {{ m|length }} {{ m(1) }}\n\
        {% call m(1, b=3) %}body{% endcall %} {{ [m]|map(attribute='name')|list }} {{ m == m }} {{ m|list }}\n\
        {%- macro n() -%}  x  {%- endmacro -%}  {{ n() }}\n{% macro loop() %}{% endmacro %}end";
    let mut sites = Sites::new();
    sites.tags.add_template(&mut sites.tagged, "page", page).unwrap();
    sites.plain.add_template("page", page).unwrap();
    sites.print_the_same(&[("page", context!())]);
}

/// Pages share what a macro of one library shows, and a body may call all that
/// its macros call.
#[test]
fn macros_that_are_known_are_cached() {
    let lib = "{% from 'deep' import d %}{% macro k() %}{{ d() }}{% endmacro %}{% macro m() %}{{ k() }}{% endmacro %}";
    for (page, stored) in [
        ("{% from 'lib' import m %}{% include 'part' %}", 1),
        ("{% import 'lib' as x %}{% cached %}{{ x.m() }}{% endcached %}", 1),
        (
            "{% block b %}{% from 'lib' import m %}{% cached %}{{ m() }}{% endcached %}{% endblock %}",
            1,
        ),
        (
            "{% macro k() %}k{% endmacro %}{% macro m() %}{{ k() }}{% endmacro %}{% include 'part' %}",
            1,
        ),
        ("{% cached %}{% from 'lib' import m %}{{ m() }}{% endcached %}", 1),
        (
            "{% macro m() %}{% cached %}{{ n() }}{% endcached %}{% endmacro %}{% macro n() %}n{% endmacro %}{{ m() }}",
            1,
        ),
        (
            "{% macro f(c) %}{{ c() }}{% endmacro %}{% cached %}{% call f(1) %}{% endcall %}{% endcached %}",
            0,
        ),
    ] {
        let mut sites = Sites::new();
        sites.add("deep", "{% macro d() %}d{% endmacro %}").add("lib", lib).add("part", PART);
        sites.tags.add_template(&mut sites.tagged, "page", page).unwrap();
        for _ in 0..3 {
            let _ = sites.tagged.get_template("page").unwrap().render(context!());
        }
        assert_eq!(sites.cache.stats().stored, stored, "{page}");
    }
}

/// The text around the end of a macro stays, and so do the lines of errors.
#[test]
fn whitespace_around_the_end_of_a_macro() {
    let sources = [
        "a\n{% macro m() -%}\n x\n{%- endmacro %}\n b {{ m() }}\n{{ 1 + {} }}",
        "a\n  {% macro m() %} x {% endmacro -%}\n b {{ m() }}",
        "a\n  {%+ macro m() %} x {%+ endmacro +%}\n b {{ m() }}",
        "a\n  # macro m()\n x\n  # endmacro\n b {{ m() }}\n# if true\nc\n# endif\n{{ 1 + {} }}",
        "# macro m()\n# endmacro\n# set y = 1\n{{ y }}{{ m() }}",
        "# macro m()\r\nx\r\n# endmacro\r\n\r\n  y{{ m() }}",
        "# macro m()\nx\n# endmacro",
    ];
    for source in sources {
        for (trim, lstrip, keep) in
            [(false, false, false), (true, false, true), (true, true, false)]
        {
            let mut env = Environment::new();
            let mut syntax = minijinja::syntax::SyntaxConfig::builder();
            syntax.line_statement_prefix("#").trim_blocks(trim).lstrip_blocks(lstrip);
            env.set_syntax(syntax.keep_trailing_newline(keep).build().unwrap());
            let tags = Tags::install(&mut env, &Cacheops::in_memory());
            tags.add_template(&mut env, "tagged", source).unwrap();
            env.add_template("plain", source).unwrap();
            let render = |name| {
                let rendered = env.get_template(name).unwrap().render(context!());
                rendered.map_err(|error| (error.kind(), error.line()))
            };
            assert_eq!(render("tagged"), render("plain"), "{source:?} {trim} {lstrip} {keep}");
        }
    }
}

/// A namespace by whatever function it was made is watched.
#[test]
fn namespaces_that_a_function_makes() {
    for by_context in [false, true] {
        let mut env = Environment::new();
        let tags = Tags::install(&mut env, &Cacheops::in_memory());
        let new = || minijinja::functions::namespace(None).unwrap();
        env.add_function("box", new);
        let page = "{% set n = made or box() %}{% set n.x = 0 %}{% macro inc() %}{% set n.x = n.x + 1 %}{% endmacro %}\
            {% cached %}{{ inc() }}{% endcached %}{{ n.x }}";
        tags.add_template(&mut env, "page", page).unwrap();
        for _ in 0..2 {
            let made = if by_context { new() } else { Value::from(false) };
            let error = env.get_template("page").unwrap().render(context!(made)).unwrap_err();
            assert!(format!("{error:#}").contains("changes the namespace `n`"), "{error:#}");
        }
    }
}

/// What an include takes for a list of names is the engine's to say.
#[test]
fn includes_of_objects() {
    #[derive(Debug)]
    struct Plain;
    impl minijinja::value::Object for Plain {
        fn repr(self: &std::sync::Arc<Self>) -> minijinja::value::ObjectRepr {
            minijinja::value::ObjectRepr::Plain
        }
    }
    for include in [
        "{'leaf': 1}",
        "['none', 'leaf']",
        "('leaf',)",
        "names|reverse",
        "plain ignore missing",
        "plain",
        "1",
        "none",
    ] {
        let mut sites = Sites::new();
        sites.add("leaf", "leaf");
        sites.add("page", &format!("{{% cached %}}a{{% include {include} %}}{{% endcached %}}"));
        let plain = Value::from_object(Plain);
        sites.print_the_same(&[("page", context!(plain, names => ["leaf"]))]);
    }
}

/// A clone that trims otherwise has fragments of its own.
#[test]
fn whitespace_of_a_clone() {
    for source in
        ["{% cached %}\nx\n{% endcached %}", "{% cached %}{% include 'leaf' %}{% endcached %}"]
    {
        let mut env = Environment::new();
        let tags = Tags::install(&mut env, &Cacheops::in_memory());
        let leaf = "{% if true %}\nx\n{% endif %}";
        let mut trimming = env.clone();
        let mut syntax = minijinja::syntax::SyntaxConfig::builder();
        trimming.set_syntax(syntax.trim_blocks(true).build().unwrap());
        for env in [&mut env, &mut trimming] {
            tags.add_template(env, "leaf", leaf).unwrap();
            tags.add_template(env, "page", source).unwrap();
        }
        let render =
            |env: &Environment<'_>| env.get_template("page").unwrap().render(context!()).unwrap();
        for _ in 0..2 {
            assert_eq!(
                (render(&env), render(&trimming)),
                ("\nx\n".into(), "x\n".into()),
                "{source}"
            );
        }
    }
}
