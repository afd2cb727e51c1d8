//! What a tag prints passes through no escaping and no formatter of MiniJinja:
//! the page with tags is the page without, whatever the environment makes of
//! what templates print.

use cacheops::{Cacheops, QuerySet};
use minijinja::value::ValueKind;
use minijinja::{AutoEscape, Environment, Error, Output, State, Value, context, escape_formatter};
use minijinja_cacheops::{Tags, queryset};

type Formatter = fn(&mut Output, &mut State, &Value) -> Result<(), Error>;

fn none_is_empty(out: &mut Output, state: &mut State, value: &Value) -> Result<(), Error> {
    escape_formatter(out, state, if value.is_none() { &Value::UNDEFINED } else { value })
}

/// Texts that are not safe in quotes, and nothing else changed.
fn quotes_texts(out: &mut Output, state: &mut State, value: &Value) -> Result<(), Error> {
    if value.kind() == ValueKind::String && !value.is_safe() {
        return Ok(write!(out, "\"{value}\"")?);
    }
    escape_formatter(out, state, value)
}

/// Objects by their kind.
fn knows_no_objects(out: &mut Output, state: &mut State, value: &Value) -> Result<(), Error> {
    if value.kind() == ValueKind::Plain {
        return Ok(out.write_str("?")?);
    }
    escape_formatter(out, state, value)
}

fn brackets_all(out: &mut Output, _: &mut State, value: &Value) -> Result<(), Error> {
    Ok(write!(out, "[{value}]")?)
}

fn escapes_all(out: &mut Output, _: &mut State, value: &Value) -> Result<(), Error> {
    Ok(write!(out, "{}", value.to_string().replace('&', "&amp;").replace('<', "&lt;"))?)
}

fn with_custom_escaping(out: &mut Output, state: &mut State, value: &Value) -> Result<(), Error> {
    match state.auto_escape() {
        AutoEscape::Custom(_) if !value.is_safe() => Ok(write!(out, "«{value}»")?),
        AutoEscape::Custom(_) => Ok(write!(out, "{value}")?),
        _ => escape_formatter(out, state, value),
    }
}

const BODY: &str = "{\"a\": TAG{{ text }}{{ none }}{{ n }}INNER<b>{{ text|upper }}</b>{% set x %}&{{ text }}{% endset %}{{ x }}ENDINNERENDTAG}";
const NAMES: [&str; 6] = ["a.html", "a.json", "a.js", "a.yaml", "a.txt", "a.custom"];

