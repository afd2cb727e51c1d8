//! The smallest program: a template, a lazy queryset, and a changed row.
//!
//! ```console
//! $ cargo run --example minimal
//! the query runs
//! Stamps, Leases
//! Stamps, Leases
//! a change in another category
//! Stamps, Leases
//! a change in this category
//! the query runs
//! Stamps, Leases
//! ```
//!
//! The second page is a hit: the body is not rendered and the query does not run.
//! The change in another category cannot affect the list, so the third page is
//! also a hit.
#![expect(clippy::print_stdout, reason = "it talks to the terminal")]

use minijinja::{Environment, context};
use minijinja_cacheops::cacheops::{Cacheops, QuerySet, eq};
use minijinja_cacheops::{Tags, lazy};

#[derive(serde::Serialize)]
struct Article {
    id: u32,
    category: &'static str,
}

const LIST: &str = "{% cached_as articles %}{{ articles|join(', ') }}{% endcached_as %}";

/// The program; it fails if what it shows is not so.
pub fn main() -> Result<(), Box<dyn std::error::Error>> {
    let cache = Cacheops::in_memory();
    let mut env = Environment::new();
    let tags = Tags::install(&mut env, &cache);
    tags.add_template(&mut env, "list", LIST)?;

    let show = || -> Result<(), minijinja::Error> {
        let rust = QuerySet::table("articles").filter(eq("category", "rust"));
        let articles = lazy(&cache, rust, || {
            println!("the query runs");
            Ok::<_, std::io::Error>(vec!["Stamps", "Leases"])
        });
        println!("{}", env.get_template("list")?.render(context!(articles))?);
        Ok(())
    };
    show()?;
    show()?;
    println!("a change in another category");
    cache.invalidate_obj("articles", &Article { id: 7, category: "cooking" })?;
    show()?;
    println!("a change in this category");
    cache.invalidate_obj("articles", &Article { id: 8, category: "rust" })?;
    show()?;

    let stats = cache.stats();
    assert_eq!((stats.misses, stats.hits), (2, 2));
    Ok(())
}
