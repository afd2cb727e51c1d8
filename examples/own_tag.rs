//! A tag of your own: `{% cache_menu "top" %}` decides in Rust, in one place,
//! what a menu depends on, what it varies by, and who is served without the
//! cache.
//!
//! ```console
//! $ cargo run --example own_tag
//! en: <ul>Home</ul>   rendered
//! en: <ul>Home</ul>   from cache
//! de: <ul>Home</ul>   rendered
//! staff: <ul>Home</ul>   rendered
//! ```
#![expect(clippy::print_stdout, reason = "it talks to the terminal")]

use std::time::Duration;

use minijinja::{Environment, context};
use minijinja_cacheops::cacheops::{Cacheops, QuerySet};
use minijinja_cacheops::{Caching, Tags};

const MENU: &str = "{% cache_menu \"top\" %}<ul>Home</ul>{% endcache_menu %}";

/// The program; it fails if what it shows is not so.
pub fn main() -> Result<(), Box<dyn std::error::Error>> {
    let cache = Cacheops::in_memory();
    let mut env = Environment::new();
    let tags = Tags::install(&mut env, &cache);
    tags.decorator_tag("cache_menu", |call| {
        if call.lookup("is_staff").is_true() {
            return Ok(Caching::skip());
        }
        let caching = Caching::cached_as(QuerySet::table("menu_items"))
            .extra(&call.lookup("lang"))?
            .time_to_live(Duration::from_secs(24 * 3600));
        Ok(caching)
    })?;
    // After the tag, which it uses.
    tags.add_template(&mut env, "menu", MENU)?;

    for (visitor, lang, is_staff) in
        [("en", "en", false), ("en", "en", false), ("de", "de", false), ("staff", "en", true)]
    {
        let before = cache.stats().hits;
        let menu = env.get_template("menu")?.render(context!(lang, is_staff))?;
        let from = if cache.stats().hits > before { "from cache" } else { "rendered" };
        println!("{visitor}: {menu}   {from}");
    }
    let stats = cache.stats();
    // What is bypassed counts as a miss.
    assert_eq!((stats.hits, stats.misses), (1, 3));
    Ok(())
}
