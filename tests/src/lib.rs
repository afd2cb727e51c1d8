//! The harness of the suite: fixtures, and what they run on.
//!
//! A behaviour is written once. A second engine implements [`Engine`], a
//! second store implements [`Backend`], and both run all of it.

pub mod engines;
pub mod fixture;
pub mod servers;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use cacheops::{Builder, Cacheops, Consistency, ManualClock, QuerySet, Redis};
use serde_json::{Map, Value as Json};

use servers::{Cluster, Server};

/// A store to run the suite on.
pub trait Backend {
    /// How many times fewer fills a test is to make than in memory.
    const SLOWNESS: u64 = 1;

    /// A cache of its own on this store.
    fn cache(settings: Builder) -> Cacheops;
}

/// The store of one process.
#[derive(Debug)]
pub struct InMemory;

impl Backend for InMemory {
    fn cache(settings: Builder) -> Cacheops {
        settings.build().expect("the settings of the suite are right")
    }
}

/// Redis, with the memory of this process in front of it.
#[derive(Debug)]
pub struct OverRedis;

/// Redis, asked on every hit.
#[derive(Debug)]
pub struct Strict;

/// A cluster of Redis servers.
#[derive(Debug)]
pub struct OverCluster;

impl Backend for OverRedis {
    const SLOWNESS: u64 = 8;

    fn cache(settings: Builder) -> Cacheops {
        let redis = Redis::url(shared_server().url());
        build(settings, redis)
    }
}

impl Backend for Strict {
    const SLOWNESS: u64 = 8;

    fn cache(settings: Builder) -> Cacheops {
        let redis = Redis::url(shared_server().url());
        build(settings, redis.consistency(Consistency::Strict))
    }
}

impl Backend for OverCluster {
    const SLOWNESS: u64 = 8;

    fn cache(settings: Builder) -> Cacheops {
        static CLUSTER: OnceLock<Cluster> = OnceLock::new();
        let cluster = CLUSTER.get_or_init(|| Cluster::start(3));
        build(settings, Redis::cluster(cluster.urls()))
    }
}

/// A cache of its own on a server that it shares with others.
fn build(settings: Builder, redis: Redis) -> Cacheops {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let prefix = format!("{}:", COUNT.fetch_add(1, Ordering::SeqCst));
    // Timings under a debugger or on a busy machine say nothing of the cache.
    let patient = redis.operation_timeout(Duration::from_secs(20));
    let patient = patient.connect_timeout(Duration::from_secs(20));
    settings.prefix(prefix).redis(patient).build().expect("the settings of the suite are right")
}

/// The one server of the suite.
pub fn shared_server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(Server::start)
}

/// Rows of a table, which a lazy queryset reads when it runs.
pub type Query = Arc<dyn Fn() -> Result<Vec<Json>, String> + Send + Sync>;

/// What a template is rendered with.
#[derive(Clone, Default)]
pub struct Context {
    /// Plain values.
    pub values: Map<String, Json>,
    /// Querysets without rows.
    pub querysets: Vec<(String, QuerySet)>,
    /// Lazy querysets.
    pub lazies: Vec<(String, QuerySet, Query)>,
}

/// Delimiters that a fixture is run with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delimiters {
    /// `{% %}`, `{{ }}` and `{# #}`.
    Default,
    /// `<% %>`, `<< >>` and `<# #>`.
    Angle,
}

impl Delimiters {
    /// A text of a fixture in these delimiters.
    pub fn apply(self, text: &str) -> String {
        match self {
            Delimiters::Default => text.to_owned(),
            Delimiters::Angle => text
                .replace("{%", "<%")
                .replace("%}", "%>")
                .replace("{{", "<<")
                .replace("}}", ">>")
                .replace("{#", "<#")
                .replace("#}", "#>"),
        }
    }
}

/// How an engine treats white space and lines.
#[derive(Clone, Copy, Debug, Default)]
pub struct Layout {
    /// The first line end behind a statement is dropped.
    pub trim_blocks: bool,
    /// Blanks before a statement are dropped.
    pub lstrip_blocks: bool,
    /// A line that begins with `%%` is a statement, one with `##` a comment.
    pub line_statements: bool,
}

/// An engine with its plugin.
pub trait Engine {
    /// What fixtures call it.
    const NAME: &'static str;

    /// How deep tags nest.
    const MAX_DEPTH: usize;

    /// An engine whose tags use `cache`; it has a tag `cache_menu` of its own,
    /// which varies by its argument and by `lang`, is named `menu`, depends on
    /// `menu_items`, and is skipped where `is_staff` is true.
    fn new(cache: &Cacheops, delimiters: Delimiters, layout: Layout) -> Self;

    /// Has a function `change()` of the templates call this; it prints nothing.
    fn on_change(&mut self, change: impl Fn() + Send + Sync + 'static);

    /// Adds a template, or replaces it; the error as a person reads it.
    fn add(&mut self, name: &str, source: &str) -> Result<(), String>;

    /// Renders a template; the whole chain of an error as a person reads it.
    fn render(&self, name: &str, context: &Context) -> Result<String, String>;

    /// An error as the plugin explains it.
    fn explain(&self, name: &str, context: &Context) -> String;
}

/// A cache on a clock that the test sets.
pub fn cache_on_clock<B: Backend>() -> (Cacheops, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::new());
    (B::cache(Cacheops::builder().clock(clock.clone())), clock)
}
