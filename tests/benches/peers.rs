//! Our half of the comparison with other libraries: the same figures, as the
//! same JSON lines, as `tests/peers/django_cacheops.py` prints of its own. See
//! `tests/peers/README.md`; `tests/peers/run` runs both.
//!
//! `cargo bench -p cacheops-tests --bench peers -- --port 7777 --mode near|strict`
//!
//! The server has to be up and empty; it is flushed over and over.

#[allow(dead_code, unused_imports, reason = "no bench uses all of it")]
mod over_redis;
mod peer;

use std::cell::Cell;
use std::hint::black_box;
use std::time::Duration;

use cacheops::{Cacheops, Error, QuerySet, eq};
use futures_executor::block_on;
use futures_util::{StreamExt, stream};
use minijinja::{Environment, Value, context};
use minijinja_cacheops::{Tags, queryset};
use over_redis::fragment;
use peer::{Peer, TIMEOUT, median, timed};
use redis::Pipeline;
use serde::Serialize;
use serde_json::json;

const MANY: u64 = 100_000;
const MEMORY_FRAGMENTS: u64 = 10_000;
const TABLE: &str = "peers_article";

#[derive(Serialize)]
struct Article {
    id: u64,
    category: u64,
    status: &'static str,
    title: &'static str,
}

fn articles(category: u64) -> QuerySet {
    QuerySet::table(TABLE).filter(eq("category", category))
}

/// Templates of a process of its own.
struct Site(Environment<'static>, #[expect(dead_code, reason = "it lives as long")] Tags);

impl Site {
    fn new(peer: &Peer) -> Self {
        let cache = peer.process(true);
        let mut env = Environment::new();
        env.set_debug(false);
        let tags = Tags::install(&mut env, &cache);
        let tag = |n: u32| {
            format!(
                "{{% cached_as articles, extra=[lang, {n}] %}}{{{{ body }}}}{{% endcached_as %}}"
            )
        };
        let page: Vec<String> = (0..20).map(tag).collect();
        let text = fragment();
        for (name, source) in [
            ("template", "{{ body }}".to_owned()),
            ("hit", tag(0)),
            ("page20", page.join("\n")),
            ("body", text.to_owned()),
            ("miss", format!("{{% cached_as articles, extra=lang %}}{text}{{% endcached_as %}}")),
        ] {
            tags.add_template(&mut env, name, &source).unwrap();
        }
        Site(env, tags)
    }

    fn render(&self, name: &str, context: &Value) -> String {
        self.0.get_template(name).unwrap().render(context.clone()).unwrap()
    }
}

fn context_of(lang: &str) -> Value {
    let body = Value::from_safe_string(fragment().to_owned());
    context!(articles => queryset(articles(3)), body, lang)
}

/// Round trips, as the server counts them: how often it read from a client.
fn trips(peer: &Peer) {
    let site = Site::new(peer);
    site.render("miss", &context_of("warm"));
    let reads = || peer.info("stats", "total_reads_processed") as f64;
    let count = |name: &str, lang: &str| {
        let context = context_of(lang);
        let before = reads();
        site.render(name, &context);
        // Without the question itself.
        reads() - before - 1.0
    };
    // The least of some: the cache's own signs of life come in between.
    let langs = ["a", "b", "c", "d", "e"];
    let least = |name: &str| langs.map(|lang| count(name, lang)).into_iter().fold(99.0, f64::min);
    peer.say("trips_miss", vec![least("hit")], "trips", json!({}));
    peer.say("trips_hit", vec![least("hit")], "trips", json!({}));
    // A page is known when it has been rendered whole.
    langs.iter().for_each(|lang| drop(site.render("page20", &context_of(lang))));
    langs.iter().for_each(|lang| drop(site.render("page20", &context_of(lang))));
    peer.say("trips_page20", vec![least("page20")], "trips", json!({}));
}

fn hits(peer: &Peer) {
    let site = Site::new(peer);
    let context = context_of("de");
    let wanted = [(); 20].map(|()| fragment()).join("\n");
    for _ in 0..2 {
        assert_eq!(site.render("hit", &context), fragment());
        assert_eq!(site.render("page20", &context), wanted);
    }
    let cache = peer.process(true);
    let run = |name: &'static str| {
        let (site, context) = (&site, &context);
        move || drop(black_box(site.render(name, context)))
    };
    let function = || {
        let fill = || Ok::<_, Error>(fragment().to_owned());
        drop(black_box(cache.cached_as(articles(3)).extra("de").get_or_fill(fill).unwrap()));
    };
    let times = peer.in_turns(
        vec![
            (100, Box::new(run("template"))),
            (100, Box::new(|| drop(black_box(articles(3))))),
            (100, Box::new(run("hit"))),
            (10, Box::new(run("page20"))),
            (100, Box::new(function)),
        ],
        60,
    );
    let get = median(&times[5]);
    let names = ["template", "queryset", "hit", "page20", "cached_as_function", "get"];
    for (what, times) in names.iter().zip(times) {
        peer.say(what, times, "us", json!({ "get_p50": get }));
    }
}

