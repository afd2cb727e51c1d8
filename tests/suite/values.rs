//! Any value around a closure, synchronous or not.

use std::cell::Cell;
use std::collections::{BTreeMap, HashMap};
use std::fmt::{self, Debug};
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use cacheops::{Cacheops, Error, ErrorKind, FillError, QuerySet, eq};
use cacheops_tests::{Backend, cache_on_clock};
use futures_executor::block_on;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Shape {
    Unit,
    New(String),
    Tuple(i8, Option<u64>),
    Struct { a: f64, b: Vec<u8> },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Flat {
    id: i128,
    #[serde(flatten)]
    rest: BTreeMap<String, Shape>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    none: Option<u8>,
}

fn comes_back<B: Backend, T>(value: T)
where
    T: Serialize + DeserializeOwned + PartialEq + Debug + Clone,
{
    let cache = B::cache(Cacheops::builder());
    let fills = Cell::new(0);
    let get = || {
        cache.cached().get_or_fill(|| {
            fills.set(fills.get() + 1);
            Ok::<_, Error>(value.clone())
        })
    };
    assert_eq!(get().unwrap(), value);
    assert_eq!(get().unwrap(), value);
    assert_eq!(fills.get(), 1, "{value:?} was not kept");
}

fn all_kinds<B: Backend>() {
    comes_back::<B, _>(());
    comes_back::<B, _>(String::from("日本 \0 🐍"));
    comes_back::<B, _>(vec![Some(1), None]);
    comes_back::<B, _>(HashMap::from([((1, 2), 'x'), ((3, 4), 'y')]));
    comes_back::<B, _>(u128::MAX);
    comes_back::<B, _>(f64::INFINITY);
    comes_back::<B, _>(vec![
        Shape::Unit,
        Shape::New("n".into()),
        Shape::Tuple(-1, None),
        Shape::Struct { a: 0.1, b: vec![0, 255] },
    ]);
    let rest = BTreeMap::from([("x".to_owned(), Shape::Unit)]);
    comes_back::<B, _>(Flat { id: 7, rest, none: None });
}

/// What serde cannot write is returned and not kept.
fn unwritable<B: Backend>() {
    #[derive(Debug, PartialEq, Deserialize)]
    struct Stubborn;
    impl Serialize for Stubborn {
        fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("no"))
        }
    }
    let cache = B::cache(Cacheops::builder());
    for _ in 0..2 {
        assert_eq!(cache.cached().get_or_fill(|| Ok::<_, Error>(Stubborn)).unwrap(), Stubborn);
    }
    assert_eq!((cache.stats().stored, cache.stats().not_stored), (0, 2));
}

/// An error of the application. It knows nothing of the cache.
#[derive(Debug, PartialEq)]
struct DatabaseError;

impl fmt::Display for DatabaseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no database")
    }
}

impl std::error::Error for DatabaseError {}

#[derive(Debug)]
struct AppError(String);

impl From<Error> for AppError {
    fn from(error: Error) -> Self {
        AppError(error.to_string())
    }
}

fn errors_reach_the_author<B: Backend>() {
    let cache = B::cache(Cacheops::builder());
    let get = |fail: bool| {
        let call = cache.cached();
        block_on(
            call.get_or_fill_async(|| async move { if fail { Err(DatabaseError) } else { Ok(1) } }),
        )
    };
    let error = get(true).unwrap_err();
    assert_eq!(error.to_string(), "no database");
    assert!(std::error::Error::source(&error).is_none());
    assert!(matches!(error, FillError::Fill(DatabaseError)));
    assert_eq!(get(false).unwrap(), 1);
    assert_eq!(get(true).unwrap(), 1);
    let failed = cache.cached().get_or_fill(|| Err::<u8, _>(DatabaseError));
    assert!(matches!(failed, Err(FillError::Fill(DatabaseError))));

    let unusable = || cache.cached().extra(&f32::NAN);
    let error = unusable().get_or_fill(|| Ok::<u8, DatabaseError>(1)).unwrap_err();
    assert!(error.to_string().contains("NaN"), "{error}");
    assert!(matches!(error, FillError::Cache(_)));
    let failed = block_on(unusable().get_or_fill_async(|| async { Ok::<u8, DatabaseError>(1) }));
    assert!(matches!(failed, Err(FillError::Cache(_))));
    let AppError(why) = error.map(|_| AppError("filled".into())).into_inner();
    assert!(why.contains("NaN"), "{why}");
    let as_before = || -> Result<u8, Error> { Ok(unusable().get_or_fill(|| Ok(1))?) };
    assert_eq!(as_before().unwrap_err().kind(), ErrorKind::InvalidExtra);
}

