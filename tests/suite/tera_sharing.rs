//! Instances of an application on different engines, over one Redis.

use cacheops::{Cacheops, Consistency, QuerySet, Redis, eq};
use cacheops_tests::engines::{MiniJinja, Tera};
use cacheops_tests::{Context, Delimiters, Engine, Layout, shared_server};
use serde_json::json;

/// As long as a trip may take on a busy machine.
const LONG: std::time::Duration = std::time::Duration::from_secs(20);

/// They hear of each other's changes, by table and by the name of a fragment,
/// and never show each other's fragments: one source is not the same template
/// to both.
#[test]
fn engines_share_invalidations_but_no_fragments() {
    let cache = || {
        let redis = Redis::url(shared_server().url())
            .consistency(Consistency::Strict)
            .operation_timeout(LONG);
        Cacheops::builder().prefix("engines:").redis(redis).build().unwrap()
    };
    let (one, other) = (cache(), cache());
    one.invalidate_all().unwrap();
    let mut minijinja = MiniJinja::new(&one, Delimiters::Default, Layout::default());
    let mut tera = Tera::new(&other, Delimiters::Default, Layout::default());
    let source = "{% cached_as q, name=\"list\" %}{{ n }}{% endcached_as %}";
    minijinja.add("page", source).unwrap();
    tera.add("page", source).unwrap();
    let context = |n: u32| {
        let mut context = Context::default();
        context.values.insert("n".to_owned(), json!(n));
        let set = QuerySet::table("articles").filter(eq("lang", "de"));
        context.querysets.push(("q".to_owned(), set));
        context
    };
    let pages = |n: u32| {
        let pages = (minijinja.render("page", &context(n)), tera.render("page", &context(n + 1)));
        (pages.0.unwrap(), pages.1.unwrap())
    };
    let texts = |one: &str, other: &str| (one.to_owned(), other.to_owned());
    assert_eq!(pages(10), texts("10", "11"));
    assert_eq!(pages(20), texts("10", "11"));
    // Whichever announces: a row, another one, the name.
    one.invalidate_obj("articles", &json!({"lang": "de"})).unwrap();
    assert_eq!(pages(30), texts("30", "31"));
    other.invalidate_obj("articles", &json!({"lang": "de"})).unwrap();
    assert_eq!(pages(40), texts("40", "41"));
    other.invalidate_obj("articles", &json!({"lang": "en"})).unwrap();
    assert_eq!(pages(50), texts("40", "41"));
    one.invalidate_fragment("list").unwrap();
    assert_eq!(pages(60), texts("60", "61"));
}

/// Teras that render one source otherwise, in one cache.
#[test]
fn teras_of_one_cache_share_no_fragments() {
    let cache = Cacheops::in_memory();
    let engine = |lang: &'static str, name: Option<&str>| {
        let mut tera = tera::Tera::default();
        tera.register_function("t", move |_: tera::Kwargs, _: &tera::State| lang);
        tera.global_context().insert("lang", lang);
        let tags = match name {
            Some(name) => tera_cacheops::Tags::install_as(&mut tera, &cache, name),
            None => tera_cacheops::Tags::install(&mut tera, &cache),
        };
        let source = "{% cached %}{{ t() }}{{ lang }}{{ n }}{% endcached %}";
        tags.add_template(&mut tera, "page", source).unwrap();
        move |n: u8| tags.render(&tera, "page", &tera::context!(n => &n)).unwrap()
    };
    let (de, en, fr) = (engine("de", None), engine("en", None), engine("fr", None));
    assert_eq!((de(1), en(2), fr(3)), ("dede1".into(), "enen2".into(), "frfr3".into()));
    assert_eq!((de(4), en(5), fr(6)), ("dede1".into(), "enen2".into(), "frfr3".into()));
    let (one, other, same) =
        (engine("de", Some("a")), engine("de", Some("b")), engine("de", Some("a")));
    assert_eq!((one(1), other(2), same(3)), ("dede1".into(), "dede2".into(), "dede1".into()));
}

/// Clones of a Tera that escape otherwise.
#[test]
fn clones_that_escape_differently_share_no_fragments() {
    let mut html = tera::Tera::default();
    let tags = tera_cacheops::Tags::install(&mut html, &Cacheops::in_memory());
    tags.add_template(&mut html, "page.html", "{% cached %}{{ v }}{% endcached %}").unwrap();
    let (mut upper, mut none) = (html.clone(), html.clone());
    upper.set_escape_fn(|text, out| out.write_all(text.to_uppercase().as_bytes()));
    none.set_escape_fn(|text, out| out.write_all(text.as_bytes()));
    let page =
        |tera: &tera::Tera| tags.render(tera, "page.html", &tera::context!(v => "<b>")).unwrap();
    for _ in 0..2 {
        assert_eq!(
            (page(&none), page(&upper), page(&html)),
            ("<b>".into(), "<B>".into(), "&lt;b&gt;".into())
        );
    }
}

/// One whose function escapes a single character more, whichever that is: a
/// site has attributes without quotes, or scripts.
#[test]
fn clones_that_escape_one_more_character_share_no_fragments() {
    fn strict(text: &str, out: &mut dyn std::io::Write) -> std::io::Result<()> {
        text.chars().try_for_each(|c| match c {
            ' ' | '=' => write!(out, "&#{};", u32::from(c)),
            c => tera::escape_html(c.encode_utf8(&mut [0; 4]), out),
        })
    }
    fn lines(text: &str, out: &mut dyn std::io::Write) -> std::io::Result<()> {
        tera::escape_html(&text.replace('\u{2028}', "\\u2028"), out)
    }
    let mut html = tera::Tera::default();
    let tags = tera_cacheops::Tags::install(&mut html, &Cacheops::in_memory());
    let source = "{% cached %}<a title={{ v }}>{% endcached %}";
    tags.add_template(&mut html, "page.html", source).unwrap();
    let (mut spaces, mut scripts) = (html.clone(), html.clone());
    spaces.set_escape_fn(strict);
    scripts.set_escape_fn(lines);
    let v = "x onload=alert(1)\u{2028}";
    let page = |tera: &tera::Tera| tags.render(tera, "page.html", &tera::context!(v => v)).unwrap();
    for _ in 0..2 {
        assert_eq!(page(&html), "<a title=x onload=alert(1)\u{2028}>");
        assert_eq!(page(&spaces), "<a title=x&#32;onload&#61;alert(1)\u{2028}>");
        assert_eq!(page(&scripts), "<a title=x onload=alert(1)\\u2028>");
    }
}
