//! Templates that minijinja-embed puts into the binary.

use cacheops::{Cacheops, QuerySet};
use minijinja::{Environment, Error, context};
use minijinja_cacheops::{Tags, queryset};

/// The line of the handbook.
fn shown(cache: &Cacheops) -> Result<Environment<'static>, Error> {
    let mut env = Environment::new();
    let tags = Tags::install(&mut env, cache);
    tags.add_loaded(&mut env, |raw| minijinja_embed::load_templates!(*raw))?;
    Ok(env)
}

#[test]
fn what_the_handbook_shows() {
    let source = include_str!("embedded.rs");
    let line = source.lines().find(|line| line.contains("tags.add_loaded(")).unwrap();
    assert!(include_str!("../../docs/handbook/tags-in-templates.md").contains(line.trim()));
}

#[test]
fn embedded_templates_have_tags() {
    let cache = Cacheops::in_memory();
    let env = shown(&cache).unwrap();
    assert_eq!(env.templates().count(), 2);
    let page = |n: u8| {
        let articles = queryset(QuerySet::table("articles"));
        env.get_template("page.html").unwrap().render(context!(articles, n)).unwrap()
    };
    assert_eq!((page(1), page(2)), ("<1> 1".into(), "<1> 1".into()));
    cache.invalidate_model("articles").unwrap();
    assert_eq!(page(3), "<3> 1");
    cache.invalidate_fragment("foot").unwrap();
    assert_eq!(page(4), "<3> 4");
}

#[test]
fn what_is_wrong_in_one_is_told() {
    let mut env = Environment::new();
    let tags = Tags::install(&mut env, &Cacheops::in_memory());
    let source = "\n{% cached %}{{ n }}";
    let wrong = tags.add_loaded(&mut env, |raw| raw.add_template("wrong", source).unwrap());
    let wrong = wrong.unwrap_err();
    assert_eq!((wrong.name(), wrong.line()), (Some("wrong"), Some(2)), "{wrong}");
}
