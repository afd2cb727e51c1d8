//! What happens when tags are installed again.

use cacheops::Cacheops;
use minijinja::{Environment, context};
use minijinja_cacheops::Tags;

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
fn the_same_cache_again() {
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
