//! What an application tells the cache.

use std::time::{Duration, UNIX_EPOCH};

use cacheops::{
    Cached, Cacheops, Error, ErrorKind, FillError, Profile, QuerySet, WriteEvent, all, any, eq,
    is_in,
};
use cacheops_tests::{Backend, cache_on_clock};
use serde_json::json;

/// Counts fills: a value is made anew when its number changes.
struct Fragment<'a> {
    cache: &'a Cacheops,
    set: QuerySet,
}

impl<'a> Fragment<'a> {
    fn of(cache: &'a Cacheops, set: impl Into<QuerySet>) -> Self {
        Fragment { cache, set: set.into() }
    }

    /// Whether the fragment was still there; it is afterwards.
    fn is_there(&self) -> bool {
        let mut filled = false;
        let value: Result<u8, FillError<Error>> =
            self.cache.cached_as(&self.set).get_or_fill(|| {
                filled = true;
                Ok(1)
            });
        assert_eq!(value.unwrap(), 1);
        !filled
    }
}

fn table(name: &str) -> QuerySet {
    QuerySet::table(name)
}

fn batches<B: Backend>() {
    let cache = B::cache(Cacheops::builder());
    let one = Fragment::of(&cache, table("articles").filter(eq("id", 1)));
    let two = Fragment::of(&cache, table("articles").filter(eq("id", 2)));
    let three = Fragment::of(&cache, table("articles").filter(eq("id", 3)));
    let tags = Fragment::of(&cache, "tags");
    let all = [&one, &two, &three, &tags];
    all.iter().for_each(|fragment| assert!(!fragment.is_there()));
    cache
        .invalidate_batch([
            WriteEvent::update("articles", &json!({"id": 1}), &json!({"id": 2})),
            WriteEvent::table("tags"),
        ])
        .unwrap();
    assert_eq!(all.map(Fragment::is_there), [false, false, true, false]);
    cache.invalidate_objs("articles", [json!({"id": 2}), json!({"id": 3})]).unwrap();
    assert_eq!(all.map(Fragment::is_there), [true, false, false, true]);
    cache.invalidate_batch([]).unwrap();
    assert_eq!(all.map(Fragment::is_there), [true; 4]);
}

fn bad_rows_lose_nothing<B: Backend>() {
    let cache = B::cache(Cacheops::builder());
    let one = Fragment::of(&cache, table("articles").filter(eq("id", 1)));
    for bad in [json!(3), json!([1, 2]), json!("x"), json!(null)] {
        one.is_there();
        let error = cache.invalidate_obj("articles", &bad).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidRow, "{bad}");
        assert!(error.to_string().starts_with("invalid row: a row must be a map"), "{error}");
        assert!(!one.is_there(), "the table was not invalidated for {bad}");
    }
    // In a batch, the others are carried out.
    let tags = Fragment::of(&cache, "tags");
    one.is_there();
    tags.is_there();
    let events =
        [WriteEvent::insert("articles", &3), WriteEvent::insert("tags", &json!({"id": 1}))];
    assert!(cache.invalidate_batch(events).is_err());
    assert_eq!([one.is_there(), tags.is_there()], [false, false]);
    // A column that is no single value counts as missing where it is needed.
    cache.invalidate_obj("articles", &json!({"id": [1]})).unwrap();
    assert!(!one.is_there());
    cache.invalidate_obj("articles", &json!({"id": 2, "tags": [1], "score": {"a": 1}})).unwrap();
    assert!(one.is_there());
}

fn names_know_no_case<B: Backend>() {
    let cache = B::cache(Cacheops::builder());
    let one = Fragment::of(&cache, table("Articles").filter(eq("Category", 1)));
    one.is_there();
    cache.invalidate_obj("ARTICLES", &json!({"category": 2})).unwrap();
    assert!(one.is_there());
    cache.invalidate_obj("articles", &json!({"CATEGORY": 1})).unwrap();
    assert!(!one.is_there());
}

