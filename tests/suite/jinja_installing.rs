//! What happens when tags are installed again.

use cacheops::Cacheops;
use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, context};
use minijinja_cacheops::{Caching, Tags};

const SOURCE: &str = "{% cached_as 'a' %}{{ n }}{% endcached_as %}";

#[test]
fn an_environment_has_one_cache() {
    let (first, second) = (Cacheops::in_memory(), Cacheops::in_memory());
    let mut env = Environment::new();
    let tags = Tags::install(&mut env, &first);
    tags.add_template(&mut env, "page", SOURCE).unwrap();
    let others = Tags::install(&mut env, &second);
    let refused = others.add_template(&mut env, "other", SOURCE).unwrap_err();
    assert!(refused.to_string().contains("the tags of another cache"), "{refused}");
    let page = |n: u32| env.get_template("page").unwrap().render(context!(n)).unwrap();
    assert_eq!((page(1), page(2)), ("1".into(), "1".into()));
    second.invalidate_all().unwrap();
    assert_eq!(page(3), "1");
    first.invalidate_model("a").unwrap();
    assert_eq!(page(4), "4");
}

#[test]
fn installing_the_same_cache_again_gives_the_same_tags() {
    let cache = Cacheops::in_memory();
    let mut env = Environment::new();
    Tags::install(&mut env, &cache).add_template(&mut env, "page", SOURCE).unwrap();
    let mut clone = env.clone();
    let tags = Tags::install(&mut clone, &cache);
    tags.add_template(&mut clone, "other", SOURCE).unwrap();
    let page = |env: &Environment<'_>, name: &str, n: u32| {
        env.get_template(name).unwrap().render(context!(n)).unwrap()
    };
    assert_eq!(page(&env, "page", 1), "1");
    assert_eq!(page(&clone, "page", 2), "1");
    assert_eq!(page(&clone, "other", 3), "3");
    assert_eq!(page(&clone, "other", 4), "3");
}

/// An environment of a language.
fn of_lang(lang: &'static str) -> Environment<'static> {
    let mut env = Environment::new();
    to_lang(&mut env, lang);
    env
}

fn to_lang(env: &mut Environment<'_>, lang: &'static str) {
    env.add_global("lang", lang);
    env.add_function("t", move || lang);
    env.add_filter("l", move |_: u8| lang);
}

const OF_LANG: &str = "{% cached %}{{ lang }}{{ t() }}{{ 0|l }}{{ n }}{% endcached %}\
    {% call cached() %}{{ lang }}{{ n }}{% endcall %}";

fn page(env: &Environment<'_>, n: u32) -> String {
    env.get_template("page").unwrap().render(context!(n)).unwrap()
}

/// Environments that render one source otherwise, in one cache.
#[test]
fn environments_of_one_cache_share_no_fragments() {
    let cache = Cacheops::in_memory();
    let engine = |lang: &'static str, name: Option<&str>| {
        let mut env = of_lang(lang);
        let tags = match name {
            Some(name) => Tags::install_as(&mut env, &cache, name),
            None => Tags::install(&mut env, &cache),
        };
        tags.add_template(&mut env, "page", OF_LANG).unwrap();
        env
    };
    let (de, en, fr) = (engine("de", None), engine("en", None), engine("fr", None));
    let pages = |n: u32| (page(&de, n), page(&en, n), page(&fr, n));
    let all = ("dedede1de1".into(), "enenen1en1".into(), "frfrfr1fr1".into());
    assert_eq!(pages(1), all);
    assert_eq!(pages(2), all);
    let named = |name| engine("de", Some(name));
    let (one, other, same) = (named("a"), named("b"), named("a"));
    assert_eq!(page(&one, 3), "dedede3de3");
    assert_eq!(page(&other, 4), "dedede4de4");
    assert_eq!(page(&same, 5), "dedede3de3");
}

/// A clone has its templates already when it becomes another one.
#[test]
fn a_clone_under_a_name_has_fragments_of_its_own() {
    let cache = Cacheops::in_memory();
    let mut de = of_lang("de");
    let tags = Tags::install(&mut de, &cache);
    tags.add_template(&mut de, "page", OF_LANG).unwrap();
    tags.set_loader(&mut de, |name| Ok((name == "late").then_some(SOURCE)));
    let mut en = de.clone();
    to_lang(&mut en, "en");
    let of_en = Tags::install_as(&mut en, &cache, "en");
    for (n, tags) in [&of_en, &tags].into_iter().enumerate() {
        tags.add_template(&mut en, format!("more {n}"), SOURCE).unwrap();
    }
    assert_eq!((page(&de, 1), page(&en, 2)), ("dedede1de1".into(), "enenen2en2".into()));
    assert_eq!((page(&de, 3), page(&en, 4)), ("dedede1de1".into(), "enenen2en2".into()));
    for name in ["late", "more 0", "more 1"] {
        let late = |n: u32| en.get_template(name).unwrap().render(context!(n)).unwrap();
        assert_eq!((late(1), late(2)), ("1".into(), "1".into()));
    }
    let other = Cacheops::in_memory();
    let refused = Tags::install_as(&mut en, &other, "en").add_template(&mut en, "a", SOURCE);
    assert!(refused.unwrap_err().to_string().contains("the tags of another cache"));
}

/// A source that was loaded before its tag was known has other tags than then.
#[test]
fn a_custom_tag_added_later_runs_its_own_body() {
    let mut env = Environment::new();
    let tags = Tags::install(&mut env, &Cacheops::in_memory());
    let source = "{% cached %}a{% endcached %}{% mine 1 %}b{% endmine %}";
    assert!(tags.add_template(&mut env, "one", source).is_err());
    tags.decorator_tag("mine", |_| Ok(Caching::cached())).unwrap();
    tags.add_template(&mut env, "two", "{% mine 1 %}secret{% endmine %}").unwrap();
    let page = |name| env.get_template(name).unwrap().render(()).unwrap();
    assert_eq!(page("two"), "secret");
    tags.add_template(&mut env, "one", source).unwrap();
    let page = |name| env.get_template(name).unwrap().render(()).unwrap();
    assert_eq!((page("one"), page("one")), ("ab".to_owned(), "ab".to_owned()));
}

#[test]
fn another_syntax_reads_the_same_source_differently() {
    let mut env = Environment::new();
    let tags = Tags::install(&mut env, &Cacheops::in_memory());
    let source = "<% cached %>a<% endcached %>{% cached %}<% set x = 1 %>b{% endcached %}";
    let mut other = env.clone();
    let syntax = SyntaxConfig::builder().block_delimiters("<%", "%>").build().unwrap();
    other.set_syntax(syntax);
    tags.add_template(&mut env, "one", source).unwrap();
    tags.add_template(&mut env, "two", "{% cached %}secret{% endcached %}").unwrap();
    tags.add_template(&mut other, "one", source).unwrap();
    for _ in 0..2 {
        let page =
            |env: &Environment<'_>, name| env.get_template(name).unwrap().render(()).unwrap();
        assert_eq!(page(&env, "two"), "secret");
        assert_eq!(page(&env, "one"), "<% cached %>a<% endcached %><% set x = 1 %>b");
        assert_eq!(page(&other, "one"), "a{% cached %}b{% endcached %}");
    }
}
