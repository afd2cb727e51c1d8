//! What a shared tier costs. What is compared runs by turns in one process, on
//! one server that is this bench's own; trips are counted by the server.
//!
//! `cargo bench -p cacheops-tests --bench redis [-- --place one|two|free PART …]`
//!
//! `DEPENDENTS=200000` takes fewer dependent fragments than a million.

#[allow(dead_code, reason = "no bench uses all of it")]
mod measure;
mod over_redis;

use std::cell::RefCell;
use std::hint::black_box;
use std::time::{Duration, Instant};

use cacheops::{Cacheops, Error, QuerySet, eq};
use cacheops_tests::servers::{Sentinel, Server, Trips};
use futures_executor::block_on;
use futures_util::{StreamExt, stream};
use measure::{Case, Table, in_short_turns, median};
use minijinja::{Environment, Value, context};
use minijinja_cacheops::{Tags, queryset};
use over_redis::{Place, Raw, Scale, articles, each_place, fragment, process, process_of, read};
use redis::{Cmd, Pipeline};
use serde::Serialize;

#[derive(Serialize)]
struct Article {
    category: u32,
}

const CHANGED: Article = Article { category: 0 };

fn get(raw: &Raw, key: &str) -> impl FnMut() {
    raw.ask(Cmd::new().arg("SET").arg(key).arg(fragment()));
    let mut command = Cmd::new();
    command.arg("GET").arg(key);
    move || drop(black_box(raw.ask(&command)))
}

/// What a strict hit asks of so many categories: the tokens of everything and
/// of each conjunction, and that of the table.
fn reads(server: &Server, prefix: &str, count: u32) -> Pipeline {
    let keys = server.command(&["KEYS", &format!("{prefix}*")]).unwrap();
    let key = |what: &str| {
        let mut keys = keys.lines().filter(|key| key.contains(what));
        keys.next().unwrap_or_else(|| panic!("no key of {what} in {keys:?}")).to_owned()
    };
    let mut tokens = Cmd::new();
    tokens.arg("MGET").arg(format!("{prefix}all"));
    for n in 0..count {
        tokens.arg(key(&format!("category={n}")));
    }
    let mut pipeline = Pipeline::new();
    pipeline.add_command(tokens).cmd("HGET").arg(key("schemes:")).arg("_e");
    pipeline
}

fn hits(table: &mut Table, server: &Server) {
    let raw = Raw::connect(&server.url());
    let (strict, near) = (process(server, "strict:", true), process(server, "near:", false));
    let here = Cacheops::in_memory();
    let hit = |cache: &Cacheops, count: u32| {
        let (cache, set) = (cache.clone(), articles(count));
        move || drop(black_box(read(&cache, set.clone(), 0)))
    };
    let counts = [1, 2, 4, 8];
    counts.iter().for_each(|count| hit(&strict, *count)());
    let by_hand = counts.map(|count| reads(server, "strict:", count));
    let mut cases = vec![Case::new("get", get(&raw, "plain"))];
    cases.extend(by_hand.iter().map(|reads| Case::new("by hand", || raw.send(reads))));
    let by_hand = in_short_turns(&mut cases);
    let mut cases = vec![Case::new("get", get(&raw, "plain"))];
    cases.extend(counts.map(|count| Case::new("strict", hit(&strict, count))));
    let rounds = in_short_turns(&mut cases);
    table.part("hits");
    table.micros("GET of 2 KB by the same client", rounds.time(0), None);
    for (count, case) in counts.iter().zip(1..) {
        table.micros(&format!("strict hit, {count} dependencies"), rounds.time(case), None);
        table.ratio("  to that GET", rounds.ratio(case, 0), 1.15);
        let by_hand = by_hand.ratio(case, 0);
        table.plain_ratio("  the same commands sent by hand, to that GET", by_hand);
    }
    let mut trips = Trips::since_now(server);
    hit(&strict, 8)();
    table.count("  trips", trips.count() as f64, "", Some(1.0));
    let mut cases = [Case::new("near", hit(&near, 1)), Case::new("here", hit(&here, 1))];
    let rounds = in_short_turns(&mut cases);
    table.row("hit from memory in front of Redis", rounds.time(0), None);
    table.ratio("  to a hit in one process without Redis", rounds.ratio(0, 1), 1.3);
    let mut trips = Trips::since_now(server);
    hit(&near, 1)();
    table.count("  trips", trips.count() as f64, "", Some(0.0));
}