/// One rule for names: no blanks around them, no case in any script. What is
/// no name of a table is refused, and what was meant is not left stale.
fn names_are_spelled_by_one_rule<B: Backend>() {
    let cache = B::cache(Cacheops::builder());
    let one = Fragment::of(&cache, table(" BÜCHER").filter(eq("Größe ", 1)));
    one.is_there();
    cache.invalidate_obj("bücher\t", &json!({" GRÖßE": 1})).unwrap();
    assert!(!one.is_there());
    cache.invalidate_model(" Bücher ").unwrap();
    assert!(!one.is_there());
    cache.invalidate_batch([WriteEvent::table("BU\u{308}CHER ")]).unwrap();
    assert!(!one.is_there());
    for refused in ["", "  ", "*", "b*", "shop.*"] {
        assert!(one.is_there());
        let errors = [
            cache.invalidate_model(refused),
            cache.invalidate_obj(refused, &json!({"id": 1})),
            cache.invalidate_batch([WriteEvent::table(refused)]),
            cache.invalidate_batch([WriteEvent::insert(refused, &json!({"id": 1}))]),
            table(refused).check(),
        ];
        for error in errors.map(Result::unwrap_err) {
            assert_eq!(error.kind(), ErrorKind::InvalidQuerySet, "{refused:?}: {error}");
        }
        assert!(!one.is_there(), "{refused:?}");
    }
    let profile = cache.cached_as(table("x")).name(" ").get_or_fill(|| Ok::<u8, Error>(1));
    assert_eq!(profile.unwrap_err().into_inner().kind(), ErrorKind::InvalidName);
    let named = |value: u8| {
        let call = cache.cached().name(" side bar ").extra(&[-0.0, 1.0]);
        call.get_or_fill(|| Ok::<u8, Error>(value)).unwrap()
    };
    assert_eq!((named(1), named(2)), (1, 1));
    cache.invalidate_fragment("side bar").unwrap();
    assert_eq!(named(3), 3);
    cache.invalidate_fragment_extra("side bar\n", &[0.0, 1.0]).unwrap();
    assert_eq!(named(4), 4);
    cache.invalidate_batch([WriteEvent::fragment(" side bar")]).unwrap();
    assert_eq!(named(5), 5);
    assert_eq!(cache.invalidate_fragment("").unwrap_err().kind(), ErrorKind::InvalidName);
    let error = cache.invalidate_fragment_extra(" ", &1).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidName);
}

/// Keys stay short, whatever stands in them.
fn long_names_and_variants_are_reached<B: Backend>() {
    let cache = B::cache(Cacheops::builder());
    let (name, extra) = ("n".repeat(1000), "e".repeat(1_000_000));
    let get = |extra: &str, value: u8| {
        let call = cache.cached().name(&name).extra(extra);
        call.get_or_fill(|| Ok::<u8, Error>(value)).unwrap()
    };
    assert_eq!((get(&extra, 1), get("other", 1), get(&extra, 2)), (1, 1, 1));
    cache.invalidate_fragment_extra(&name, &extra).unwrap();
    assert_eq!((get(&extra, 2), get("other", 2)), (2, 1));
    cache.invalidate_fragment(&name).unwrap();
    assert_eq!((get(&extra, 3), get("other", 3)), (3, 3));
    let one = Fragment::of(&cache, table("t").filter(eq("text", &extra)));
    one.is_there();
    cache.invalidate_obj("t", &json!({"text": format!("{extra}x")})).unwrap();
    assert!(one.is_there());
    cache.invalidate_obj("t", &json!({"text": extra})).unwrap();
    assert!(!one.is_there());
}

/// The two zeros print in two ways, and are one to a database.
fn the_zeros_are_two_fragments<B: Backend>() {
    let cache = B::cache(Cacheops::builder());
    let get = |zero: f64| {
        let call = cache.cached_as(table("t").filter(eq("x", zero))).extra(&[zero]);
        call.get_or_fill(|| Ok::<_, Error>(zero.to_string())).unwrap()
    };
    assert_eq!([get(0.0), get(-0.0), get(0.0)], ["0", "-0", "0"]);
    cache.invalidate_obj("t", &json!({"x": 0})).unwrap();
    assert_eq!(cache.stats().hits, 1);
    assert_eq!([get(-0.0), get(0.0)], ["-0", "0"]);
    assert_eq!(cache.stats().hits, 1);
}

