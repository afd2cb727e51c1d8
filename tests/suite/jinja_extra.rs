//! Values of MiniJinja that are more than what they list: none of them tells
//! fragments apart, and none is taken for another.

use std::sync::Arc;

use cacheops::Cacheops;
use minijinja::value::{Enumerator, Object, ObjectRepr, Serde};
use minijinja::{Environment, Error, State, Value, context};
use minijinja_cacheops::{Caching, Tags};
use serde_json::json;

fn site(templates: &[(&'static str, &str)]) -> Environment<'static> {
    let mut env = Environment::new();
    let tags = Tags::install(&mut env, &Cacheops::in_memory());
    tags.decorator_tag("mine", |call| Caching::cached().extra(&call.lookup("user"))).unwrap();
    tags.decorator_tag("shown", |_| Ok(Caching::cached())).unwrap();
    for (name, source) in templates {
        tags.add_template(&mut env, *name, *source).unwrap();
    }
    env
}

/// Attributes, and none listed: the default of the engine.
#[derive(Debug)]
struct Attributes(&'static str);

impl Object for Attributes {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        (key.as_str()? == "name").then(|| Value::from(self.0))
    }
}

/// One attribute listed, one not, a method, and a text of its own.
#[derive(Debug)]
struct Partial(&'static str, ObjectRepr);

impl Object for Partial {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        self.1
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Str(&["kind"])
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        Some(Value::from(if key.as_str() == Some("kind") { "user" } else { self.0 }))
    }

    fn call_method(
        self: &Arc<Self>,
        _: &mut State<'_, '_>,
        _: &str,
        _: &[Value],
    ) -> Result<Value, Error> {
        Ok(Value::from(self.0))
    }

    fn render(self: &Arc<Self>, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0)
    }
}

#[test]
fn an_object_of_the_application_is_refused_as_extra() {
    let env = site(&[
        ("plain", "{% cached extra=user %}x{% endcached %}"),
        ("list", "{% cached extra=[1, user] %}x{% endcached %}"),
        ("map", "{% cached extra={'user': user} %}x{% endcached %}"),
        ("call", "{% call cached(extra=user) %}x{% endcall %}"),
        ("custom", "{% mine %}x{% endmine %}"),
        ("condition", "{% cached_as queryset('articles', owner=user) %}x{% endcached_as %}"),
        ("among", "{% cached_as queryset('articles', owner=[user]) %}x{% endcached_as %}"),
    ]);
    let users = [
        Value::from_object(Attributes("ann")),
        Value::from_object(Partial("ann", ObjectRepr::Map)),
        Value::from_object(Partial("ann", ObjectRepr::Seq)),
        Value::from_object(Partial("ann", ObjectRepr::Iterable)),
        context!(name => "ann", ..Value::from_object(Attributes("ann"))),
        Value::make_object_map((), |()| Box::new(std::iter::empty()), |(), _| Some("ann".into())),
        context!(user => Value::from_object(Attributes("ann"))),
    ];
    for user in users {
        for name in ["plain", "list", "map", "call", "custom", "condition", "among"] {
            let page = env.get_template(name).unwrap().render(context!(user => user.clone()));
            let why = format!("{:#}", page.expect_err(name));
            let is_condition = why.contains("a condition compares with a single value");
            assert!(is_condition || why.contains("give a value such as its id"), "{name}: {why}");
        }
    }
}

#[test]
fn macros_modules_callers_and_loops_are_refused_as_extra() {
    let lib = "{% macro m() %}A{% endmacro %}";
    for page in [
        "{% import 'lib' as l %}{% cached extra=l %}x{% endcached %}",
        "{% import 'lib' as l %}{% cached extra=l.m %}x{% endcached %}",
        "{% for x in [1] %}{% cached extra=loop %}x{% endcached %}{% endfor %}",
        "{% macro show(d) %}{% cached extra=d %}x{% endcached %}{% endmacro %}{% macro m() %}{{ show({'f': caller}) }}{% endmacro %}{% call m() %}A{% endcall %}",
    ] {
        let env = site(&[("lib", lib), ("page", page)]);
        let why = format!("{:#}", env.get_template("page").unwrap().render(()).expect_err(page));
        assert!(why.contains("give a value such as its id"), "{page}: {why}");
    }
}

/// What serde and the engine make is no more than its items, and kinds that
/// show in another way are other extras.
#[test]
fn containers_of_the_engine_are_taken_as_extra() {
    let env = site(&[("page", "{% cached extra=v %}{{ v }}{% endcached %}")]);
    let page = |v: Value| env.get_template("page").unwrap().render(context!(v)).unwrap();
    for v in [
        Value::from(vec!["a", "b"]),
        Value::from((1, 2)),
        Value::from(vec![1, 2]),
        Value::make_iterable(|| 1..3),
        Value::from([1, 3]),
        Value::from(std::collections::VecDeque::from([1, 4])),
        Value::from(std::collections::BTreeSet::from([1, 5])),
        Value::from(std::collections::BTreeMap::from([("a", 1)])),
        Value::from(std::collections::HashMap::from([("a", 2)])),
        Value::from(Serde(json!({"a": [3, {"b": null}]}))),
        context!(a => 1, b => context!(c => 2)),
        Value::from_pairs([("a", 4)]),
    ] {
        assert_eq!(page(v.clone()), v.to_string());
        assert_eq!(page(v.clone()), v.to_string());
    }
    let env = site(&[(
        "page",
        "{% set l = [3, 1, 2] %}{% for v in [l[:2], l|sort, range(2), l|batch(2), l|chain([4]), l + [5], namespace(a=1), dict(a=1), [{'a': 1}]|groupby('a')] %}{% cached extra=v %}{{ v }},{% endcached %}{% endfor %}",
    )]);
    env.get_template("page").unwrap().render(()).unwrap();
}

#[test]
fn a_one_shot_iterator_is_refused_and_not_consumed() {
    let templates = [
        ("extra", "{% cached extra=it %}{% for i in it %}{{ i }}{% endfor %}{% endcached %}"),
        ("queryset", "{% cached_as it %}{% for i in it %}{{ i }}{% endfor %}{% endcached_as %}"),
        ("if", "{% cached if=it %}{% for i in it %}{{ i }}{% endfor %}{% endcached %}"),
        ("unless", "{% cached unless=it %}{% for i in it %}{{ i }}{% endfor %}{% endcached %}"),
        ("argument", "{% shown it %}{% for i in it %}{{ i }}{% endfor %}{% endshown %}"),
    ];
    for (name, source) in templates {
        let env = site(&[(name, source)]);
        let it = Value::make_one_shot_iterator(["a", "b"].into_iter());
        match env.get_template(name).unwrap().render(context!(it)) {
            Ok(page) => assert_eq!(
                (page.as_str(), ["extra", "queryset"].contains(&name)),
                ("ab", false),
                "{name}"
            ),
            Err(error) => {
                assert!(format!("{error:#}").contains("convert it to a list first"), "{error:#}")
            }
        }
    }
}

#[test]
fn a_value_that_contains_itself_is_refused() {
    let own = "{% set ns = namespace() %}{% set ns.any = [ns] %}{% set ns.me = ns %}";
    let deep = "{% set ns = namespace(l=[]) %}{% for i in range(100) %}{% set ns.l = [ns.l] %}{% endfor %}";
    for (before, tag) in [
        (own, "{% cached extra=ns %}x{% endcached %}"),
        (own, "{% cached extra=[ns] %}x{% endcached %}"),
        (own, "{% call cached(extra=ns) %}x{% endcall %}"),
        (own, "{% cached_as ns %}x{% endcached_as %}"),
        (own, "{% set q = queryset('a', x=ns) %}"),
        (own, "{% set q = queryset('a', x=[ns]) %}"),
        (deep, "{% cached extra=ns.l %}x{% endcached %}"),
        (deep, "{% cached_as ns.l %}x{% endcached_as %}"),
    ] {
        let env = site(&[("page", &format!("{before}{tag}"))]);
        let why = format!("{:#}", env.get_template("page").unwrap().render(()).expect_err(tag));
        assert!(why.contains("64 deep"), "{tag}: {why}");
    }
}
