//! Errors that end a rendering of MiniJinja, and that somebody keeps.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use cacheops::{Cacheops, QuerySet};
use cacheops_tests::Backend;
use minijinja::value::Kwargs;
use minijinja::{Environment, Error, ErrorKind, State, Value, context};
use minijinja_cacheops::{Tags, queryset};

fn site<B: Backend>() -> (Environment<'static>, Cacheops) {
    let cache = B::cache(Cacheops::builder().wait_timeout(Duration::from_secs(20)));
    let mut env = Environment::new();
    env.set_debug(true);
    let tags = Tags::install(&mut env, &cache);
    env.add_function("fail", |fails: bool| {
        if fails { Err(Error::new(ErrorKind::InvalidOperation, "no")) } else { Ok("") }
    });
    // Swallows the error of a body that it is handed.
    env.add_function("tries", |state: &mut State, kwargs: Kwargs| {
        let caller: Value = kwargs.get("caller")?;
        Ok::<_, Error>(caller.call(state, &[]).unwrap_or_else(|_| Value::from("-")))
    });
    for (name, source) in PAGES {
        tags.add_template(&mut env, name, source).unwrap();
    }
    (env, cache)
}

const PAGES: [(&str, &str); 3] = [
    ("page", "{% cached_as a %}{{ n }}{{ fail(fails) }}{% endcached_as %}"),
    // The same tag inside itself, by a macro that calls itself; the inner one fails.
    (
        "swallowed",
        "{% macro m(d) %}{% cached_as a, extra=d %}{{ d }}{% if d < 2 %}{% call tries() %}{{ m(d + 1) }}{% endcall %}{% endif %}{{ fail(fails and d == 2) }}{% endcached_as %}{% endmacro %}{{ m(1) }}",
    ),
    ("other", "{% cached_as b %}{{ n }}{% endcached_as %}"),
];

fn render(env: &Environment<'_>, name: &str, n: u64, fails: bool) -> Result<String, Error> {
    let of = |table: &str| queryset(QuerySet::table(table));
    env.get_template(name)?.render(context!(n, fails, a => of("a"), b => of("b")))
}

/// An error that is kept holds up nobody, in this thread or another, and
/// nothing of its rendering is stored later.
fn an_error_that_is_kept<B: Backend>() {
    let (env, cache) = site::<B>();
    let kept = render(&env, "page", 1, true).unwrap_err();
    let since = Instant::now();
    std::thread::scope(|scope| {
        scope.spawn(|| assert_eq!(render(&env, "page", 2, false).unwrap(), "2")).join().unwrap();
    });
    assert!(since.elapsed() < Duration::from_secs(10), "nobody waits for what has ended");
    assert_eq!(render(&env, "page", 3, false).unwrap(), "2");
    cache.invalidate_model("a").unwrap();
    let stored = cache.stats().stored;
    assert_eq!(render(&env, "other", 4, false).unwrap(), "4");
    assert_eq!(render(&env, "page", 5, false).unwrap(), "5");
    assert_eq!(cache.stats().stored, stored + 2, "the thread stores");
    drop(kept);
    assert_eq!(cache.stats().stored, stored + 2);
}

/// An error that is dropped while another page is rendered.
fn an_error_that_is_dropped_late<B: Backend>() {
    let (mut env, cache) = site::<B>();
    let kept = Arc::new(std::sync::Mutex::new(Some(render(&env, "page", 1, true).unwrap_err())));
    let (it, write, data) = (kept.clone(), cache.clone(), Arc::new(AtomicU64::new(1)));
    let of = data.clone();
    env.add_function("drop_error", move || {
        let seen = of.load(Ordering::SeqCst);
        if it.lock().unwrap().take().is_some() {
            of.store(2, Ordering::SeqCst);
            write.invalidate_model("a").unwrap();
        }
        seen
    });
    let tags = Tags::install(&mut env, &cache);
    tags.add_template(&mut env, "late", "{% cached_as a %}{{ drop_error() }}{% endcached_as %}")
        .unwrap();
    assert_eq!(render(&env, "late", 0, false).unwrap(), "1");
    assert_eq!(render(&env, "late", 0, false).unwrap(), "2");
    assert_eq!(render(&env, "late", 0, false).unwrap(), "2");
}

/// A body whose error somebody swallows is given up, and what is around it
/// ends as itself.
fn an_error_that_is_swallowed<B: Backend>() {
    let (env, _) = site::<B>();
    assert_eq!(render(&env, "swallowed", 0, true).unwrap(), "1-");
    assert_eq!(render(&env, "swallowed", 0, true).unwrap(), "1-");
    let (env, _) = site::<B>();
    assert_eq!(render(&env, "swallowed", 0, false).unwrap(), "12");
    assert_eq!(render(&env, "swallowed", 0, true).unwrap(), "12", "the inner one is its own");
}

on_stores! {
    an_error_that_is_kept
    an_error_that_is_dropped_late
    an_error_that_is_swallowed
}
