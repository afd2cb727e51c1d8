//! What it costs in memory, and how often a hit allocates.
//!
//! `cargo bench -p cacheops-tests --bench memory`
#![allow(unsafe_code, reason = "a counting allocator cannot be written without")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use cacheops::{Cacheops, Error, QuerySet, eq};
use minijinja::{Environment, Value, context};
use minijinja_cacheops::{Tags, queryset};

/// Counts what is asked of the system's allocator.
struct Counting;

static BYTES: AtomicUsize = AtomicUsize::new(0);
static CALLS: AtomicUsize = AtomicUsize::new(0);

unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        BYTES.fetch_add(layout.size(), Ordering::Relaxed);
        CALLS.fetch_add(1, Ordering::Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        BYTES.fetch_sub(layout.size(), Ordering::Relaxed);
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const FRAGMENTS: usize = 100_000;
const BODY: usize = 2048;

fn bytes() -> usize {
    BYTES.load(Ordering::Relaxed)
}

/// Resident memory of this process, in bytes; where the system tells.
fn resident() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    let kib: usize = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib * 1024)
}

/// Fragments of templates, each on a conjunction of its own.
fn fragments() {
    let cache = Cacheops::builder().memory_limit(1 << 30).build().unwrap();
    let mut env = Environment::new();
    let tags = Tags::install(&mut env, &cache);
    let source = "{% cached_as article, extra=id %}{{ body }}{% endcached_as %}";
    tags.add_template(&mut env, "page", source).unwrap();
    let body = Value::from_safe_string("x".repeat(BODY));
    let fill = |id: usize| {
        let article = queryset(QuerySet::table("articles").filter(eq("id", id)));
        let page = env.get_template("page").unwrap();
        drop(page.render(context!(article, id, body => body.clone())).unwrap());
    };
    fill(FRAGMENTS);
    let (before, resident_before) = (bytes(), resident());
    (0..FRAGMENTS).for_each(fill);
    let each = (bytes() - before) / FRAGMENTS;
    assert_eq!(cache.usage().fragments, FRAGMENTS + 1);
    let over = each - BODY;
    println!(
        "a fragment of {BODY} bytes with one conjunction   {each} bytes: {over} over its value, at most 350 {}",
        kept(over <= 350)
    );
    if let (Some(before), Some(after)) = (resident_before, resident()) {
        println!(
            "  resident                                       {} bytes over its value",
            ((after - before) / FRAGMENTS).saturating_sub(BODY)
        );
    }
    let weight = cache.usage().bytes as usize / cache.usage().fragments;
    println!("  as the limit counts it                         {weight} bytes");
    allocations(&env, &body);
    drop(env);
    drop(tags);
    drop(cache);
    println!(
        "left when the cache is dropped                   {} bytes",
        bytes().saturating_sub(before)
    );
}

/// Allocations of a hit, over those of the page without the tag.
fn allocations(env: &Environment<'_>, body: &Value) {
    let article = queryset(QuerySet::table("articles").filter(eq("id", 7)));
    let context = context!(article, id => 7, body => body.clone());
    let plain = env.template_from_str("{{ body }}").unwrap();
    let page = env.get_template("page").unwrap();
    let count = |render: &dyn Fn() -> String| {
        drop(render());
        let before = CALLS.load(Ordering::Relaxed);
        (0..1000).for_each(|_| drop(render()));
        (CALLS.load(Ordering::Relaxed) - before) as f64 / 1000.0
    };
    let without = count(&|| plain.render(context.clone()).unwrap());
    let with = count(&|| page.render(context.clone()).unwrap());
    println!("allocations of a hit over the page without it    {:.1}", with - without);
}

/// The containers that were weighed for this (docs/decisions.md).
fn containers() {
    let values: Vec<Arc<u64>> = (0..FRAGMENTS as u64).map(Arc::new).collect();
    let key = |n: usize| {
        let mut key = [0u8; 20];
        key[..8].copy_from_slice(&(n as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15).to_le_bytes());
        key
    };
    let before = bytes();
    let moka = moka::sync::Cache::builder()
        .max_capacity(1 << 40)
        .weigher(|_: &[u8; 20], _: &Arc<u64>| 2000)
        .build();
    (0..FRAGMENTS).for_each(|n| moka.insert(key(n), values[n].clone()));
    moka.run_pending_tasks();
    let moka_bytes = (bytes() - before) / FRAGMENTS;
    let start = Instant::now();
    let found = (0..FRAGMENTS).filter(|n| moka.get(&key(n * 7919 % FRAGMENTS)).is_some()).count();
    println!(
        "moka                                             {moka_bytes} bytes an entry, {} ns a get ({found} found)",
        start.elapsed().as_nanos() as usize / FRAGMENTS
    );

    let cache = Cacheops::builder().memory_limit(1 << 30).build().unwrap();
    let before = bytes();
    for n in 0..FRAGMENTS {
        cache.cached().extra(&n).get_or_fill(|| Ok::<_, Error>(1u8)).unwrap();
    }
    let each = (bytes() - before) / FRAGMENTS;
    println!("a `cached` byte, stamps and container included   {each} bytes");
}

fn kept(kept: bool) -> &'static str {
    if kept { "kept" } else { "MISSED" }
}

fn main() {
    // `cargo test` runs benches too, to see that they work: once is enough.
    fragments();
    containers();
}
