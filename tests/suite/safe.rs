//! Safe text and plain text in generated values of tags: a page is what it is
//! without the tag, whichever of the two was rendered before.

use cacheops::Cacheops;
use cacheops_tests::{Backend, Context, Delimiters, Engine, Layout};
use serde_json::json;

/// Values of the variables `a`, `b` and `c`, as deep as `depth`; of maps alone
/// for Tera, which takes two lists inside each other and no more.
fn value(engine: &str, dice: &mut u64, depth: usize) -> String {
    let mut roll = |sides: u64| {
        *dice =
            dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (*dice >> 33) % sides
    };
    let leaf = ["a", "b", "c"][roll(3) as usize].to_owned();
    let (shape, count) = (roll(if depth == 0 { 1 } else { 4 }), 1 + roll(3));
    if shape == 0 {
        return leaf;
    }
    let inner: Vec<String> =
        (0..count).map(|_| value(engine, dice, depth.saturating_sub(1))).collect();
    match shape {
        1 if engine == "minijinja" => format!("[{}]", inner.join(", ")),
        2 if engine == "minijinja" => format!("[1, {leaf}, [{}]]", inner.join(", ")),
        _ => {
            let entries: Vec<String> =
                inner.iter().enumerate().map(|(n, value)| format!("\"k{n}\": {value}")).collect();
            format!("{{{} }}", entries.join(", "))
        }
    }
}

/// What a tag may be given: an extra, several, a name with them, querysets.
fn tags(engine: &str, dice: &mut u64) -> Vec<String> {
    let all = "[a, b, c]";
    let nested = format!("[{}, {all}]", value(engine, dice, 3));
    let queryset = match engine {
        "minijinja" => r#"queryset("t", x=[a, b], y=c)"#,
        _ => r#""t" | queryset(x=[a, b], y=c)"#,
    };
    let by_hand = r#"{"table": "t", "where": [{"eq": ["x", c]}] }"#;
    vec![
        format!("cached extra={nested}"),
        format!("cached 60 a b c {nested}"),
        format!("cached name=a, extra=[b, {{\"k\": c}}, {}]", value(engine, dice, 2)),
        format!("cached_as {queryset}"),
        format!("cached_as {queryset}, {by_hand}"),
    ]
}

fn pages_are_those_without_tags<B: Backend, E: Engine>() {
    let mut dice = 7;
    for round in 0..12 {
        for tag in tags(E::NAME, &mut dice) {
            let cache = B::cache(Cacheops::builder());
            let mut engine = E::new(&cache, Delimiters::Default, Layout::default());
            let end = if tag.starts_with("cached_as") { "endcached_as" } else { "endcached" };
            let body = "{{ a }} {{ b }} {{ c }}";
            let source = format!("{{% {tag} %}}{body}{{% {end} %}}");
            engine.add("tag.html", &source).unwrap_or_else(|why| panic!("{source}: {why}"));
            engine.add("plain.html", body).unwrap();
            let pages = (0..8).map(|flags| page(&mut engine, flags)).collect::<Vec<_>>();
            let values = json!({"s": "<i>&"});
            let context =
                Context { values: values.as_object().unwrap().clone(), ..Context::default() };
            for (with, without) in pages.iter().chain(pages.iter().rev()) {
                let expected = engine.render(without, &context).unwrap();
                let got = engine.render(with, &context);
                assert_eq!(got.as_ref(), Ok(&expected), "{source} in {with}, round {round}");
            }
            assert_eq!((cache.stats().hits, cache.stats().misses), (8, 8), "{source}");
        }
    }
}

/// A page that sets the variables, safe by the bits of `flags`, and includes
/// the tag; and the same without a tag.
fn page<E: Engine>(engine: &mut E, flags: u32) -> (String, String) {
    let set = |(bit, name): (u32, &str)| {
        let safe = if flags & (1 << bit) == 0 { "" } else { " | safe" };
        format!("{{% set {name} = s{safe} %}}")
    };
    let sets: String = (0..).zip(["a", "b", "c"]).map(set).collect();
    let mut add = |name: String, includes: &str| {
        engine.add(&name, &format!("{sets}{{% include \"{includes}\" %}}")).unwrap();
        name
    };
    (
        add(format!("with{flags}.html"), "tag.html"),
        add(format!("without{flags}.html"), "plain.html"),
    )
}

on_stores_and_engines! { pages_are_those_without_tags }