fn misses(peer: &Peer) {
    peer.flush();
    let site = Site::new(peer);
    let number = Cell::new(0);
    let miss = || {
        number.set(number.get() + 1);
        drop(site.render("miss", &context_of(&number.get().to_string())));
    };
    let plain = context_of("plain");
    let body = || drop(site.render("body", &plain));
    let times = peer.in_turns(vec![(100, Box::new(miss)), (100, Box::new(body))], 40);
    let body = median(&times[1]);
    let found = times[0].iter().map(|each| each - body).collect();
    peer.say("miss", found, "us", json!({ "get_p50": median(&times[2]), "body_p50": body }));
}

/// Fills small fragments, all under one conjunction or each under its own.
fn fill(cache: &Cacheops, count: u64, unrelated: bool) -> u64 {
    let filled = Cell::new(0);
    let fills = (0..count).map(|number| {
        let set = articles(if unrelated { 1000 + number } else { 3 });
        let filled = &filled;
        cache.cached_as(set).extra(&number).lock(false).get_or_fill_async(move || async move {
            filled.set(filled.get() + 1);
            Ok::<_, Error>(format!("<li>{number}</li>"))
        })
    });
    block_on(stream::iter(fills).buffer_unordered(64).for_each(|value| async {
        drop(value.unwrap());
    }));
    filled.get()
}

fn invalidations(peer: &Peer) {
    let cache = peer.process(true);
    let row = |id, category| Article { id, category, status: "published", title: "One" };
    // The invalidation of the other takes the same way and finds nothing.
    let (one, other) = (row(1, 3), row(2, 7));
    let drop_obj = || cache.invalidate_obj(TABLE, &one).unwrap();
    let drop_model = || cache.invalidate_model(TABLE).unwrap();
    let warm = || {
        let gets: Vec<f64> = {
            let mut get = peer.plain_get();
            (0..200).map(|_| timed(&mut get)).collect()
        };
        (0..200).for_each(|_| cache.invalidate_obj(TABLE, &other).unwrap());
        gets[100..].to_vec()
    };
    let empty = || {
        // Of a flush alone memory may hear later.
        cache.invalidate_all().unwrap();
        peer.flush();
    };
    let refilled = |what: &str, drop: &dyn Fn(), count: u64, times: usize| {
        empty();
        let (mut found, mut gets) = (Vec::new(), Vec::new());
        for _ in 0..times {
            assert_eq!(fill(&cache, count, false), count, "misses after an invalidation");
            assert_eq!(fill(&cache, count.min(50), false), 0, "hits after filling");
            gets.extend(warm());
            found.push(timed(drop));
        }
        assert_eq!(fill(&cache, 50, false), 50, "misses after an invalidation");
        peer.say(what, found, "us", json!({ "get_p50": median(&gets), "dependents": count }));
    };
    peer.flush();
    fill(&cache, 1, false);
    drop_obj();
    let times = peer.in_turns(vec![(100, Box::new(drop_obj))], 30);
    let get = median(&times[1]);
    peer.say("invalidate_obj_0", times[0].clone(), "us", json!({ "get_p50": get }));
    refilled("invalidate_obj_1000", &drop_obj, 1000, 40);
    refilled("invalidate_obj_100000", &drop_obj, MANY, 5);
    refilled("invalidate_model_100000", &drop_model, MANY, 5);

    empty();
    fill(&cache, MANY, true);
    let times = peer.in_turns(vec![(100, Box::new(drop_obj))], 30);
    let get = median(&times[1]);
    let more = json!({ "get_p50": get, "unrelated": MANY });
    peer.say("invalidate_obj_100000_unrelated", times[0].clone(), "us", more);
    assert_eq!(fill(&cache, 50, true), 0, "unrelated fragments stay");
    let gets = warm();
    let found = timed(drop_model);
    assert_eq!(fill(&cache, 50, true), 50, "misses after an invalidation");
    let more = json!({ "get_p50": median(&gets), "dependents": MANY, "conjunctions": MANY });
    peer.say("invalidate_model_100000_conjunctions", vec![found], "us", more);
}

