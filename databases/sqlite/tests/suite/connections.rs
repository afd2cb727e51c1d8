//! Which connections are watched, for which caches, and hooks of the application.

use crate::site::{Site, by};
use cacheops::{Cacheops, QuerySet};
use rusqlite::Connection;
use rusqlite::trace::{TraceEvent, TraceEventCodes};
use sqlite_cacheops::Error;

const T: &str = "CREATE TABLE t (id INTEGER PRIMARY KEY)";

fn hit(cache: &Cacheops) -> bool {
    let mut hit = true;
    let fill = || {
        hit = false;
        Ok::<_, cacheops::Error>(1)
    };
    cache.cached_as(QuerySet::table("t")).get_or_fill(fill).unwrap();
    hit
}

#[test]
fn several_caches() {
    let site = Site::new();
    let other = Cacheops::in_memory();
    let db = site.memory(T);
    assert!(!hit(&other) && hit(&other));
    sqlite_cacheops::install(&other).unwrap();
    assert_eq!(site.dropped_by(&db, [by("t", "id", 1)], "INSERT INTO t VALUES (1)"), [true]);
    assert!(!hit(&other) && hit(&other));
    sqlite_cacheops::uninstall(&other);
    assert_eq!(site.dropped_by(&db, [by("t", "id", 2)], "INSERT INTO t VALUES (2)"), [true]);
    assert!(hit(&other));
    // Installed in the middle of a transaction, it cannot know what came before.
    db.execute_batch("BEGIN; INSERT INTO t VALUES (3)").unwrap();
    sqlite_cacheops::install(&other).unwrap();
    db.execute_batch("COMMIT").unwrap();
    assert!(!hit(&other));
    sqlite_cacheops::uninstall(&other);
}

#[test]
fn a_connection_that_was_there_before() {
    let site = Site::new();
    sqlite_cacheops::uninstall(&site.cache);
    let db = site.memory(T);
    // SAFETY: the connection is open, and used by this thread only.
    let watch = || unsafe { sqlite_cacheops::watch(db.handle()) };
    assert_eq!(watch(), Err(Error::NotInstalled));
    sqlite_cacheops::install(&site.cache).unwrap();
    assert_eq!(site.dropped_by(&db, [by("t", "id", 1)], "INSERT INTO t VALUES (1)"), [false]);
    assert_eq!(watch(), Ok(()));
    assert_eq!(site.dropped_by(&db, [by("t", "id", 2)], "INSERT INTO t VALUES (2)"), [true]);
}

#[test]
fn hooks_of_the_application_are_noticed() {
    let site = Site::new();
    let all = || [by("t", "id", 1), by("t", "id", 77)];
    // A commit hook of its own: rows are dropped all the same.
    let db = site.memory(T);
    db.commit_hook(Some(|| false)).unwrap();
    let sql = "DELETE FROM t; INSERT INTO t VALUES (1)";
    assert_eq!(site.dropped_by(&db, all(), sql), [true, false]);
    assert_eq!(site.dropped_by(&db, all(), &format!("BEGIN; {sql}; COMMIT")), [true, false]);
    // Its own trace: statements are not seen any more.
    let db = site.memory(T);
    fn ignore(_: TraceEvent<'_>) {}
    db.trace_v2(TraceEventCodes::SQLITE_TRACE_STMT, Some(ignore));
    site.keep(&all());
    db.execute_batch("INSERT INTO t VALUES (1)").unwrap();
    drop(db);
    assert!(!site.is_hit(&by("t", "id", 1)));
    assert!(site.is_hit(&by("t", "id", 77)));
    // A preupdate hook of its own: nothing is known of rows.
    let db = site.memory(T);
    let none = "DELETE FROM t WHERE id = 5";
    assert_eq!(site.dropped_by(&db, all(), none), [false, false]);
    // SAFETY: the connection is open; no hook replaces ours.
    unsafe { sqlite3_preupdate_hook(db.handle().cast(), None, std::ptr::null_mut()) };
    assert_eq!(site.dropped_by(&db, all(), sql), [true, true]);
    assert_eq!(site.dropped_by(&db, all(), &format!("BEGIN; {sql}; COMMIT")), [true, true]);
}

unsafe extern "C" {
    fn sqlite3_preupdate_hook(
        db: *mut std::ffi::c_void,
        hook: Option<unsafe extern "C" fn()>,
        context: *mut std::ffi::c_void,
    ) -> *mut std::ffi::c_void;
}

#[test]
fn a_schema_that_cannot_be_read_widens() {
    use rusqlite::hooks::{AuthAction, Authorization};
    let site = Site::new();
    let db = site.memory(T);
    let deny = |context: rusqlite::hooks::AuthContext<'_>| match context.action {
        AuthAction::Pragma { .. } => Authorization::Deny,
        _ => Authorization::Allow,
    };
    db.authorizer(Some(deny)).unwrap();
    let all = [by("t", "id", 1), by("t", "id", 77)];
    assert_eq!(site.dropped_by(&db, all, "INSERT INTO t VALUES (1)"), [true, true]);
}

