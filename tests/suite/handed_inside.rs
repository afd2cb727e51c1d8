//! What was read around a fill counts for all that is made inside of it, after
//! it, and in its place, whichever of them is told of the page.

use std::error::Error as _;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::thread;

use cacheops::{
    Cacheops, Error, Found, FragmentKey, KeyWriter, Page, Profile, QuerySet, Request, eq,
};
use cacheops_tests::Backend;
use futures_executor::block_on;
use serde_json::json;
use tera::{Context, Kwargs, State, Tera, Value};

fn row() -> QuerySet {
    QuerySet::table("a").filter(eq("id", 1))
}

fn key(name: &str) -> FragmentKey {
    let mut key = KeyWriter::new();
    key.str(name);
    key.finish()
}

fn show(cache: &Cacheops, shown: u64) -> u64 {
    cache.cached_as(row()).name("shown").get_or_fill(|| Ok::<_, Error>(shown)).unwrap()
}

fn change(cache: &Cacheops) {
    cache.invalidate_obj("a", &json!({"id": 1})).unwrap();
}

/// A fill that is given up with nothing around it: looked at before it is dropped,
/// or not dropped before another begins.
fn given_up_with_nothing_around<B: Backend>() {
    for is_dropped in [true, false] {
        let cache = B::cache(Cacheops::builder());
        let page = cache.page();
        page.enter();
        let request = Request { page: Some(&page), ..Request::new(key("outer")) };
        let Found::Miss(fill) = cache.find(&request, &|_| true).unwrap() else { panic!() };
        let life: Arc<str> = "x".into();
        fill.enter_while(&cacheops::FillOwner::of(&life));
        let got = cache.cached_as(row()).get_or_fill(|| Ok::<_, Error>(1)).unwrap();
        drop(life);
        let mut fill = Some(fill);
        if is_dropped {
            assert!(!cache.is_filling());
            fill.take();
        }
        change(&cache);
        assert_eq!(show(&cache, got), 1);
        drop((fill, page));
        assert_eq!(show(&cache, 2), 2, "dropped: {is_dropped}");
    }
}

/// What is made inside of a fill that began among changed reads, in this thread or
/// in another; and inside of one during which they change.
fn inside_of_an_outdated_fill<B: Backend>() {
    let cache = B::cache(Cacheops::builder());
    let page = cache.page();
    let read =
        |page: &Page| cache.cached_as(row()).page(page).get_or_fill(|| Ok::<_, Error>(1)).unwrap();
    let outer = || cache.cached_as(row()).page(&page).name("outer");
    let got = read(&page);
    change(&cache);
    assert_eq!(outer().get_or_fill(|| Ok::<_, Error>(show(&cache, got))).unwrap(), 1);
    assert_eq!(show(&cache, 2), 2);

    change(&cache);
    let page = cache.page();
    let got = read(&page);
    let during = cache.cached_as("o").page(&page).name("during").get_or_fill(|| {
        change(&cache);
        Ok::<_, Error>(show(&cache, got))
    });
    assert_eq!(during.unwrap(), 1);
    assert_eq!(show(&cache, 2), 2, "its page knows of the change");
}

/// A future whose page was entered where it began goes on in another thread.
fn inside_of_an_outdated_future<B: Backend>() {
    let cache = B::cache(Cacheops::builder());
    let page = cache.page();
    page.enter();
    let got = cache.cached_as(row()).page(&page).get_or_fill(|| Ok::<_, Error>(1)).unwrap();
    change(&cache);
    let first = thread::current().id();
    let (inside, is_begun) = (cache.clone(), Arc::new(AtomicU64::new(0)));
    let begins = is_begun.clone();
    let mut future: Pin<Box<dyn Future<Output = _> + Send>> = {
        let outer = cache.cached_as(row()).page(&page).name("outer");
        Box::pin(outer.get_or_fill_async(move || async move {
            begins.store(1, Ordering::SeqCst);
            let elsewhere = |_: &mut std::task::Context<'_>| match thread::current().id() == first {
                true => Poll::Pending,
                false => Poll::Ready(()),
            };
            poll_fn(elsewhere).await;
            let shown = inside.cached_as(row()).name("shown");
            shown.get_or_fill_async(|| async move { Ok::<u64, Error>(got) }).await
        }))
    };
    let noop = std::task::Waker::noop();
    while is_begun.load(Ordering::SeqCst) == 0 {
        assert!(future.as_mut().poll(&mut std::task::Context::from_waker(noop)).is_pending());
        thread::yield_now();
    }
    let shown = thread::scope(|scope| scope.spawn(move || block_on(future)).join().unwrap());
    assert_eq!(shown.unwrap(), 1);
    drop(page);
    assert_eq!(show(&cache, 2), 2);
}