fn places_and_extras_differ<B: Backend>() {
    let cache = B::cache(Cacheops::builder());
    let a: u8 = cache.cached().get_or_fill(|| Ok::<_, Error>(1)).unwrap();
    let b: u8 = cache.cached().get_or_fill(|| Ok::<_, Error>(2)).unwrap();
    assert_eq!((a, b), (1, 2));
    let of = |extra: &dyn Fn(cacheops::Cached<'_>) -> cacheops::Cached<'_>, n: u8| {
        extra(cache.cached_as("t")).get_or_fill(|| Ok::<u8, Error>(n)).unwrap()
    };
    assert_eq!(of(&|call| call.extra(&1), 1), 1);
    assert_eq!(of(&|call| call.extra("1"), 2), 2);
    assert_eq!(of(&|call| call.extra(&None::<u8>), 3), 3);
    assert_eq!(of(&|call| call, 4), 4);
    assert_eq!(of(&|call| call.extra(&(1, "a")), 5), 5);
    assert_eq!(of(&|call| call.extra(&[1]), 6), 6);
    assert_eq!(of(&|call| call.name("n"), 7), 7);
    assert_eq!(of(&|call| call.also("u"), 8), 8);
    assert_eq!(of(&|call| call.extra(&1u64), 9), 1);
    assert_eq!(of(&|call| call.extra(&("a", 2)).extra(&1), 9), 1);
}

/// Closures bubble like tags; time limits inside hold outside.
fn nested<B: Backend>() {
    let (cache, clock) = cache_on_clock::<B>();
    let runs = Cell::new(0);
    let inner = || {
        cache
            .cached_as(QuerySet::table("a").filter(eq("id", 1)))
            .time_to_live(Duration::from_secs(60))
            .get_or_fill(|| Ok::<u8, Error>(1))
    };
    let outer = || {
        cache.cached_as("b").get_or_fill(|| {
            runs.set(runs.get() + 1);
            inner()
        })
    };
    outer().unwrap();
    outer().unwrap();
    assert_eq!(runs.get(), 1);
    cache.invalidate_obj("a", &serde_json::json!({"id": 1})).unwrap();
    outer().unwrap();
    assert_eq!(runs.get(), 2);
    clock.advance(Duration::from_secs(60));
    outer().unwrap();
    assert_eq!(runs.get(), 3);
    // A failing inner one leaves its dependencies with the one around it.
    let guarded = || {
        cache.cached().get_or_fill(|| {
            runs.set(runs.get() + 1);
            let inner = cache.cached_as("c").get_or_fill(|| Err::<u8, _>(DatabaseError));
            Ok::<u8, Error>(inner.unwrap_or(0))
        })
    };
    guarded().unwrap();
    cache.invalidate_model("c").unwrap();
    guarded().unwrap();
    assert_eq!(runs.get(), 5);
}

/// A future that is pending once, so that polls of several interleave.
#[derive(Default)]
struct Yield(bool);

impl Future for Yield {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if std::mem::replace(&mut self.0, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

fn asynchronous<B: Backend>() {
    let cache = B::cache(Cacheops::builder());
    let runs = Cell::new(0);
    let get = |n: u8, inner: &'static str| {
        let (cache, runs) = (&cache, &runs);
        async move {
            cache
                .cached_as("outer")
                .extra(&n)
                .get_or_fill_async(|| async move {
                    runs.set(runs.get() + 1);
                    Yield::default().await;
                    cache.cached_as(inner).extra(&n).get_or_fill(|| Ok::<u8, Error>(n))
                })
                .await
        }
    };
    // Two fills interleave in one thread: each keeps its own dependencies.
    let both = block_on(futures_util::future::join(get(1, "a"), get(2, "b")));
    assert_eq!((both.0.unwrap(), both.1.unwrap()), (1, 2));
    assert_eq!(runs.get(), 2);
    cache.invalidate_model("a").unwrap();
    block_on(futures_util::future::join(get(1, "a"), get(2, "b"))).0.unwrap();
    assert_eq!(runs.get(), 3);
    cache.invalidate_model("b").unwrap();
    block_on(get(1, "a")).unwrap();
    assert_eq!(runs.get(), 3);
    // Callers that miss together share one fill.
    let together = [get(7, "a"), get(7, "a"), get(7, "a")];
    for value in block_on(futures_util::future::join_all(together)) {
        assert_eq!(value.unwrap(), 7);
    }
    assert_eq!(runs.get(), 4);
}

/// What the closure looks up before its first await belongs to the fill too.
#[test]
fn the_closure_runs_inside_its_fill() {
    let cache = Cacheops::in_memory();
    let runs = Cell::new(0u8);
    let get = || {
        block_on(cache.cached().get_or_fill_async(|| {
            let inner = cache.cached_as("tags").get_or_fill(|| Ok::<u8, Error>(runs.get()));
            async move { inner }
        }))
    };
    assert_eq!(get().unwrap(), 0);
    runs.set(1);
    cache.invalidate_model("tags").unwrap();
    assert_eq!(get().unwrap(), 1);
}

/// The future can be spawned: it is as free to move as what it is made of.
#[test]
fn futures_are_send() {
    fn send<T: Send>(future: T) -> T {
        future
    }
    let cache = Cacheops::in_memory();
    let get = cache.cached_as("a").get_or_fill_async(|| async { Ok::<u8, Error>(1) });
    assert_eq!(block_on(send(get)).unwrap(), 1);
    block_on(send(cacheops::no_invalidation_async(async {})));
}

/// A fill that is given up half-way lets those go on who wait for it.
fn cancelled<B: Backend>() {
    let cache = B::cache(Cacheops::builder());
    let get = |hang: bool| {
        let cache = &cache;
        async move {
            // One place in the source, so that both are one fragment.
            cache
                .cached()
                .get_or_fill_async(|| async move {
                    if hang {
                        std::future::pending::<()>().await;
                    }
                    Ok::<u8, Error>(1)
                })
                .await
        }
    };
    block_on(async {
        let mut first = Box::pin(get(true));
        assert!(futures_util::poll!(&mut first).is_pending());
        let mut second = Box::pin(get(false));
        assert!(futures_util::poll!(&mut second).is_pending(), "it waits for the first");
        drop(first);
        assert_eq!(second.await.unwrap(), 1);
    });
}

on_stores! {
    all_kinds unwritable errors_reach_the_author places_and_extras_differ nested asynchronous
    cancelled
}
