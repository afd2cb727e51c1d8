//! How a project tests its pages: read, change, read again, and move the clock by
//! hand. In a project, the assertions in `main` would be in `#[test]` functions.
//!
//! ```console
//! $ cargo run --example testing
//! a change reaches its page, and no other
//! a page ends with its time limit
//! ```
#![expect(clippy::print_stdout, reason = "it talks to the terminal")]

use std::sync::Arc;
use std::time::Duration;

use minijinja_cacheops::cacheops::{Cacheops, Error, ManualClock, QuerySet, eq};

/// Stands for an application: a page that lists a category.
fn page(cache: &Cacheops, category: u32) -> Result<String, Error> {
    let rows = QuerySet::table("articles").filter(eq("category", category));
    let page = cache.cached_as(&rows).time_to_live(Duration::from_secs(60));
    Ok(page.get_or_fill(|| Ok::<_, Error>(format!("articles of {category}")))?)
}

fn a_change_reaches_its_page_and_no_other() -> Result<(), Error> {
    // A cache is a value, not a global: each test makes its own.
    let cache = Cacheops::in_memory();
    page(&cache, 3)?; // The first look fills the cache; without it, this proves nothing.
    page(&cache, 4)?;
    #[derive(serde::Serialize)]
    struct Article {
        id: u32,
        category: u32,
    }
    cache.invalidate_obj("articles", &Article { id: 1, category: 3 })?;

    let before = cache.stats();
    page(&cache, 3)?;
    assert_eq!(cache.stats().misses - before.misses, 1);
    page(&cache, 4)?;
    assert_eq!(cache.stats().hits - before.hits, 1, "category 4 was invalidated, too");
    println!("a change reaches its page, and no other");
    Ok(())
}

fn a_page_ends_with_its_time_limit() -> Result<(), Error> {
    let clock = Arc::new(ManualClock::new());
    let cache = Cacheops::builder().clock(clock.clone()).build()?;
    page(&cache, 3)?;
    clock.advance(Duration::from_secs(59));
    page(&cache, 3)?;
    assert_eq!(cache.stats().hits, 1);
    clock.advance(Duration::from_secs(1));
    page(&cache, 3)?;
    assert_eq!(cache.stats().expired, 1);
    println!("a page ends with its time limit");
    Ok(())
}

/// The program; it fails if what it shows is not so.
pub fn main() -> Result<(), Box<dyn std::error::Error>> {
    a_change_reaches_its_page_and_no_other()?;
    a_page_ends_with_its_time_limit()?;
    Ok(())
}
