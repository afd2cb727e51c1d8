//! Rows that a template reads outside of a tag.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use cacheops::{Cacheops, QuerySet, eq};
use tera::{Error, Tera, context};
use tera_cacheops::{Tags, lazy};

fn refusal(source: &str) -> Option<String> {
    let mut tera = Tera::default();
    let tags = Tags::install(&mut tera, &Cacheops::in_memory());
    tags.decorator_tag("menu", |_| Ok(tera_cacheops::Caching::cached())).unwrap();
    Some(tags.add_template(&mut tera, "page", source).err()?.to_string())
}

/// Values in Tera are plain data: rows in a variable cannot tell a fragment
/// what it depends on.
#[test]
fn rows_in_variables() {
    let error = refusal(
        "{% set r = articles | rows %}\n{% cached_as 'tags' %}{{ r | length }}{% endcached_as %}",
    );
    assert_eq!(
        error.unwrap(),
        "\
error: `{{ r | length }}`: `r` holds rows that were read outside of `{% cached_as 'tags' %}` of line 2, which would not hear of their changes; read them inside, as `articles | rows`, or name their queryset in the tag
 --> page:2:23
  |
2 | {% cached_as 'tags' %}{{ r | length }}{% endcached_as %}
  |                       ^^^^^^^^^^^^^^^^"
    );
    for refused in [
        "{% set r = rows(of=articles) %}{% cached %}{% for a in r %}{% endfor %}{% endcached %}",
        "{% set r = articles | rows | first %}{% cached %}{% if r.x %}{% endif %}{% endcached %}",
        "{% set r = articles|rows %}{% set n = r | length %}{% cached %}{{ n }}{% endcached %}",
        "{% set r = articles|rows %}{% cached_as articles %}{% cached_as 'a' %}{{ r }}{% endcached_as %}{% endcached_as %}",
        "{% cached_as articles %}{% set r = articles|rows %}{% cached %}{{ r }}{% endcached %}{% endcached_as %}",
        "{% set html %}{% for a in articles | rows %}{% endfor %}{% endset %}{% cached %}{{ html }}{% endcached %}",
        "{% for x in y %}{% set_global r = articles | rows %}{% endfor %}{% menu %}{{ [...r] }}{% endmenu %}",
        "{% component C(a) %}{% set r = a | rows %}{% cached %}{{ r }}{% endcached %}{% endcomponent C %}",
    ] {
        assert!(refusal(refused).is_some_and(|e| e.contains("read outside of")), "{refused}");
    }
    for fine in [
        "{% set r = articles | rows %}{{ r }}{% cached %}{% endcached %}",
        "{% set r = articles | rows %}{% cached_as articles %}{{ r }}{% endcached_as %}",
        "{% set r = articles | rows %}{% cached_as 'articles' %}{{ r }}{% endcached_as %}",
        "{% set r = articles | rows %}{% cached extra=r %}{{ r }}{% endcached %}",
        "{% set r = articles | rows %}{% menu articles %}{{ r }}{% endmenu %}",
        "{% set r = articles | rows %}{% cached %}{{ x.r }}{{ f | get(key='r') }}{% endcached %}",
        "{% cached_as articles %}{% set r = articles | rows %}{{ r }}{% endcached_as %}",
        "{% for a in articles | rows %}{% cached extra=a.id %}{{ a }}{% endcached %}{% endfor %}",
        "{% set rows = 1 %}{% cached %}{{ rows }}{% endcached %}",
        "{% component C(a) %}{% set r = a | rows %}{% endcomponent C %}{% cached %}{{ r | default(value=1) }}{% endcached %}",
    ] {
        assert_eq!(refusal(fine), None, "{fine}");
    }
}

/// Read early, and named in the tag: the fragment is not made from rows that
/// have changed since.
#[test]
fn rows_in_variables_of_querysets_that_are_named() {
    let cache = Cacheops::in_memory();
    let mut tera = Tera::default();
    let database = Arc::new(AtomicU64::new(1));
    let (write, invalidate) = (database.clone(), cache.clone());
    tera.register_function("write", move |_: tera::Kwargs, _: &tera::State| {
        if write.swap(2, Ordering::SeqCst) == 1 {
            invalidate.invalidate_obj("rows", &serde_json::json!({"id": 1})).unwrap();
        }
        ""
    });
    let tags = Tags::install(&mut tera, &cache);
    let source =
        "{% set r = all | rows %}{{ write() }}{% cached_as all %}{{ r | join }}{% endcached_as %}";
    tags.add_template(&mut tera, "page", source).unwrap();
    let render = || {
        let read = database.clone();
        let set = QuerySet::table("rows").filter(eq("id", 1));
        let all = lazy(&cache, set, move || Ok::<_, Error>(vec![read.load(Ordering::SeqCst)]));
        tags.render(&tera, "page", &context!(all => &all)).unwrap()
    };
    assert_eq!((render(), render(), render()), ("1".into(), "2".into(), "2".into()));
    assert_eq!((cache.stats().stored, cache.stats().hits), (1, 1));
}
