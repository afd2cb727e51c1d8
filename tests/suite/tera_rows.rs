//! Rows that a template reads outside of a tag.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use cacheops::{Cacheops, QuerySet, eq};
use tera::{Error, Tera, context};
use tera_cacheops::{Tags, lazy};

/// Read early, and named in the tag: the fragment is not made from rows that
/// have changed since.
#[test]
fn rows_in_a_variable_that_changed_are_not_stored() {
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

/// A map that an author makes of a queryset's has its digest, and is not it,
/// whether the queryset was read before or not.
#[test]
fn a_queryset_that_a_template_changes_is_refused() {
    for warm in ["{% cached_as a %}{% endcached_as %}", ""] {
        let mut tera = Tera::default();
        let tags = Tags::install(&mut tera, &Cacheops::in_memory());
        let change = "{% cached_as {...a, 'table': 'comments'} %}{% endcached_as %}";
        let same = "{% cached_as {...a} %}{% endcached_as %}";
        tags.add_templates(&mut tera, [("warm", warm), ("change", change), ("same", same)])
            .unwrap();
        let set = QuerySet::table("articles").filter(eq("id", 1));
        let mut context = tera::Context::new();
        context.insert_value("a", tera_cacheops::queryset(set));
        tags.render(&tera, "warm", &context).unwrap();
        let error = tags.render(&tera, "change", &context).unwrap_err().to_string();
        assert!(error.contains("it has been changed"), "{error}");
        tags.render(&tera, "same", &context).unwrap();
    }
}
