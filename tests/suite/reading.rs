//! What one can see of the cache.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use cacheops::{Cacheops, Error, ManualClock, Outcome, QuerySet, eq};
use cacheops_tests::{Backend, Context, Delimiters, Engine, Layout};
use serde_json::json;

fn observers<B: Backend, E: Engine>() {
    let log: Arc<Mutex<Vec<String>>> = Arc::default();
    let (reads, invalidations) = (log.clone(), log.clone());
    let clock = Arc::new(ManualClock::new());
    let cache = B::cache(
        Cacheops::builder()
            .clock(clock.clone())
            .on_cache_read(move |read| {
                let age = read.age.map_or(String::new(), |age| format!(", {age:?} old"));
                // Where a hit comes from is the store's affair.
                let outcome = read.outcome.to_string().replace("shared hit", "hit");
                reads.lock().unwrap().push(format!("{}: {outcome}{age}", read.name));
            })
            .on_cache_invalidated(move |event| {
                invalidations.lock().unwrap().push(format!(
                    "{}: {} rows, {} schemes, {} dropped, whole {}",
                    event.target,
                    event.rows.len(),
                    event.schemes,
                    event.dropped,
                    event.whole_table
                ));
            }),
    );
    let mut engine = E::new(&cache, Delimiters::Default, Layout::default());
    engine
        .add("page.html", "\n{% cached_as \"a\", name=\"side\" %}x{% endcached_as %}{% cached timeout=5 %}y{% endcached %}")
        .unwrap();
    let render = || drop(engine.render("page.html", &Context::default()).unwrap());
    render();
    clock.advance(Duration::from_secs(3));
    render();
    cache.invalidate_obj("a", &json!({"id": 1})).unwrap();
    clock.advance(Duration::from_secs(2));
    render();
    cache.set_enabled(false);
    render();
    cache.invalidate_fragment("side").unwrap();
    cache.invalidate_all().unwrap();
    assert_eq!(
        *log.lock().unwrap(),
        [
            "side: no value",
            "page.html:2: no value",
            "side: hit, 3s old",
            "page.html:2: hit, 3s old",
            "table a: 1 rows, 1 schemes, 1 dropped, whole false",
            "side: stamp changed",
            "page.html:2: expired",
            "side: bypassed",
            "page.html:2: bypassed",
            "fragment side: 0 rows, 0 schemes, 1 dropped, whole false",
            "everything: 0 rows, 0 schemes, 1 dropped, whole true",
        ]
    );
    let stats = cache.stats();
    assert_eq!((stats.hits, stats.misses, stats.bypassed), (2, 6, 2));
    assert_eq!((stats.no_value, stats.stamp_changed, stats.expired), (2, 1, 1));
    assert_eq!((stats.stored, stats.invalidations), (4, 3));
}

fn inspection<B: Backend>() {
    let clock = Arc::new(ManualClock::new());
    let cache = B::cache(Cacheops::builder().clock(clock.clone()).inspect(true));
    let set = QuerySet::table("articles").filter(eq("category", 3)).filter(eq("lang", "de"));
    let fill = || {
        let call =
            cache.cached_as(&set).name("list").extra("x").time_to_live(Duration::from_secs(9));
        call.get_or_fill(|| Ok::<_, Error>("abc".to_owned()))
    };
    fill().unwrap();
    clock.advance(Duration::from_secs(2));
    let [info] = &cache.fragments()[..] else { panic!("one fragment") };
    assert_eq!(info.name, "list");
    assert_eq!((info.age, info.expires_in), (Duration::from_secs(2), Some(Duration::from_secs(7))));
    let mut depends_on = info.depends_on.clone();
    depends_on.sort();
    assert_eq!(depends_on, ["a variant of list", "articles: category=3 and lang=de"]);
    assert!(info.is_current && info.len > 0);
    assert_eq!(info.key.to_string().len(), 40);
    assert_eq!(cache.fragment(&info.key).map(|info| info.name), Some("list".to_owned()));
    cache.invalidate_model("articles").unwrap();
    assert!(!cache.fragments()[0].is_current);
    fill().unwrap();
    assert_eq!(cache.usage().fragments, 1);
    // Without inspection nothing is remembered in words.
    let cache = B::cache(Cacheops::builder());
    cache.cached_as(&set).get_or_fill(|| Ok::<_, Error>(1)).unwrap();
    let info = &cache.fragments()[0];
    assert!(info.name.is_empty() && info.depends_on.is_empty());
    assert!(Outcome::Hit.is_hit() && !Outcome::Expired.is_hit());
}

on_stores! { inspection }

on_stores_and_engines! { observers }