fn values_meet_whatever_their_type<B: Backend>() {
    let cache = B::cache(Cacheops::builder());
    let rows = [json!({"v": 1}), json!({"v": 1.0}), json!({"v": "1"}), json!({"v": true})];
    for row in rows {
        for set in [eq("v", 1u8), eq("v", 1i64), eq("v", 1.0), eq("v", "1"), eq("v", true)] {
            let one = Fragment::of(&cache, table("a").filter(set));
            one.is_there();
            cache.invalidate_obj("a", &row).unwrap();
            assert!(!one.is_there());
        }
    }
    let strange = ["", " ", "a&b=c", "a:b", "%26", "日本", "\0", "\u{1F40D}"];
    let long = "x".repeat(100_000);
    for text in strange.into_iter().chain([long.as_str()]) {
        let one = Fragment::of(&cache, table("a").filter(eq("v", text)));
        one.is_there();
        cache.invalidate_obj("a", &json!({"v": format!("{text}!")})).unwrap();
        assert!(one.is_there());
        cache.invalidate_obj("a", &json!({"v": text})).unwrap();
        assert!(!one.is_there(), "{text:?}");
    }
}

fn silence<B: Backend>() {
    let cache = B::cache(Cacheops::builder());
    let one = Fragment::of(&cache, "articles");
    one.is_there();
    cacheops::no_invalidation(|| {
        cache.invalidate_model("articles").unwrap();
        cacheops::no_invalidation(|| cache.invalidate_all()).unwrap();
        cache.invalidate_all().unwrap();
    });
    assert!(one.is_there());
    futures_executor::block_on(cacheops::no_invalidation_async(async {
        cache.invalidate_model("articles").unwrap();
    }));
    assert!(one.is_there());
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        cacheops::no_invalidation(|| panic!("an import fails"));
    }));
    assert!(panicked.is_err());
    cache.invalidate_model("articles").unwrap();
    assert!(!one.is_there());
}

fn profiles<B: Backend>() {
    let minute = Duration::from_secs(60);
    let (_, clock) = cache_on_clock::<B>();
    let cache = B::cache(
        Cacheops::builder()
            .clock(clock.clone())
            .time_to_live(minute * 60)
            .profile("blog.*", Profile::new().time_to_live(minute))
            .profile("blog.articles", Profile::new().time_to_live(minute * 2))
            .profile("sessions", Profile::never())
            .profile("tags", Profile::new()),
    );
    let lives = |fragment: &Fragment<'_>, time: Duration| {
        fragment.is_there();
        clock.advance(time - Duration::from_micros(1));
        let before = fragment.is_there();
        clock.advance(Duration::from_micros(1));
        before && !fragment.is_there()
    };
    assert!(lives(&Fragment::of(&cache, "blog.comments"), minute));
    assert!(lives(&Fragment::of(&cache, "BLOG.articles"), minute * 2));
    assert!(lives(&Fragment::of(&cache, "tags"), minute * 60));
    let both = table("blog.articles").join("blog.comments", "id", "article_id");
    assert!(lives(&Fragment::of(&cache, both), minute));
    let never = Fragment::of(&cache, table("tags").reads("sessions"));
    assert_eq!([never.is_there(), never.is_there()], [false, false]);
    let error = fill(cache.cached_as("unknown")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "no profile: the table `unknown` is covered by none of the profiles (blog.articles, sessions, blog.*, tags): add `.profile(\"unknown\", Profile::new())`, or one for \"*\""
    );
}

fn fill(call: Cached<'_>) -> Result<u8, Error> {
    Ok(call.get_or_fill(|| Ok::<_, Error>(1))?)
}

