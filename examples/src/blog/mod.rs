//! A blog whose pages consist of cached fragments.
//!
//! - `queries` says what templates can ask for, and which querysets that is.
//! - `templates` sets the engine up, MiniJinja or Tera; the templates
//!   themselves are in `examples/blog/templates` and `templates-tera`.
//! - `writes` changes the database. SQLite tells the cache what changed: `App::open`
//!   installs that, by one call.
//! - `bar` and `live` show what the cache does meanwhile, `shared` what Redis
//!   holds, where there is one.

mod bar;
mod db;
mod error;
mod forms;
mod listing;
mod live;
mod markdown;
mod pages;
mod queries;
mod seed;
mod shared;
mod templates;
mod visit;
mod words;
mod writes;

use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn;
use axum::routing::{get, post};
use minijinja_cacheops::cacheops::{Cacheops, Consistency, Redis};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use db::Db;
pub use error::Error;
use live::Log;
pub use templates::Engine;
use templates::Templates;

/// The largest form that is read, in bytes: above what any of them may hold,
/// so that one that is too long comes back with what was typed.
const LARGEST_FORM: usize = 512 << 10;

/// How long the end waits for connections.
const PATIENCE: Duration = Duration::from_secs(2);

/// Where the site keeps its rows, where it listens, and with whom it shares
/// what it keeps.
#[derive(Clone, Debug)]
pub struct Options {
    /// The file of the database; it is made, and filled, if there is none.
    pub db: PathBuf,
    /// The template engine; the pages are the same by any.
    pub engine: Engine,
    /// The port on this machine; 0 lets the system choose.
    pub port: u16,
    /// The URL of the Redis that instances of the site share; without one, the
    /// cache is that of this process alone.
    pub redis: Option<String>,
    /// Whether Redis is asked on every hit.
    pub strict: bool,
    /// Only instances of the site that share this Redis write to the file. Then no page
    /// looks whether another program has, and a change by one instance drops in the
    /// others just what it affects.
    pub exclusive: bool,
    /// How long Redis may take before it is given up; the cache's own limits
    /// if nothing is said.
    pub redis_timeout: Option<Duration>,
}

impl Options {
    /// A site of its own, on a port that the system chooses.
    #[must_use]
    pub fn new(db: PathBuf) -> Self {
        Options {
            db,
            engine: Engine::default(),
            port: 0,
            redis: None,
            strict: false,
            exclusive: false,
            redis_timeout: None,
        }
    }
}

/// A site that is being served. It ends when this is dropped, or by
/// [`shutdown`](Server::shutdown).
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<io::Result<()>>,
}

impl Server {
    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends it, when the requests under way have been answered; connections
    /// that stay open without one are cut after two seconds.
    ///
    /// # Errors
    ///
    /// What went wrong in listening.
    pub async fn shutdown(self) -> Result<(), Error> {
        // Where nobody waits for the signal any more, it has ended already.
        let _ = self.stop.send(());
        let abort = self.task.abort_handle();
        match tokio::time::timeout(PATIENCE, self.task).await {
            Ok(ended) => ended.map_err(|_| Error::Interrupted)?.map_err(Error::Listen),
            Err(_) => {
                abort.abort();
                Ok(())
            }
        }
    }
}

/// Opens the database and serves the site on 127.0.0.1, in the background.
///
/// # Errors
///
/// A database that cannot be opened, a port that is taken, or a Redis that
/// cannot be reached or used.
pub async fn serve(options: Options) -> Result<Server, Error> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, options.port)).await;
    let listener = listener.map_err(Error::Listen)?;
    let address = listener.local_addr().map_err(Error::Listen)?;
    // It waits for the disk and for Redis.
    let app = tokio::task::spawn_blocking(move || App::open(&options)).await;
    let app = app.map_err(|_| Error::Interrupted)??;
    let (stop, stopped) = oneshot::channel();
    let task = tokio::spawn(run(listener, router(app), stopped));
    Ok(Server { address, stop, task })
}

async fn run(
    listener: TcpListener,
    router: Router,
    stopped: impl Future + Send + 'static,
) -> io::Result<()> {
    let stopped = async move {
        stopped.await;
    };
    axum::serve(listener, router).with_graceful_shutdown(stopped).await
}

/// What all requests share.
struct App {
    db: Db,
    cache: Cacheops,
    templates: Templates,
    log: Log,
    /// Whether others write to the file of the database.
    exclusive: bool,
}

impl App {
    fn open(options: &Options) -> Result<Arc<Self>, Error> {
        let log = Log::default();
        let cache = open_cache(options, &prepare(options)?, &log)?;
        // From here on, SQLite tells the cache of each row that this process writes.
        // Each page looks for writes of others, so no thread has to.
        sqlite_cacheops::Options::new().external_writes(Duration::ZERO).install(&cache)?;
        let db = Db::open(&options.db)?;
        // Redis may have pages from before somebody wrote while no instance was running.
        cache.invalidate_all()?;
        let templates = Templates::load(options.engine, &cache, &db)?;
        Ok(Arc::new(App { db, cache, templates, log, exclusive: options.exclusive }))
    }

    /// Drops what others have changed in the file, so that the page that begins now shows
    /// it.
    fn look_for_external_writes(&self) {
        if !self.exclusive {
            sqlite_cacheops::look_for_external_writes();
        }
    }
}

impl Drop for App {
    fn drop(&mut self) {
        sqlite_cacheops::uninstall(&self.cache);
    }
}

/// Makes the database, if it is not there; what tells it from others.
fn prepare(options: &Options) -> Result<String, Error> {
    let db = Db::open(&options.db)?;
    seed::fill_if_empty(&db)?;
    Ok(db.id()?)
}

fn open_cache(options: &Options, id: &str, log: &Log) -> Result<Cacheops, Error> {
    let noted = log.clone();
    let mut cache = Cacheops::builder()
        .inspect(true)
        .on_cache_read(bar::note_read)
        .on_cache_invalidated(move |event| noted.note_invalidation(event));
    if let Some(url) = &options.redis {
        let consistency = if options.strict { Consistency::Strict } else { Consistency::default() };
        let mut redis = Redis::url(url).consistency(consistency);
        if let Some(limit) = options.redis_timeout {
            redis = redis.connect_timeout(limit).operation_timeout(limit);
        }
        // Sites of other databases have other pages.
        cache = cache.prefix(format!("blog:{id}:")).redis(redis);
    }
    Ok(cache.build()?)
}

fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/", get(pages::front))
        .route("/article/{slug}", get(pages::article))
        .route("/article/{slug}/edit", get(forms::edit_article).post(forms::save_article))
        .route("/article/{slug}/comments", get(pages::comments).post(forms::add_comment))
        .route("/comment/{id}/edit", get(forms::edit_comment).post(forms::save_comment))
        .route("/comment/{id}/delete", post(forms::delete_comment))
        .route("/category/{slug}", get(pages::category))
        .route("/tag/{slug}", get(pages::tag))
        .route("/author/{slug}", get(pages::author))
        .route("/archive/{month}", get(pages::month))
        .route("/search", get(pages::search))
        .route("/cache", get(pages::live))
        .route("/cache.json", get(pages::live_json))
        .route("/static/{name}", get(pages::asset))
        .fallback(pages::nowhere)
        .layer(DefaultBodyLimit::max(LARGEST_FORM))
        .layer(from_fn(visit::remember_preferences))
        .layer(from_fn(visit::only_own_forms))
        .with_state(app)
}
