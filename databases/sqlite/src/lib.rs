//! SQLite tells [`cacheops`] what is written: no write has to be announced.
//!
//! One call in `main`, before the first connection is opened, sets hooks on each
//! connection that the process opens afterwards, whatever opens it: rusqlite, sqlx,
//! SeaORM, Diesel. Each row that is inserted, changed or deleted, by whatever SQL,
//! trigger or cascade, drops the fragments that it meets.
//!
//! ```
//! use cacheops::{Cacheops, QuerySet, eq};
//!
//! let cache = Cacheops::in_memory();
//! sqlite_cacheops::install(&cache)?;
//!
//! let db = rusqlite::Connection::open_in_memory()?;
//! db.execute_batch("CREATE TABLE articles (id INTEGER PRIMARY KEY, status TEXT)")?;
//!
//! let published = QuerySet::table("articles").filter(eq("status", "published"));
//! let count = || {
//!     cache.cached_as(&published).get_or_fill(|| {
//!         let sql = "SELECT count(*) FROM articles WHERE status = 'published'";
//!         db.query_row(sql, [], |row| row.get::<_, u32>(0))
//!     })
//! };
//! assert_eq!(count()?, 0);
//! db.execute("INSERT INTO articles (status) VALUES ('published')", [])?;
//! assert_eq!(count()?, 1);
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```
//!
//! # What is promised
//!
//! Once a statement has committed, whoever has seen its rows in the database does not
//! get older fragments: what a transaction touches is marked before it commits, and
//! dropped once its commit is known to be over. A transaction that is rolled back drops
//! nothing, or what it would have changed, never less than has changed.
//!
//! Seen with their old and new values are the rows that any SQL inserts, changes,
//! replaces or deletes, and those that triggers and cascades do. Beyond that:
//!
//! | what is written | what is dropped |
//! |---|---|
//! | more than [`row_budget`](Options::row_budget) rows of a table in a transaction | the table |
//! | columns that are `GENERATED … VIRTUAL`, values over 4 KB, text that is not UTF-8 | the table, if a queryset compares with such a column |
//! | a row through `sqlite3_blob_write` | the table |
//! | full-text search and other virtual tables that keep their data in SQLite | the virtual table |
//! | other virtual tables | everything |
//! | `CREATE`, `ALTER` and `DROP TABLE` | the table |
//! | views, `REINDEX`, what is not understood | everything |
//! | by other processes | the tables of the file, within [`external_writes`](Options::external_writes) |
//! | into a file that takes the place of another | the tables of the file |
//!
//! Tables are known by their names alone: one in an attached database, and one of the
//! same name in another file, are the same table to the cache.
//!
//! # Hooks of the application
//!
//! SQLite has one place for each hook of a connection, and gives no notice when the
//! application takes it. Without the commit hook, changes are dropped when their
//! statement has ended, and between the two a reader may be ahead of the cache. Without
//! the preupdate hook, a statement that has changed rows drops everything when it has
//! ended. Without the trace, commits end when the files of the database say so, or with
//! the connection.
//!
//! # What cannot be seen
//!
//! - `VACUUM`: it may give new values to a `rowid` that no column names.
//! - Which file a table is of: querysets name tables without their database (`articles`,
//!   not `main.articles`), and another file under the name of one that was detached is
//!   the same to the cache.
//! - Rows that are read before they are committed: on the connection that wrote them (see
//!   `cacheops::Cacheops::transaction`), or with `PRAGMA read_uncommitted`.
//! - A commit of this process that changes no page, if another process commits right
//!   after it, before the statement has ended here.
//! - A backup or `sqlite3_deserialize` **into** a database in memory.
//! - A database in memory that several connections share (`cache=shared`, the VFS
//!   `memdb`): a `RETURNING` that is not read to its end leaves its mark until the next
//!   statement of that connection. Others get no fragment meanwhile.
//! - Over Redis: a process that dies between a commit and its delivery. Others learn of
//!   it if they have the database file open, too, since the commit is a foreign one to
//!   them.
//! - Connections that were opened before [`install`]: see [`watch`]. So are those after
//!   `sqlite3_reset_auto_extension`.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod barrier;
mod connection;
mod error;
mod ffi;
mod file;
mod hooks;
mod monitor;
mod probe;
mod registry;
mod schema;
mod statement;
mod transaction;
mod value;

use std::ffi::{c_char, c_int, c_void};
use std::panic::catch_unwind;
use std::path::PathBuf;
use std::time::Duration;

use cacheops::Cacheops;

pub use error::Error;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

/// Tells a cache of each row that connections of this process write, if they are opened
/// after this call. Like [`Options::install`] with the defaults.
///
/// # Errors
///
/// [`Error::NoPreupdateHook`] if SQLite was compiled without what this stands on. The
/// error says what to set.
pub fn install(cache: &Cacheops) -> Result<(), Error> {
    Options::new().install(cache)
}

/// Ends what [`install`] began: the cache is not told of writes any more.
pub fn uninstall(cache: &Cacheops) {
    if registry::remove(cache) {
        // SAFETY: the function exists; SQLite forgets it, whether it knew it or not.
        unsafe { ffi::sqlite3_cancel_auto_extension(on_open) };
        monitor::stop();
    }
}

/// Sets the hooks of one connection that was opened before [`install`].
///
/// # Errors
///
/// [`Error::NotInstalled`] before `install`. [`Error::HookReplaced`] if the application
/// had set a hook of its own: it has been replaced, and the connection is watched.
///
/// # Safety
///
/// `connection` is the `sqlite3 *` of an open connection, and no other thread uses it
/// during the call.
pub unsafe fn watch<T>(connection: *mut T) -> Result<(), Error> {
    if registry::current().is_empty() {
        return Err(Error::NotInstalled);
    }
    let preupdate = ffi::preupdate().ok_or(Error::NoPreupdateHook)?;
    // SAFETY: the caller's promise.
    unsafe { hooks::attach(connection.cast(), preupdate, true) }
}

/// Looks whether other processes have written to the database files that connections of
/// this process have opened, and drops the tables of those that they did: what begins
/// after this call shows what they had committed before it. For applications that call
/// it for each page, and want no bound in time; see [`Options::external_writes`].
pub fn look_for_external_writes() {
    monitor::look_at_files();
}

/// The database files for which the writes of other processes cannot be seen, since
/// SQLite could not open them once more: they are encrypted, or are reached by a VFS of
/// the application's own. What this process writes to them is seen.
pub fn unwatched_files() -> Vec<PathBuf> {
    let files = monitor::files().into_iter().filter(|file| !file.is_counted());
    files.map(|file| file.path().to_owned()).collect()
}

/// How a cache is told of writes.
#[derive(Clone, Debug)]
#[must_use]
pub struct Options {
    row_budget: usize,
    external_writes: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Options::new()
    }
}

impl Options {
    /// The defaults.
    pub fn new() -> Self {
        Options { row_budget: 1_000, external_writes: Duration::from_millis(500) }
    }

    /// How many rows of one table a transaction may change before the table is
    /// dropped as a whole: 1,000 by default. Each row is looked up in the cache, and
    /// kept in memory until the commit.
    pub fn row_budget(mut self, rows: usize) -> Self {
        self.row_budget = rows;
        self
    }

    /// How often to look whether **other processes** have written to a database file:
    /// twice a second by default. What they changed drops the tables of that file, so
    /// fragments are stale for at most this long (and the length of one look). Zero for
    /// never: then the application asks, by [`look_for_external_writes`].
    ///
    /// A look reads the counter of commits in the file, which takes about two
    /// microseconds, and takes no lock. To read it, the crate keeps one connection of
    /// its own to each file. While it is there, a database does not leave WAL mode, and
    /// its log is not removed when the application closes its last connection:
    /// [`uninstall`] before that, if the file is to be copied.
    pub fn external_writes(mut self, every: Duration) -> Self {
        self.external_writes = every;
        self
    }

    /// Like [`install`]. For a cache that is installed already, the
    /// options take the place of those before.
    ///
    /// # Errors
    ///
    /// As [`install`].
    pub fn install(self, cache: &Cacheops) -> Result<(), Error> {
        ffi::preupdate().ok_or(Error::NoPreupdateHook)?;
        // SAFETY: the function has the signature that SQLite calls.
        let code = unsafe { ffi::sqlite3_auto_extension(on_open) };
        if code != ffi::OK {
            return Err(Error::Refused(code));
        }
        registry::add(registry::Installation {
            cache: cache.clone(),
            row_budget: self.row_budget,
            external_writes: self.external_writes,
        });
        monitor::start()
    }
}

/// SQLite calls this for each connection that it opens. An error makes the opening
/// fail: a connection that is not watched would leave fragments stale.
unsafe extern "C" fn on_open(
    db: *mut ffi::Db,
    _message: *mut *mut c_char,
    _api: *const c_void,
) -> c_int {
    const ERROR: c_int = 1;
    let attached = catch_unwind(|| {
        if probe::is_opening() {
            return Ok(());
        }
        let preupdate = ffi::preupdate().ok_or(Error::NoPreupdateHook)?;
        // SAFETY: the connection is being opened, so nobody else has it.
        unsafe { hooks::attach(db, preupdate, false) }
    });
    match attached {
        Ok(Ok(())) => ffi::OK,
        Ok(Err(Error::Refused(code))) => code,
        Ok(Err(_)) | Err(_) => ERROR,
    }
}