/// What is let through for one page, among changed reads of another.
fn let_through_for_another_page<B: Backend>() {
    for way in ["never", "pass", "skip"] {
        let never = Cacheops::builder().profile("n", Profile::never());
        let cache = B::cache(never.profile("*", Profile::new()));
        let (one, two) = (cache.page(), cache.page());
        one.enter();
        let read = cache.cached_as(row()).get_or_fill(|| Ok::<_, Error>(1)).unwrap();
        change(&cache);
        let table = QuerySet::table("o");
        let request =
            Request { page: Some(&two), querysets: &[&table], ..Request::new(key("outer")) };
        let got = match way {
            "never" => {
                let call = cache.cached_as("n").page(&two);
                call.get_or_fill(|| Ok::<_, Error>(read)).unwrap()
            }
            "pass" => {
                cache.pass(&request).unwrap();
                read
            }
            _ => {
                let request = Request { skip: true, ..request };
                assert!(matches!(cache.find(&request, &|_| true).unwrap(), Found::Bypass));
                read
            }
        };
        drop(one);
        let show = |page: &Page, shown: u64| {
            let call = cache.cached_as(row()).page(page).name("shown");
            call.get_or_fill(|| Ok::<_, Error>(shown)).unwrap()
        };
        assert_eq!(show(&two, got), 1);
        assert_eq!(show(&cache.page(), 2), 2, "{way}");
    }
}

fn words(error: &tera::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        text += &source.to_string();
        next = source.source();
    }
    text
}

/// A Tera whose template `part` fails after it has read.
fn failing(cache: &Cacheops, database: &Arc<AtomicU64>) -> Tera {
    let mut tera = Tera::default();
    let tags = tera_cacheops::Tags::install(&mut tera, cache);
    let (cache, database) = (cache.clone(), database.clone());
    let boom = move |_: Kwargs, _: &State<'_>| -> Result<Value, tera::Error> {
        let read = || Ok::<_, Error>(database.load(Ordering::SeqCst));
        let got = cache.cached_as(row()).get_or_fill(read).unwrap();
        Err(tera::Error::message(format!("number {got} is odd")))
    };
    tera.register_function("boom", boom);
    let part = "{% cached_as 'x' %}{{ boom() }}{% endcached_as %}";
    tags.add_templates(&mut tera, [("part", part)]).unwrap();
    tera
}

/// The words of a rendering that failed are shown, after something else was read.
fn words_of_a_failure<B: Backend>() {
    let cache = B::cache(Cacheops::builder());
    let database = Arc::new(AtomicU64::new(1));
    let tera = failing(&cache, &database);
    let all = |changes: bool| {
        let page = cache.page();
        page.enter();
        let text = words(&tera.render("part", &Context::new()).unwrap_err());
        cache.cached_as("other").get_or_fill(|| Ok::<_, Error>(7)).unwrap();
        if changes {
            database.store(2, Ordering::SeqCst);
            change(&cache);
        }
        let shown =
            cache.cached_as(row()).name("words").get_or_fill(|| Ok::<_, Error>(text.clone()));
        (shown.unwrap(), text)
    };
    let (shown, text) = all(true);
    assert_eq!(shown, text);
    let (shown, text) = all(false);
    assert_eq!(shown, text);
}

/// A function of one Tera swallows the failure of a template of another.
fn a_failure_of_another_tera<B: Backend>() {
    let cache = B::cache(Cacheops::builder());
    let database = Arc::new(AtomicU64::new(1));
    let inner = failing(&cache, &database);
    let mut tera = Tera::default();
    let tags = tera_cacheops::Tags::install(&mut tera, &cache);
    let attempt = move |_: Kwargs, _: &State<'_>| {
        let failed = inner.render("part", &Context::new()).unwrap_err();
        if words(&failed).contains("number 1") { 1 } else { 2 }
    };
    tera.register_function("attempt", attempt);
    let it = cache.clone();
    let other = move |_: Kwargs, _: &State<'_>| {
        it.cached_as("other").get_or_fill(|| Ok::<_, Error>(7)).unwrap()
    };
    tera.register_function("other", other);
    let (it, of) = (cache.clone(), database.clone());
    let change = move |_: Kwargs, _: &State<'_>| {
        if of.swap(2, Ordering::SeqCst) == 1 {
            change(&it);
        }
        ""
    };
    tera.register_function("change", change);
    let page = "{% set v = attempt() %}{{ other() }}{{ change() }}{% cached_as 'a' %}{{ v }}{% endcached_as %}";
    tags.add_templates(&mut tera, [("page", page)]).unwrap();
    let render = || tags.render(&tera, "page", &Context::new()).unwrap();
    assert_eq!((render(), render()), ("71".to_owned(), "72".to_owned()));
}

on_stores! {
    given_up_with_nothing_around inside_of_an_outdated_fill inside_of_an_outdated_future let_through_for_another_page words_of_a_failure a_failure_of_another_tera
}
