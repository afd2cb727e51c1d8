//! What was read for a page counts until the page ends, in whatever way it was
//! handed out, and whether or not anything tells when it changes.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use cacheops::{Cacheops, Error, Profile};
use cacheops_tests::{Backend, Context, Delimiters, Engine, Layout};

/// A handler gets a value, and shows it in a fragment once it has changed: that
/// is not kept.
fn shown_later(cache: &Cacheops, get: impl Fn() -> u64, change: impl Fn()) {
    let show = |shown: u64| cache.cached_as("shown").get_or_fill(|| Ok::<_, Error>(shown)).unwrap();
    let handle = |changes: bool| {
        let page = cache.page();
        page.enter();
        let got = get();
        if changes {
            change();
        }
        (got, show(got))
    };
    let (got, shown) = handle(true);
    assert_eq!(shown, got);
    let (got, shown) = handle(false);
    assert_eq!(shown, got, "what was shown is of before the change");
}

fn read_while_the_cache_is_off<B: Backend>() {
    let number = Cell::new(1);
    let cache = B::cache(Cacheops::builder());
    let get = || cache.cached_as("a").get_or_fill(|| Ok::<_, Error>(number.get())).unwrap();
    let off = || {
        cache.set_enabled(false);
        let got = get();
        cache.set_enabled(true);
        got
    };
    let change = || {
        number.set(number.get() + 1);
        cache.invalidate_model("a").unwrap();
    };
    shown_later(&cache, off, change);
    // The same inside a fill, which began and ends while it is on.
    let around = || cache.cached_as("b").get_or_fill(|| Ok::<_, Error>(off())).unwrap();
    cache.invalidate_all().unwrap();
    shown_later(&cache, around, change);
}

fn read_and_never_cached<B: Backend>() {
    let number = Cell::new(1);
    let settings = Cacheops::builder().profile("a", Profile::never()).profile("*", Profile::new());
    let cache = B::cache(settings);
    let get = || cache.cached_as("a").get_or_fill(|| Ok::<_, Error>(number.get())).unwrap();
    let change = || {
        number.set(number.get() + 1);
        cache.invalidate_model("a").unwrap();
    };
    shown_later(&cache, get, change);
    cache.invalidate_all().unwrap();
    let around = || cache.cached_as("b").get_or_fill(|| Ok::<_, Error>(get())).unwrap();
    shown_later(&cache, around, change);
    // Where nothing changes, what shows it is kept.
    let page = cache.page();
    page.enter();
    get();
    let stored = cache.stats().stored;
    cache.cached_as("c").get_or_fill(|| Ok::<_, Error>(1)).unwrap();
    assert_eq!(cache.stats().stored, stored + 1);
}

fn when_a_table_last_changed<B: Backend>() {
    let cache = B::cache(Cacheops::builder());
    let change = || cache.invalidate_model("a").unwrap();
    let micros = |tables: &[&str]| {
        let last = cache.get_last_invalidation(tables.iter().copied()).unwrap();
        last.duration_since(std::time::UNIX_EPOCH).unwrap().as_micros() as u64
    };
    change();
    shown_later(&cache, || micros(&["a"]), change);
    cache.invalidate_all().unwrap();
    shown_later(&cache, || micros(&[]), change);
    cache.invalidate_all().unwrap();
    let around = || cache.cached_as("b").get_or_fill(|| Ok::<_, Error>(micros(&[]))).unwrap();
    shown_later(&cache, around, change);
}

/// What is got with one page among things that were read for another.
fn of_two_pages<B: Backend>() {
    let cache = B::cache(Cacheops::builder());
    let number = Cell::new(1);
    let (one, two) = (cache.page(), cache.page());
    one.enter();
    let read = cache.cached_as("a").get_or_fill(|| Ok::<_, Error>(number.get())).unwrap();
    number.set(2);
    cache.invalidate_model("a").unwrap();
    let got = cache.cached_as("b").page(&two).get_or_fill(|| Ok::<_, Error>(read)).unwrap();
    drop(one);
    let show = |page: &cacheops::Page, shown: u64| {
        let call = cache.cached_as("shown").page(page);
        call.get_or_fill(|| Ok::<_, Error>(shown)).unwrap()
    };
    assert_eq!(show(&two, got), 1);
    assert_eq!(show(&cache.page(), number.get()), 2);
}

on_stores! {
    read_while_the_cache_is_off
    read_and_never_cached
    when_a_table_last_changed
    of_two_pages
}

/// A text that a tag has printed, and that is shown once more after a change.
fn texts_of_tags_that_keep_nothing<B: Backend, E: Engine>() {
    for (tag, profile) in [
        ("{% cached_as 'a', if=false %}{{ n }}{% endcached_as %}", Profile::new()),
        ("{% cached_as 'a' %}{{ n }}{% endcached_as %}", Profile::never()),
    ] {
        let settings = Cacheops::builder().profile("a", profile).profile("*", Profile::new());
        let cache = B::cache(settings);
        let once = AtomicBool::new(true);
        let mut engine = E::new(&cache, Delimiters::Default, Layout::default());
        engine.on_change(move || {
            if once.swap(false, Ordering::SeqCst) {
                cache.invalidate_model("a").unwrap();
            }
        });
        let page = format!(
            "{{% set v %}}{tag}{{% endset %}}{{{{ change() }}}}{{% cached_as 'b' %}}{{{{ v }}}}{{% endcached_as %}}"
        );
        engine.add("page", &page).unwrap();
        let render = |n: u32| {
            let mut context = Context::default();
            context.values.insert("n".to_owned(), n.into());
            engine.render("page", &context).unwrap()
        };
        assert_eq!(
            (render(1), render(2), render(3)),
            ("1".into(), "2".into(), "2".into()),
            "{tag}"
        );
    }
}

fn when_a_table_last_changed_in_a_template<B: Backend, E: Engine>() {
    let cache = B::cache(Cacheops::builder());
    cache.invalidate_model("a").unwrap();
    let mut engine = E::new(&cache, Delimiters::Default, Layout::default());
    let (handle, is_armed) = (cache.clone(), Arc::new(AtomicBool::new(true)));
    engine.on_change(move || {
        if is_armed.swap(false, Ordering::SeqCst) {
            handle.invalidate_model("a").unwrap();
        }
    });
    let last = if E::NAME == "tera" {
        "get_last_invalidation(of='a')"
    } else {
        "get_last_invalidation('a')"
    };
    let page = format!(
        "{{% set v = {last} %}}{{{{ change() }}}}{{% cached_as 'b' %}}{{{{ v }}}}{{% endcached_as %}}|{{{{ {last} }}}}"
    );
    engine.add("page", &page).unwrap();
    let render = || engine.render("page", &Context::default()).unwrap();
    render();
    let page = render();
    let (shown, now) = page.split_once('|').unwrap();
    assert_eq!(shown, now);
}

on_stores_and_engines! {
    texts_of_tags_that_keep_nothing
    when_a_table_last_changed_in_a_template
}
