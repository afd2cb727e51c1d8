//! Two processes that share fragments over Redis. Here, two handles stand for the
//! processes. The example needs a Redis server.
//!
//! ```console
//! $ redis-server --port 6390 &
//! $ cargo run --example over_redis redis://127.0.0.1:6390
//! one: the query runs
//! one: 3 articles
//! two: 3 articles
//! two invalidates
//! one: the query runs
//! one: 3 articles
//! ```
//!
//! The query does not run for the second process, which reads what the first one
//! has stored. In strict mode, the first process notices at once that the second
//! one has invalidated it.
#![expect(clippy::print_stdout, reason = "it talks to the terminal")]

use minijinja_cacheops::cacheops::{Cacheops, Consistency, Error, QuerySet, Redis};

/// The program; it fails if what it shows is not so.
pub fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::args().nth(1).unwrap_or_else(|| "redis://127.0.0.1:6379".to_owned());
    run(&url)
}

/// All of it over one server.
pub fn run(url: &str) -> Result<(), Box<dyn std::error::Error>> {
    let (one, two) = (open(url)?, open(url)?);
    show("one", &one)?;
    show("two", &two)?;
    println!("two invalidates");
    two.invalidate_model("articles")?;
    show("one", &one)?;
    assert_eq!((one.stats().misses, two.stats().misses), (2, 0));
    Ok(())
}

fn open(url: &str) -> Result<Cacheops, Error> {
    let redis = Redis::url(url).consistency(Consistency::Strict);
    Cacheops::builder().prefix("example:").redis(redis).build()
}

fn show(process: &str, cache: &Cacheops) -> Result<(), Error> {
    let articles = QuerySet::table("articles");
    let count = cache.cached_as(&articles).extra(&"count").get_or_fill(|| {
        println!("{process}: the query runs");
        Ok::<_, Error>(3)
    })?;
    println!("{process}: {count} articles");
    Ok(())
}
