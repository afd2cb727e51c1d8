//! Attacks on the rule above all, with real threads: single flight, changes
//! during fills, and an oracle that knows what may be served.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use cacheops::{Cacheops, Error, FillError, PrefixQuery, QuerySet, WriteEvent, eq};
use cacheops_tests::fixture::spelled;
use cacheops_tests::{Backend, Context, Delimiters, Engine, Layout, Query};
use serde_json::json;

const THREADS: usize = 8;

/// Callers that miss together share one fill.
fn single_flight<B: Backend>() {
    let cache = B::cache(Cacheops::builder());
    let fills = AtomicUsize::new(0);
    let (filling, begun) = mpsc::channel();
    let go_on = Barrier::new(2);
    let get = || -> u8 {
        // One place in the source for all.
        cache
            .cached_as("articles")
            .get_or_fill(|| {
                fills.fetch_add(1, Ordering::SeqCst);
                filling.send(()).unwrap();
                go_on.wait();
                Ok::<_, Error>(7)
            })
            .unwrap()
    };
    thread::scope(|scope| {
        let all: Vec<_> = (0..THREADS).map(|_| scope.spawn(get)).collect();
        begun.recv().unwrap();
        go_on.wait();
        // Late ones hit; were a second fill begun, it would hang here.
        assert!(all.into_iter().all(|thread| thread.join().unwrap() == 7));
    });
    assert_eq!(fills.load(Ordering::SeqCst), 1);
}

/// A caller that arrives after an invalidation never gets what was begun
/// before it, nor waits for that in vain; and what was begun before is stored
/// over nothing.
fn no_flight_across_an_invalidation<B: Backend>() {
    let cache = B::cache(Cacheops::builder());
    let database = AtomicU64::new(1);
    let (filling, begun) = mpsc::channel();
    let go_on = Barrier::new(2);
    let get = |blocks: bool| -> u64 {
        cache
            .cached_as("articles")
            .get_or_fill(|| {
                let value = database.load(Ordering::SeqCst);
                if blocks {
                    filling.send(()).unwrap();
                    go_on.wait();
                }
                Ok::<_, Error>(value)
            })
            .unwrap()
    };
    thread::scope(|scope| {
        let slow = scope.spawn(|| get(true));
        begun.recv().unwrap();
        database.store(2, Ordering::SeqCst);
        cache.invalidate_model("articles").unwrap();
        // The first fill is still under way.
        assert_eq!(get(false), 2);
        go_on.wait();
        assert_eq!(slow.join().unwrap(), 1, "the late filler keeps what it made");
    });
    // Kept since before the late filler ended.
    database.store(3, Ordering::SeqCst);
    assert_eq!(get(false), 2);
    assert_eq!(cache.stats().not_stored, 1);
}

/// A fill that panics or fails releases those who wait.
fn failing_leaders<B: Backend>() {
    for panics in [true, false] {
        let cache = B::cache(Cacheops::builder());
        let (filling, begun) = mpsc::channel();
        let go_on = Barrier::new(2);
        let get = |fails: bool| -> Result<u8, FillError<_>> {
            cache.cached().get_or_fill(|| {
                if !fails {
                    return Ok(1);
                }
                filling.send(()).unwrap();
                go_on.wait();
                if panics {
                    panic!("a body panics");
                }
                cache.cached().extra(&f64::NAN).get_or_fill(|| Ok::<_, Error>(2))
            })
        };
        thread::scope(|scope| {
            let leader = scope.spawn(|| {
                std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| get(true)))
                    .map_or(true, |result| result.is_err())
            });
            begun.recv().unwrap();
            let waiting = scope.spawn(|| get(false));
            go_on.wait();
            assert!(leader.join().unwrap());
            assert_eq!(waiting.join().unwrap().unwrap(), 1);
        });
        assert_eq!(get(false).unwrap(), 1);
    }
}

/// Two fragments, each inside the other, filled by two threads at once: nobody
/// who fills waits, so nobody waits for ever.
fn no_deadlock<B: Backend>() {
    let cache = B::cache(Cacheops::builder());
    let both = Barrier::new(2);
    let get = |name: &'static str, inner: &'static str| {
        cache.cached().extra(name).get_or_fill(|| {
            both.wait();
            cache.cached().extra(inner).get_or_fill(|| Ok::<_, Error>(1u8))
        })
    };
    thread::scope(|scope| {
        let one = scope.spawn(|| get("a", "b"));
        let other = scope.spawn(|| get("b", "a"));
        one.join().unwrap().unwrap();
        other.join().unwrap().unwrap();
    });
}