/// A strict hit asks three sentinels besides, at the same time.
fn sentinels(table: &mut Table, server: &Server) {
    let sentinel = Sentinel::start();
    let place = Place::named().unwrap_or(Place::Free);
    [sentinel.master(), sentinel.replica()].into_iter().for_each(|one| place.put(one));
    sentinel.sentinels().iter().for_each(|one| place.put(one));
    sentinel.calm_down();
    let (plain, asks) = (process(server, "plain:", true), process_of(&sentinel, "asks:"));
    let hit = |cache: &Cacheops| {
        let cache = cache.clone();
        move || drop(black_box(read(&cache, articles(1), 0)))
    };
    let mut cases = [Case::new("plain", hit(&plain)), Case::new("asks", hit(&asks))];
    let rounds = in_short_turns(&mut cases);
    table.part("sentinels");
    table.micros("strict hit without sentinels", rounds.time(0), None);
    table.micros("strict hit with three sentinels", rounds.time(1), None);
    table.plain_ratio("  to one without", rounds.ratio(1, 0));
    for threads in [1, 8] {
        let asked = questions(&sentinel, &asks, threads) * 100.0;
        let name = format!("  questions to a sentinel for 100 hits, {threads} threads");
        table.count(&name, asked, "", None);
    }
}

/// How often a sentinel is asked for each hit of so many threads.
fn questions(sentinel: &Sentinel, cache: &Cacheops, threads: u32) -> f64 {
    const HITS: u32 = 2_000;
    let asked = || -> f64 {
        let count = sentinel.sentinels()[0].info("total_commands_processed");
        count.trim().parse().unwrap()
    };
    let before = asked();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| (0..HITS).for_each(|_| drop(read(cache, articles(1), 0))));
        }
    });
    (asked() - before) / f64::from(HITS * threads)
}

/// An environment with a page of one tag and one of twenty.
fn site(cache: &Cacheops) -> impl Fn(&str) {
    let mut env = Environment::new();
    env.set_debug(false);
    let tags = Tags::install(&mut env, cache);
    let tag =
        |n: u32| format!("{{% cached_as articles, extra={n} %}}{{{{ body }}}}{{% endcached_as %}}");
    tags.add_template(&mut env, "hit", tag(0)).unwrap();
    tags.add_template(&mut env, "page", (0..20).map(tag).collect::<String>()).unwrap();
    let articles = queryset(QuerySet::table("articles").filter(eq("category", 3)));
    let body = Value::from_safe_string(fragment().to_owned());
    let context = context!(articles, body);
    // Where a text grows says more of the heap than of the cache.
    let page = RefCell::new(Vec::with_capacity(1 << 16));
    move |name| {
        let _tags = &tags;
        let mut page = page.borrow_mut();
        page.clear();
        let template = env.get_template(name).unwrap();
        drop(black_box(template.render_captured_to(context.clone(), &mut *page).unwrap()));
    }
}

fn pages(table: &mut Table, server: &Server) {
    let raw = Raw::connect(&server.url());
    let (strict, near) = (process(server, "strict:", true), process(server, "near:", false));
    let here = Cacheops::in_memory();
    let [strict, near, here] = [&strict, &near, &here].map(site);
    let get = Case::new("get", get(&raw, "plain"));
    let hit = Case::new("hit", || strict("hit"));
    let rounds = in_short_turns(&mut [get, hit, Case::new("page", || strict("page"))]);
    table.part("through MiniJinja");
    table.micros("strict hit through the tag", rounds.time(1), None);
    table.plain_ratio("  to a GET of 2 KB", rounds.ratio(1, 0));
    table.micros("page of 20 strict hits", rounds.time(2), None);
    table.plain_ratio("  to a GET of 2 KB", rounds.ratio(2, 0));
    let mut trips = Trips::since_now(server);
    strict("page");
    table.count("  trips", trips.count() as f64, "", Some(3.0));
    for (name, template) in [("near hit through the tag", "hit"), ("page of 20 near hits", "page")]
    {
        let near = Case::new("near", || near(template));
        let rounds = in_short_turns(&mut [near, Case::new("here", || here(template))]);
        table.row(name, rounds.time(0), None);
        table.ratio("  to one without Redis", rounds.ratio(0, 1), 1.3);
    }
}

fn fills(table: &mut Table, server: &Server) {
    let raw = Raw::connect(&server.url());
    let near = process(server, "fills:", false);
    let one = |extra: u64| read(&near, articles(1), extra);
    one(0);
    let mut trips = Trips::since_now(server);
    one(1);
    let known = trips.count();
    read(&near, QuerySet::table("others").filter(eq("id", 1)), 0);
    let fresh = trips.count();
    let mut extra = 1;
    let miss = || {
        extra += 1;
        one(extra);
    };
    let mut cases = [Case::new("miss", miss), Case::new("get", get(&raw, "plain"))];
    let rounds = in_short_turns(&mut cases);
    table.part("misses");
    table.count("trips of a miss: to look and lease, to store", fresh as f64, "", Some(2.0));
    table.count("  with stamps that are known", known as f64, "", Some(2.0));
    table.micros("a miss over making the value", rounds.time(0), None);
    table.plain_ratio("  to two GETs of 2 KB", rounds.ratio(0, 1) / 2.0);
}

/// Fills `count` small fragments, all of one conjunction.
fn depend(cache: &Cacheops, count: u64) {
    let set = articles(1);
    let fills = (0..count).map(|id| {
        let cached = cache.cached_as(set.clone()).extra(&id).lock(false);
        cached.get_or_fill_async(|| async { Ok::<_, Error>(1u8) })
    });
    block_on(stream::iter(fills).buffer_unordered(64).for_each(|value| async {
        assert_eq!(value.unwrap(), 1);
    }));
}