#[test]
fn threads_with_connections_of_their_own() {
    let site = Site::new();
    let open = || {
        let db = site.file("threads.db");
        db.busy_timeout(std::time::Duration::from_secs(30)).unwrap();
        db
    };
    open().execute_batch("CREATE TABLE t (id INTEGER PRIMARY KEY, x INT)").unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (site, db): (&Site, Connection) = (&site, open());
            scope.spawn(move || {
                for n in 0..50 {
                    let id = thread * 1000 + n;
                    site.keep(&[by("t", "id", id)]);
                    db.execute("INSERT INTO t VALUES (?, 0)", [id]).unwrap();
                    assert!(!site.is_hit(&by("t", "id", id)));
                }
            });
        }
    });
}

#[test]
fn a_panic_in_a_hook() {
    let site = Site::new();
    let cache = Cacheops::builder()
        .on_cache_invalidated(|_| panic!("an observer, in the hook that delivers"))
        .build()
        .unwrap();
    sqlite_cacheops::install(&cache).unwrap();
    let db = site.memory(T);
    let dropped = site.dropped([by("t", "id", 1)], || {
        db.execute_batch("INSERT INTO t VALUES (1)").unwrap();
        db.execute_batch("SELECT 1").unwrap();
    });
    assert_eq!(dropped, [true]);
    let dropped = site.dropped([by("t", "id", 2)], || {
        db.execute_batch("INSERT INTO t VALUES (2)").unwrap();
        db.execute_batch("SELECT 1").unwrap();
    });
    assert_eq!(dropped, [true]);
    sqlite_cacheops::uninstall(&cache);
}

/// The application defines a function of the name that the crate has taken, or watches a
/// connection twice: no hook is left that would find what has been freed.
#[test]
fn hooks_end_with_their_state() {
    use rusqlite::ffi;
    use std::ptr;

    unsafe extern "C" fn own(
        _: *mut ffi::sqlite3_context,
        _: std::ffi::c_int,
        _: *mut *mut ffi::sqlite3_value,
    ) {
    }
    let site = Site::new();
    let db = site.memory(T);
    // SAFETY: the connection is open, and of this thread.
    unsafe {
        assert_eq!(sqlite_cacheops::watch(db.handle()), Ok(()));
        assert_eq!(site.dropped_by(&db, [by("t", "id", 1)], "INSERT INTO t VALUES (1)"), [true]);
        db.commit_hook(Some(|| false)).unwrap();
        assert_eq!(sqlite_cacheops::watch(db.handle()), Err(Error::HookReplaced));
        let name = c"cacheops_watched".as_ptr();
        let (utf8, none) = (ffi::SQLITE_UTF8, ptr::null_mut());
        let code = ffi::sqlite3_create_function_v2(
            db.handle(),
            name,
            0,
            utf8,
            none,
            Some(own),
            None,
            None,
            None,
        );
        assert_eq!(code, ffi::SQLITE_OK);
        assert!(ffi::sqlite3_commit_hook(db.handle(), None, none).is_null());
        assert!(ffi::sqlite3_rollback_hook(db.handle(), None, none).is_null());
    }
    db.execute_batch("INSERT INTO t VALUES (2); BEGIN; DELETE FROM t; ROLLBACK").unwrap();
}