/// A holder that takes longer than the limit delays nobody beyond it.
fn wait_timeout<B: Backend>() {
    let cache = B::cache(Cacheops::builder().wait_timeout(Duration::from_millis(1)));
    let (filling, begun) = mpsc::channel();
    let go_on = Barrier::new(2);
    let get = |slow: bool| -> u8 {
        cache
            .cached()
            .get_or_fill(|| {
                if slow {
                    filling.send(()).unwrap();
                    go_on.wait();
                }
                Ok::<_, Error>(u8::from(slow))
            })
            .unwrap()
    };
    thread::scope(|scope| {
        let slow = scope.spawn(|| get(true));
        begun.recv().unwrap();
        assert_eq!(get(false), 0);
        go_on.wait();
        slow.join().unwrap();
    });
}

/// Rows with versions, and the smallest version that may still be served: it
/// is raised when an invalidation has returned, and read before a lookup.
struct Oracle {
    rows: Vec<AtomicU64>,
    floor: Vec<AtomicU64>,
    writers: Vec<Mutex<()>>,
}

impl Oracle {
    fn new(rows: usize) -> Self {
        let zeros = || (0..rows).map(|_| AtomicU64::new(0)).collect();
        Oracle {
            rows: zeros(),
            floor: zeros(),
            writers: (0..rows).map(|_| Mutex::new(())).collect(),
        }
    }

    fn write(&self, row: usize, invalidate: impl FnOnce()) {
        let _one_writer_a_row = self.writers[row].lock().unwrap();
        let version = self.rows[row].fetch_add(1, Ordering::SeqCst) + 1;
        invalidate();
        self.floor[row].store(version, Ordering::SeqCst);
    }

    fn floors(&self) -> Vec<u64> {
        self.floor.iter().map(|floor| floor.load(Ordering::SeqCst)).collect()
    }

    fn versions(&self) -> Vec<u64> {
        self.rows.iter().map(|row| row.load(Ordering::SeqCst)).collect()
    }
}

const ROWS: usize = 4;

/// Random-like numbers, the same in every run of a thread.
fn next(seed: &mut u64) -> usize {
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
    (*seed >> 33) as usize
}

