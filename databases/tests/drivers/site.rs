//! A cache that is told of writes, and fragments that are to go or to stay.

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use cacheops::{Cacheops, QuerySet, eq};
use sqlite_cacheops::Options;

/// Hooks are the process's: one test at a time.
static ALONE: Mutex<()> = Mutex::new(());

pub struct Site {
    cache: Cacheops,
    folder: PathBuf,
    _alone: MutexGuard<'static, ()>,
}

impl Site {
    /// With a file whose table `posts` has the rows 1 and 2.
    pub fn new() -> Self {
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let cache = Cacheops::in_memory();
        Options::new().external_writes(Duration::ZERO).install(&cache).unwrap();
        let folder = (0..)
            .map(|n| std::env::temp_dir().join(format!("cacheops-{}-{n}", std::process::id())))
            .find(|folder| std::fs::create_dir(folder).is_ok())
            .unwrap();
        let site = Site { cache, folder, _alone: alone };
        let db = rusqlite::Connection::open(site.path()).unwrap();
        db.execute_batch(
            "PRAGMA journal_mode = WAL;
            CREATE TABLE posts (id INTEGER PRIMARY KEY, status TEXT NOT NULL, votes INT NOT NULL);
            INSERT INTO posts VALUES (1, 'draft', 0), (2, 'published', 0);",
        )
        .unwrap();
        site
    }

    pub fn path(&self) -> String {
        self.folder.join("site.db").to_str().unwrap().to_owned()
    }

    pub fn url(&self) -> String {
        format!("sqlite://{}", self.path())
    }

    /// Keeps a fragment for each id.
    pub fn keep(&self, ids: &[i64]) {
        for &id in ids {
            self.is_hit(id);
            assert!(self.is_hit(id), "the fragment of {id} is not kept");
        }
    }

    /// Whether there is a fragment of the row of an id; if not, keeps one.
    pub fn is_hit(&self, id: i64) -> bool {
        let mut hit = true;
        let fill = || {
            hit = false;
            Ok::<_, cacheops::Error>(1)
        };
        let row = QuerySet::table("posts").filter(eq("id", id));
        self.cache.cached_as(&row).get_or_fill(fill).unwrap();
        hit
    }

    /// The fragments of these ids must be gone, and all others be there still.
    #[track_caller]
    pub fn expect_dropped(&self, ids: &[i64]) {
        for id in 1..=9 {
            assert_eq!(!self.is_hit(id), ids.contains(&id), "the fragment of {id}");
        }
        self.keep(&Self::ALL);
    }

    pub const ALL: [i64; 9] = [1, 2, 3, 4, 5, 6, 7, 8, 9];

    /// Waits until a fragment of an id is kept again: no commit of it is in progress.
    pub fn until_kept(&self, id: i64) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !self.is_hit(id) {
            assert!(Instant::now() < deadline, "the mark on {id} has stayed");
            std::thread::yield_now();
        }
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        sqlite_cacheops::uninstall(&self.cache);
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