type Site = (Environment<'static>, Cacheops);

fn environment(set: impl FnOnce(&mut Environment<'static>, &Tags)) -> Site {
    let cache = Cacheops::in_memory();
    let mut env = Environment::new();
    env.set_auto_escape_callback(|name| match name.rsplit_once('.') {
        Some((_, "custom")) => AutoEscape::Custom("mine".into()),
        _ => minijinja::default_auto_escape_callback(name),
    });
    let tags = Tags::install(&mut env, &cache);
    set(&mut env, &tags);
    for name in NAMES {
        let neutral = [("TAG", ""), ("INNER", ""), ("ENDTAG", ""), ("ENDINNER", "")];
        let tagged = [
            ("TAG", "{% cached_as q, extra=n %}"),
            ("INNER", "{% cached timeout=60 %}"),
            ("ENDTAG", "{% endcached_as %}"),
            ("ENDINNER", "{% endcached %}"),
        ];
        for (prefix, with) in [("neutral/", neutral), ("tagged/", tagged)] {
            let mut source = BODY.to_owned();
            for (mark, text) in with.into_iter().rev() {
                source = source.replace(mark, text);
            }
            tags.add_template(&mut env, format!("{prefix}{name}"), source).unwrap();
        }
    }
    (env, cache)
}

fn assert_pages_are_alike((env, cache): &Site, names: &[&str]) {
    let hits = cache.stats().hits;
    let q = queryset(QuerySet::table("q"));
    for name in names {
        let render = |prefix: &str| {
            let template = env.get_template(&format!("{prefix}{name}")).unwrap();
            template.render(context!(q => q.clone(), n => 1, text => "<i>\"&"))
        };
        let page = render("neutral/").unwrap();
        for turn in ["miss", "hit"] {
            assert_eq!(render("tagged/").unwrap(), page, "{name}, {turn}");
        }
    }
    assert_eq!(cache.stats().hits - hits, names.len() as u64, "each second page is a hit");
}

#[test]
fn fragments_print_unchanged_with_every_escaping() {
    assert_pages_are_alike(&environment(|_, _| {}), &NAMES[..5]);
    // The engine's own formatter knows no custom escaping.
    let site = environment(|env, _| env.set_formatter(with_custom_escaping));
    assert_pages_are_alike(&site, &NAMES);
}

#[test]
fn fragments_pass_formatters_that_keep_safe_text() {
    for formatter in [none_is_empty, quotes_texts, knows_no_objects] as [Formatter; 3] {
        let site = environment(|env, _| env.set_formatter(formatter));
        assert_pages_are_alike(&site, &NAMES[..5]);
    }
}

#[test]
fn formatters_that_change_fragments_are_refused() {
    for formatter in [brackets_all, escapes_all, quotes_texts] as [Formatter; 3] {
        let site = environment(|env, tags| tags.set_formatter(env, formatter));
        assert_pages_are_alike(&site, &NAMES[..5]);
    }
    let (env, _) = environment(|env, _| env.set_formatter(brackets_all));
    let q = queryset(QuerySet::table("q"));
    let refused =
        env.get_template("tagged/a.html").unwrap().render(context!(q, n => 1)).unwrap_err();
    assert!(refused.to_string().contains("set it with `Tags::set_formatter`"), "{refused}");
}

/// A formatter that is set after something was cached.
#[test]
fn a_formatter_may_be_set_later() {
    let mut site = environment(|_, _| {});
    assert_pages_are_alike(&site, &NAMES[..1]);
    site.0.set_formatter(knows_no_objects);
    assert_pages_are_alike(&site, &NAMES[1..5]);
}

/// Each clone of an environment prints fragments as its own formatter allows,
/// and what it would change is not stored.
#[test]
fn formatters_of_clones() {
    use minijinja::{Error, Output, State, Value};
    let cache = cacheops::Cacheops::in_memory();
    let mut env = Environment::new();
    let tags = Tags::install(&mut env, &cache);
    for (name, source) in
        [("p", "{% cached %}a{{ n }}{% endcached %}"), ("q", "{% cached %}b{{ n }}{% endcached %}")]
    {
        tags.add_template(&mut env, name, source).unwrap();
    }
    let render = |env: &Environment<'_>, name: &str| {
        env.get_template(name).unwrap().render(minijinja::context!(n => 1))
    };
    let mut objects = env.clone();
    objects.set_formatter(|out: &mut Output<'_>, state: &mut State<'_, '_>, value: &Value| {
        match value.as_object() {
            Some(_) => out.write_str("OBJECT").map_err(Error::from),
            None => minijinja::escape_formatter(out, state, value),
        }
    });
    Tags::install_as(&mut objects, &cache, "objects");
    for _ in 0..2 {
        for name in ["p", "q"] {
            let expected = if name == "p" { "a1" } else { "b1" };
            assert_eq!(render(&objects, name).unwrap(), expected);
            assert_eq!(render(&env, name).unwrap(), expected);
        }
    }
    let mut brackets = env.clone();
    brackets.set_formatter(|out: &mut Output<'_>, _: &mut State<'_, '_>, value: &Value| {
        write!(out, "[{value}]").map_err(Error::from)
    });
    Tags::install_as(&mut brackets, &cache, "brackets");
    let stored = cache.stats().stored;
    for _ in 0..2 {
        let error = render(&brackets, "p").unwrap_err();
        assert!(format!("{error:#}").contains("Tags::set_formatter"), "{error:#}");
    }
    assert_eq!(cache.stats().stored, stored);
}