fn invalidations(table: &mut Table, server: &Server) {
    let many = std::env::var("DEPENDENTS").map_or(1_000_000, |count| count.parse().unwrap());
    let counts = [0, 1_000, many];
    let caches = counts.map(|count| {
        let cache = process(server, &format!("{count}:"), false);
        depend(&cache, count);
        cache
    });
    table.part("invalidate_obj");
    for (count, cache) in counts.iter().zip(&caches) {
        let other = process(server, &format!("{count}:"), false);
        drop(cache.lease(&[&articles(1)]).unwrap());
        let mut trips = Trips::since_now(server);
        other.invalidate_obj("articles", &CHANGED).unwrap();
        let first = trips.count();
        other.invalidate_obj("articles", &CHANGED).unwrap();
        table.count(&format!("trips, {count} dependents"), first as f64, "", Some(2.0));
        table.count("  and the next", trips.count() as f64, "", Some(2.0));
    }
    let times = caches_in_turns(&caches);
    for ((count, cache), time) in counts.iter().zip(&caches).zip(&times) {
        table.micros(&format!("time, {count} dependents"), *time, None);
        if *count > 0 {
            table.ratio("  to none", time / times[0], 1.2);
        }
        depend(cache, 1);
    }
}

/// Times one invalidation of each by turns, with a stamp there to be dropped.
fn caches_in_turns(caches: &[Cacheops]) -> Vec<f64> {
    let mut times = vec![Vec::new(); caches.len()];
    let set = articles(1);
    for _ in 0..1_000 {
        for (cache, times) in caches.iter().zip(&mut times) {
            drop(cache.lease(&[&set]).unwrap());
            let start = Instant::now();
            cache.invalidate_obj("articles", &CHANGED).unwrap();
            times.push(start.elapsed().as_nanos() as f64);
        }
    }
    times.iter_mut().map(|times| median(times)).collect()
}

/// From the moment that a change is announced to when another process knows.
fn pushes(table: &mut Table, server: &Server) {
    let [here, there] = [(); 2].map(|()| process(server, "push:", false));
    let set = articles(1);
    let mut times = Vec::new();
    for _ in 0..3_000 {
        let lease = there.lease(&[&set]).unwrap();
        assert!(lease.is_current());
        let start = Instant::now();
        here.invalidate_obj("articles", &CHANGED).unwrap();
        while lease.is_current() {
            assert!(start.elapsed() < Duration::from_secs(10), "no push came");
            std::thread::yield_now();
        }
        times.push(start.elapsed().as_nanos() as f64);
    }
    let middle = median(&mut times);
    table.part("push to another process, from the call on");
    table.micros("median", middle, Some(1000.0));
    table.micros("99th percentile", times[times.len() * 99 / 100], None);
}

/// A value of a number.
type Values<'a> = &'a dyn Fn(u64) -> String;

fn memory(table: &mut Table, server: &Server) {
    let scale = Scale::new(server);
    let html = |_| fragment().to_owned();
    let spread = |n: u64| fragment().repeat(2)[..1_500 + (n * 7919 % 1_500) as usize].to_owned();
    table.part("memory in Redis");
    let kinds: [(&str, bool, Values<'_>); 3] = [
        ("2 KB of HTML and a conjunction of its own", true, &html),
        ("the same, uncompressed", false, &html),
        ("1.5 to 3 KB, uncompressed", false, &spread),
    ];
    for (name, compresses, value) in kinds {
        let bytes = scale.fragment(compresses, 1, value);
        table.count(name, bytes, "bytes", None);
        let over = bytes - scale.plain(value);
        table.count("  over a plain SET with EX", over, "bytes", Some(250.0));
    }
    let of = |conjunctions| scale.fragment(false, conjunctions, &spread);
    let [none, one, two, eight] = [0, 1, 2, 8].map(of);
    table.count("a conjunction of its own, to a shared one", one - none, "bytes", None);
    table.count("a second", two - one, "bytes", None);
    table.count("each of six more", (eight - two) / 6.0, "bytes", None);
    table.count("that Redis tracks a fragment, with its stamp", scale.tracked(), "bytes", None);
}

fn measure(place: Place) {
    println!("\n== {}", place.words());
    let server = place.server();
    let mut table = Table::new(1.0);
    for (name, part) in PARTS {
        if is_wanted(name) {
            part(&mut table, &server);
            table.print();
        }
    }
}

type Part = fn(&mut Table, &Server);

const PARTS: [(&str, Part); 7] = [
    ("hits", hits),
    ("sentinels", sentinels),
    ("pages", pages),
    ("fills", fills),
    ("pushes", pushes),
    ("invalidations", invalidations),
    ("memory", memory),
];

/// Whether the arguments name a part, or none.
fn is_wanted(part: &str) -> bool {
    let named = |name: &str| std::env::args().any(|argument| argument == name);
    named(part) || !PARTS.iter().any(|(name, _)| named(name))
}

fn main() {
    each_place(measure);
}