fn mistakes_in_calls<B: Backend>() {
    let cache = B::cache(Cacheops::builder());
    let kind = |call| fill(call).unwrap_err().kind();
    let queryset = ErrorKind::InvalidQuerySet;
    assert_eq!(kind(cache.cached_as(table("a").filter(eq("x", f64::NAN)))), queryset);
    assert_eq!(kind(cache.cached_as(table("a").filter(eq("x", [1])))), queryset);
    assert_eq!(kind(cache.cached_as(table("a").filter(is_in("x", [f64::INFINITY])))), queryset);
    assert_eq!(kind(cache.cached_as(table("a").filter(eq("b.x", 1)))), queryset);
    assert_eq!(kind(cache.cached_as(table(" "))), queryset);
    assert_eq!(kind(cache.cached_as(table("a").join("a", "x", "y"))), queryset);
    assert_eq!(kind(cache.cached().extra(&f64::NAN)), ErrorKind::InvalidExtra);
    assert_eq!(kind(cache.cached().time_to_live(Duration::ZERO)), ErrorKind::InvalidTimeToLive);
    assert_eq!(cache.stats().stored, 0);
    assert!(cache.invalidate_fragment_extra("x", &f64::NAN).is_err());
    let build = |builder: cacheops::Builder| builder.build().unwrap_err().kind();
    let config = ErrorKind::InvalidConfig;
    assert_eq!(build(Cacheops::builder().memory_limit(0)), config);
    assert_eq!(
        build(Cacheops::builder().time_to_live(Duration::ZERO)),
        ErrorKind::InvalidTimeToLive
    );
    assert_eq!(build(Cacheops::builder().profile("a*b", Profile::new())), config);
    assert_eq!(
        build(Cacheops::builder().profile("a", Profile::new()).profile("A", Profile::new())),
        config
    );
    let zero = Profile::new().time_to_live(Duration::ZERO);
    assert_eq!(build(Cacheops::builder().profile("a", zero)), ErrorKind::InvalidTimeToLive);
}

fn last_invalidation<B: Backend>() {
    let (cache, clock) = cache_on_clock::<B>();
    let last = |tables: &[&str]| {
        cache
            .get_last_invalidation(tables.iter().copied())
            .map(|time| time.duration_since(UNIX_EPOCH).unwrap())
    };
    assert_eq!(last(&[]), None);
    cache.invalidate_obj("a", &json!({"id": 1})).unwrap();
    let first = last(&["A"]).unwrap();
    assert_eq!([last(&["b"]), last(&["a", "b"]), last(&[])], [None, Some(first), Some(first)]);
    // Without time passing, every invalidation still has a time of its own.
    cache.invalidate_model("b").unwrap();
    let second = last(&["a", "b"]).unwrap();
    assert!(second > first);
    clock.advance(Duration::from_secs(5));
    cache.invalidate_all().unwrap();
    assert_eq!(last(&["c"]), last(&["a"]));
    assert!(last(&["a"]).unwrap() >= second + Duration::from_secs(4));
    cache.invalidate_fragment("a").unwrap();
    assert_eq!(last(&["a"]), last(&["c"]));
}

fn prefixes_and_handles<B: Backend>() {
    let here = Cacheops::builder().prefix("one:").build().unwrap();
    assert_eq!(here.prefix(), "one:");
    let cache = B::cache(Cacheops::builder());
    let clone = cache.clone();
    let one = Fragment::of(&cache, "articles");
    one.is_there();
    clone.invalidate_model("articles").unwrap();
    assert!(!one.is_there());
    fn shared<T: Send + Sync + Clone + 'static>(_: &T) {}
    shared(&cache);
}

fn wide_conditions_widen<B: Backend>() {
    let cache = B::cache(Cacheops::builder());
    // (a0 or b0) and (a1 or b1) and …: 65,536 conjunctions.
    let factors = (0..16).map(|n| any([eq(format!("a{n}"), 1), eq(format!("b{n}"), 1)]));
    let one = Fragment::of(&cache, table("t").filter(all(factors)).filter(eq("x", 1)));
    one.is_there();
    let mut row = json!({"x": 1});
    for n in 0..16 {
        row[format!("a{n}")] = json!(n % 2);
        row[format!("b{n}")] = json!((n + 1) % 2);
    }
    cache.invalidate_obj("t", &row).unwrap();
    assert!(!one.is_there());
    row["x"] = json!(2);
    cache.invalidate_obj("t", &row).unwrap();
    assert!(one.is_there(), "what all have in common still narrows");
    // The limit of IN can be raised.
    let cache = B::cache(Cacheops::builder().in_limit(1000));
    let many = Fragment::of(&cache, table("t").filter(is_in("id", 0..1000)));
    many.is_there();
    cache.invalidate_obj("t", &json!({"id": 1000})).unwrap();
    assert!(many.is_there());
    cache.invalidate_obj("t", &json!({"id": 999})).unwrap();
    assert!(!many.is_there());
}

on_stores! {
    batches bad_rows_lose_nothing names_know_no_case values_meet_whatever_their_type silence
    profiles mistakes_in_calls last_invalidation prefixes_and_handles wide_conditions_widen
    names_are_spelled_by_one_rule long_names_and_variants_are_reached the_zeros_are_two_fragments
}