/// Bytes in use after `fill`, less those before it, each; when the server has
/// come to rest, and without what it remembers of readers.
fn each(peer: &Peer, fill: impl FnOnce()) -> f64 {
    let used = || {
        std::thread::sleep(Duration::from_millis(500));
        peer.info("memory", "used_memory") as f64
    };
    peer.flush();
    let before = used();
    fill();
    (used() - before) / MEMORY_FRAGMENTS as f64
}

fn memory(peer: &Peer) {
    let plain = |expires: bool| {
        for chunk in 0..MEMORY_FRAGMENTS / 500 {
            let mut pipeline = Pipeline::new();
            for number in chunk * 500..(chunk + 1) * 500 {
                let command = pipeline.cmd("SET").arg(format!("frag:{number:040}")).arg(fragment());
                if expires {
                    command.arg("EX").arg(TIMEOUT.as_secs());
                }
            }
            peer.raw.send(&pipeline);
        }
    };
    let fragments = |compresses: bool| {
        let cache = peer.process(compresses);
        for number in 0..MEMORY_FRAGMENTS {
            let cached = cache.cached_as(articles(number)).extra(&number).lock(false);
            cached.get_or_fill(|| Ok::<_, Error>(fragment().to_owned())).unwrap();
        }
    };
    let limit = |keys: &str| peer.ask::<()>(&["CONFIG", "SET", "tracking-table-max-keys", keys]);
    each(peer, || plain(false));
    let (without, expiring) = (each(peer, || plain(false)), each(peer, || plain(true)));
    limit("1");
    let (full, packed) = (each(peer, || fragments(false)), each(peer, || fragments(true)));
    limit("1000000");
    let tracked = each(peer, || fragments(true)) - packed;
    let more = json!({
        "fragment": packed.round(), "uncompressed": full.round(), "plain": without.round(),
        "plain_expiring": expiring.round(), "tracking": tracked.round(),
        "fragments": MEMORY_FRAGMENTS,
    });
    peer.say("memory", vec![packed - without], "bytes", more);
}

fn main() {
    let argument = |name: &str| std::env::args().skip_while(|found| found != name).nth(1);
    if std::env::args().any(|found| found == "--fragment") {
        return print!("{}", fragment());
    }
    let (Some(port), Some(mode)) = (argument("--port"), argument("--mode")) else {
        return println!("peers: --port and --mode near or strict are needed");
    };
    assert!(mode == "near" || mode == "strict", "--mode is near or strict");
    let peer = Peer::new(&port, &mode);
    assert_eq!(peer.ask::<u64>(&["DBSIZE"]), 0, "the Redis on port {port} must be empty");
    for measure in [trips, hits, misses, invalidations, memory] {
        peer.flush();
        measure(&peer);
    }
    peer.flush();
}
