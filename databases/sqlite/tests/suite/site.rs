//! A cache that SQLite tells of writes, and fragments that are to go or to stay.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use cacheops::{Cacheops, QuerySet};
use rusqlite::Connection;
use sqlite_cacheops::Options;

/// Hooks are the process's: one test at a time.
static ALONE: Mutex<()> = Mutex::new(());

pub struct Site {
    pub cache: Cacheops,
    folder: PathBuf,
    _alone: MutexGuard<'static, ()>,
}

impl Site {
    pub fn new() -> Self {
        Site::with(Options::new())
    }

    pub fn with(options: Options) -> Self {
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let cache = Cacheops::in_memory();
        options.install(&cache).unwrap();
        let folder = (0..)
            .map(|n| std::env::temp_dir().join(format!("cacheops-{}-{n}", std::process::id())))
            .find(|folder| std::fs::create_dir(folder).is_ok())
            .unwrap();
        Site { cache, folder, _alone: alone }
    }

    /// Lets another process run SQL in a file.
    pub fn elsewhere(&self, name: &str, sql: &str) {
        let status = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "external::another_process"])
            .env("CACHEOPS_TEST_FILE", self.path(name))
            .env("CACHEOPS_TEST_SQL", sql)
            .stdout(Stdio::null())
            .status();
        assert!(status.unwrap().success());
    }

    /// A database in memory with a schema.
    pub fn memory(&self, schema: &str) -> Connection {
        let db = Connection::open_in_memory().unwrap();
        db.execute_batch(schema).unwrap();
        db
    }

    /// A path in a folder of this test.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// A connection to a file in it, in WAL mode.
    pub fn file(&self, name: &str) -> Connection {
        open(&self.path(name))
    }

    /// Keeps a fragment for each of the querysets.
    pub fn keep(&self, querysets: &[QuerySet]) {
        for queryset in querysets {
            self.is_hit(queryset);
            assert!(self.is_hit(queryset), "{queryset:?} is not kept");
        }
    }

    /// Whether there is a fragment of a queryset; if not, keeps one.
    pub fn is_hit(&self, queryset: &QuerySet) -> bool {
        let mut hit = true;
        let fill = || {
            hit = false;
            Ok::<_, cacheops::Error>(1)
        };
        self.cache.cached_as(queryset).get_or_fill(fill).unwrap();
        hit
    }

    /// Keeps fragments, runs `write`, and says which of them are gone.
    pub fn dropped<const N: usize>(
        &self,
        querysets: [QuerySet; N],
        write: impl FnOnce(),
    ) -> [bool; N] {
        self.keep(&querysets);
        write();
        querysets.map(|queryset| !self.is_hit(&queryset))
    }

    /// The same for a batch of SQL.
    pub fn dropped_by<const N: usize>(
        &self,
        db: &Connection,
        querysets: [QuerySet; N],
        sql: &str,
    ) -> [bool; N] {
        self.dropped(querysets, || db.execute_batch(sql).unwrap())
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        sqlite_cacheops::uninstall(&self.cache);
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// A connection in WAL mode.
pub fn open(path: &Path) -> Connection {
    let db = Connection::open(path).unwrap();
    db.pragma_update(None, "journal_mode", "wal").unwrap();
    db
}

/// The rows of a table by an `=`.
pub fn by(table: &str, column: &str, value: impl serde::Serialize) -> QuerySet {
    QuerySet::table(table).filter(cacheops::eq(column, value))
}