/// Readers and writers at once, in a cache that is too small, so that
/// fragments and stamps get lost all the time; nested fragments, and every
/// kind of invalidation.
fn never_stale<B: Backend>() {
    let cache = B::cache(Cacheops::builder().memory_limit(6_000));
    let oracle = Oracle::new(ROWS);
    let row_of = |row: usize| {
        let set = QuerySet::table("rows").filter(eq("id", row));
        cache
            .cached_as(set)
            .extra(&row)
            .get_or_fill(|| Ok::<_, Error>(oracle.rows[row].load(Ordering::SeqCst)))
    };
    let all_of = |kind: usize| {
        let call = match kind % 3 {
            0 => cache.cached_as("rows"),
            1 => cache.cached().name("all"),
            _ => cache.cached(),
        };
        // Made from inner fragments only: by what bubbles up from them.
        call.extra(&kind).get_or_fill(|| (0..ROWS).map(row_of).collect::<Result<Vec<u64>, _>>())
    };
    let drop_row = |row: usize, kind: usize| match kind % 8 {
        0 => cache.invalidate_model("rows").unwrap(),
        1 => cache.invalidate_all().unwrap(),
        2 => cache.invalidate_obj("rows", &json!({"other": 1})).unwrap(),
        3 => cache.invalidate_objs("rows", [json!({"id": 99}), json!({"id": row})]).unwrap(),
        _ => cache.invalidate_obj("rows", &json!({"id": row})).unwrap(),
    };
    let reads = AtomicUsize::new(0);
    let done = AtomicUsize::new(0);
    thread::scope(|scope| {
        for writer in 0..2u64 {
            let (oracle, drop_row, done) = (&oracle, &drop_row, &done);
            scope.spawn(move || {
                let mut seed = writer + 1;
                for _ in 0..4_000 {
                    let row = next(&mut seed) % ROWS;
                    let kind = next(&mut seed);
                    oracle.write(row, || drop_row(row, kind));
                }
                done.fetch_add(1, Ordering::SeqCst);
            });
        }
        for reader in 0..3u64 {
            let (oracle, all_of, row_of, reads, done) = (&oracle, &all_of, &row_of, &reads, &done);
            scope.spawn(move || {
                let mut seed = reader + 100;
                while done.load(Ordering::SeqCst) < 2 {
                    let floors = oracle.floors();
                    let kind = next(&mut seed);
                    let served = match kind % 2 {
                        0 => all_of(kind % 30).unwrap(),
                        _ => (0..ROWS).map(|row| row_of(row).unwrap()).collect(),
                    };
                    for row in 0..ROWS {
                        assert!(
                            served[row] >= floors[row],
                            "row {row} served at {}, and {} was announced before",
                            served[row],
                            floors[row]
                        );
                    }
                    reads.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    assert_eq!((0..ROWS).map(|row| row_of(row).unwrap()).collect::<Vec<_>>(), oracle.versions());
    assert!(reads.load(Ordering::SeqCst) > 100);
    assert!(cache.stats().hits > 0);
}

/// The same through templates, with lazy querysets and nested tags.
fn never_stale_in_templates<B: Backend, E: Engine + Sync>() {
    let cache = B::cache(Cacheops::builder());
    let mut engine = E::new(&cache, Delimiters::Default, Layout::default());
    let part = "{% cached_as r3, name=\"part\" %}{{ r3‹¦ | rows›|first }}{% endcached_as %}";
    engine.add("part.txt", &spelled(part, E::NAME)).unwrap();
    let page = "{% cached timeout=3600 %}{% for r in r0‹¦ | rows› %}{{ r }}{% endfor %} {% cached_as r1 %}{% for r in r1‹¦ | rows› %}{{ r }}{% endfor %}{% endcached_as %} {{ r2‹¦ | rows›|first }} {% include \"part.txt\" %}{% endcached %}";
    engine.add("page.txt", &spelled(page, E::NAME)).unwrap();
    let oracle = Arc::new(Oracle::new(ROWS));
    let context = || {
        let mut context = Context::default();
        for row in 0..ROWS {
            let oracle = oracle.clone();
            let query: Query =
                Arc::new(move || Ok(vec![json!(oracle.rows[row].load(Ordering::SeqCst))]));
            let set = QuerySet::table("rows").filter(eq("id", row));
            context.lazies.push((format!("r{row}"), set, query));
        }
        context
    };
    let done = AtomicUsize::new(0);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut seed = 7;
            for _ in 0..2_000 {
                let row = next(&mut seed) % ROWS;
                oracle.write(row, || cache.invalidate_obj("rows", &json!({"id": row})).unwrap());
            }
            done.store(1, Ordering::SeqCst);
        });
        for _ in 0..3 {
            scope.spawn(|| {
                while done.load(Ordering::SeqCst) == 0 {
                    let floors = oracle.floors();
                    let page = engine.render("page.txt", &context()).unwrap();
                    let served: Vec<u64> = page.split(' ').map(|n| n.parse().unwrap()).collect();
                    for row in 0..ROWS {
                        assert!(
                            served[row] >= floors[row],
                            "row {row} of {page:?}, floors {floors:?}"
                        );
                    }
                }
            });
        }
    });
    let versions: Vec<String> = oracle.versions().iter().map(u64::to_string).collect();
    assert_eq!(engine.render("page.txt", &context()).unwrap(), versions.join(" "));
}

/// A change while a fragment renders: what it shows is never served again.
fn a_change_during_a_render<B: Backend, E: Engine>() {
    let cache = B::cache(Cacheops::builder());
    let mut engine = E::new(&cache, Delimiters::Default, Layout::default());
    let page = "{% cached_as rows %}{{ rows‹¦ | rows›|join }}{% endcached_as %}";
    engine.add("page", &spelled(page, E::NAME)).unwrap();
    let database = Arc::new(AtomicU64::new(1));
    let (read, inner) = (database.clone(), cache.clone());
    let query: Query = Arc::new(move || {
        let value = read.load(Ordering::SeqCst);
        if value == 1 {
            // Another request commits and announces, right after the read.
            read.store(2, Ordering::SeqCst);
            inner.invalidate_obj("rows", &json!({"id": 1})).unwrap();
        }
        Ok(vec![json!(value)])
    });
    let mut context = Context::default();
    context.lazies.push(("rows".to_owned(), QuerySet::table("rows"), query));
    assert_eq!(engine.render("page", &context).unwrap(), "1");
    assert_eq!(engine.render("page", &context).unwrap(), "2");
    assert_eq!(engine.render("page", &context).unwrap(), "2");
}

/// Rows that were read before an inner fragment began, and changed in between:
/// by a loop around it, by a variable, in a fragment or outside of any.
fn rows_read_early<B: Backend, E: Engine>() {
    let inner =
        "{% cached_as queryset(‹\"rows\"¦table=\"rows\"›, id=r.id) %}{{ r.v }}{% endcached_as %}";
    let loop_around =
        format!("{{% for r in rows‹¦ | rows› %}}{{{{ change() }}}}{inner}{{% endfor %}}");
    let variable = "‹{% set v = rows[0].v %}¦{% set v = rows | rows | first | get(key=\"v\") %}›{{ change() }}{% cached_as queryset(‹\"rows\"¦table=\"rows\"›, id=1) %}{{ v }}{% endcached_as %}";
    let between = "{% for r in rows‹¦ | rows› %}{% cached name=\"m\" %}{{ change() }}{% cached_as queryset(‹\"rows\"¦table=\"rows\"›, id=r.id) %}{{ r.v }}{% endcached_as %}{% endcached %}{% endfor %}";
    let before_between = "{% for r in rows‹¦ | rows› %}{{ change() }}{% cached name=\"m\" %}{% cached_as queryset(‹\"rows\"¦table=\"rows\"›, id=r.id) %}{{ r.v }}{% endcached_as %}{% endcached %}{% endfor %}";
    for source in [
        loop_around.clone(),
        format!("{{% cached_as rows %}}{loop_around}{{% endcached_as %}}"),
        format!(
            "{{% cached_as rows %}}{{% cached %}}{loop_around}{{% endcached %}}{{% endcached_as %}}"
        ),
        variable.to_owned(),
        format!("{{% cached %}}{variable}{{% endcached %}}"),
        // Another tag between, begun before the change or after it.
        between.to_owned(),
        format!("{{% cached_as rows %}}{between}{{% endcached_as %}}"),
        before_between.to_owned(),
        format!("{{% cached_as rows %}}{before_between}{{% endcached_as %}}"),
    ] {
        let cache = B::cache(Cacheops::builder());
        let mut engine = E::new(&cache, Delimiters::Default, Layout::default());
        let database = Arc::new(AtomicU64::new(1));
        let (write, invalidate) = (database.clone(), cache.clone());
        engine.on_change(move || {
            if write.swap(2, Ordering::SeqCst) == 1 {
                invalidate.invalidate_obj("rows", &json!({"id": 1})).unwrap();
            }
        });
        engine.add("page.txt", &spelled(&source, E::NAME)).unwrap();
        let context = || {
            let database = database.clone();
            let query: Query =
                Arc::new(move || Ok(vec![json!({"id": 1, "v": database.load(Ordering::SeqCst)})]));
            let mut context = Context::default();
            context.lazies.push(("rows".to_owned(), QuerySet::table("rows"), query));
            context
        };
        let render = || engine.render("page.txt", &context()).unwrap();
        assert_eq!(render(), "1", "{source}");
        assert_eq!(render(), "2", "{source}");
        let stored = cache.stats().stored;
        assert_eq!((render(), cache.stats().stored), ("2".to_owned(), stored), "{source}");
        assert!(stored > 0);
    }
}

/// A table goes as a whole, and then comes back piece by piece: what is left
/// of a row's stamp from before does not say that changes look for it.
fn pieces_of_a_dropped_table<B: Backend>() {
    let cache = B::cache(Cacheops::builder());
    let database = AtomicU64::new(1);
    let read = || Ok::<_, Error>(database.load(Ordering::SeqCst));
    let row = || {
        let set = QuerySet::table("rows").filter(eq("id", 1));
        cache.cached_as(set).get_or_fill(read).unwrap()
    };
    let all = || cache.cached_as("rows").get_or_fill(read).unwrap();
    assert_eq!(row(), 1);
    cache.invalidate_model("rows").unwrap();
    assert_eq!((all(), row()), (1, 1));
    database.store(2, Ordering::SeqCst);
    cache.invalidate_obj("rows", &json!({"id": 1})).unwrap();
    assert_eq!((all(), row()), (2, 2));
}

/// An invalidation that has reached the store, and whose caller has not heard
/// so yet, while a row read before it is handed to a fragment of its own.
fn an_invalidation_half_done<B: Backend>() {
    for polls in 1..6 {
        let cache = B::cache(Cacheops::builder());
        let database = AtomicU64::new(1);
        let row = |value: u64| {
            let set = QuerySet::table("rows").filter(eq("id", 1));
            cache.cached_as(set).get_or_fill(|| Ok::<_, Error>(value)).unwrap()
        };
        let change = || WriteEvent::insert("rows", &json!({"id": 1}));
        // The schemes are known from then on.
        row(0);
        cache.invalidate_batch([change()]).unwrap();
        let list = || Ok::<_, Error>(database.load(Ordering::SeqCst));
        let page = || {
            cache.cached().get_or_fill(|| {
                let read = cache.cached_as("rows").get_or_fill(list)?;
                if read == 2 {
                    return Ok::<_, Error>(row(2));
                }
                database.store(2, Ordering::SeqCst);
                let mut invalidation = Box::pin(cache.invalidate_batch_async([change()]));
                let mut done = None;
                for _ in 0..polls {
                    done =
                        done.or_else(|| futures_util::FutureExt::now_or_never(&mut invalidation));
                    // Answered after what was sent before.
                    cache.get_last_invalidation(["rows"]);
                }
                let shown = row(read);
                match done {
                    Some(done) => done?,
                    None => futures_executor::block_on(invalidation)?,
                }
                Ok(shown)
            })
        };
        assert_eq!(page().unwrap(), 1);
        assert_eq!(row(2), 2, "after {polls} polls");
        assert_eq!(page().unwrap(), 2);
    }
}

/// A prefix that is computed from what a thread knows, while a future goes on
/// in another.
fn a_tenant_of_a_thread<B: Backend>() {
    for polls in 0..6 {
        let tenant = Arc::new(AtomicU64::new(1));
        let known = tenant.clone();
        let prefix = move |_: &PrefixQuery<'_>| format!("{}:", known.load(Ordering::SeqCst));
        let cache = B::cache(Cacheops::builder().prefix_by(prefix));
        let database = AtomicU64::new(1);
        let row = || {
            let set = QuerySet::table("rows").filter(eq("id", 1));
            let read = || async { Ok::<_, Error>(database.load(Ordering::SeqCst)) };
            Box::pin(cache.cached_as(set).name("row").get_or_fill_async(read))
        };
        let mut first = row();
        let done = (0..polls).find_map(|_| {
            let done = futures_util::FutureExt::now_or_never(&mut first);
            cache.get_last_invalidation(["rows"]);
            done
        });
        tenant.store(2, Ordering::SeqCst);
        let read = done.unwrap_or_else(|| futures_executor::block_on(first));
        assert_eq!(read.unwrap(), 1);
        // It was made as tenant 1, be it never polled before: that one finds
        // it, and the other does not.
        database.store(2, Ordering::SeqCst);
        assert_eq!(futures_executor::block_on(row()).unwrap(), 2, "after {polls} polls");
        tenant.store(1, Ordering::SeqCst);
        assert_eq!(futures_executor::block_on(row()).unwrap(), 1, "after {polls} polls");
        cache.invalidate_obj("rows", &json!({"id": 1})).unwrap();
        assert_eq!(futures_executor::block_on(row()).unwrap(), 2, "after {polls} polls");
        database.store(3, Ordering::SeqCst);
        cache.invalidate_fragment("row").unwrap();
        assert_eq!(futures_executor::block_on(row()).unwrap(), 3, "after {polls} polls");
    }
}

/// What is made while the cache is off is unknown to it when it is on again.
fn switched_during_a_fill<B: Backend>() {
    let cache = B::cache(Cacheops::builder());
    let database = AtomicU64::new(1);
    let get = |switch: bool| {
        cache.cached().get_or_fill(|| {
            cache.set_enabled(!switch);
            let value = cache
                .cached_as("rows")
                .get_or_fill(|| Ok::<_, Error>(database.load(Ordering::SeqCst)));
            cache.set_enabled(true);
            value
        })
    };
    assert_eq!(get(true).unwrap(), 1);
    database.store(2, Ordering::SeqCst);
    cache.invalidate_model("rows").unwrap();
    assert_eq!(get(false).unwrap(), 2);
}

on_stores! {
    single_flight no_flight_across_an_invalidation failing_leaders no_deadlock wait_timeout never_stale an_invalidation_half_done a_tenant_of_a_thread pieces_of_a_dropped_table switched_during_a_fill
}

on_stores_and_engines! { never_stale_in_templates a_change_during_a_render rows_read_early }
