//! The hooks of a connection: what SQLite calls. They ask the connection for what is
//! to be done, and do it.

use std::cell::Cell;
use std::ffi::{CStr, CString, c_char, c_int, c_uint, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crate::barrier::Commit;
use crate::connection::{Ended, State, Status};
use crate::error::Error;
use crate::ffi::{self, Db, Preupdate, Stmt, Value};
use crate::file::File;
use crate::monitor;
use crate::schema::{self, Table};
use crate::transaction::event;
use crate::value::Row;

/// A connection under watch. SQLite owns it, through a function of the connection whose
/// destructor it calls when the connection is gone.
pub(crate) struct Connection {
    db: Handle,
    state: Mutex<State>,
    /// A statement of ours runs, which is not to be looked at.
    asking: AtomicBool,
    panicked: AtomicBool,
    /// Nothing is known that a statement that only reads could bring to an end.
    idle: AtomicBool,
    /// The files of its databases, by the names that these have on it.
    files: Mutex<Vec<(CString, Arc<File>)>>,
    myself: Weak<Connection>,
}

#[derive(Clone, Copy)]
struct Handle(*mut Db);

// SAFETY: the handle is only used inside hooks, which SQLite calls in the thread that
// uses the connection; other threads only hold it.
unsafe impl Send for Handle {}
// SAFETY: as above.
unsafe impl Sync for Handle {}

/// Sets the hooks of a connection. It may have attached `other_databases` already.
///
/// # Safety
///
/// `db` is an open connection that no other thread uses meanwhile.
pub(crate) unsafe fn attach(
    db: *mut Db,
    preupdate: Preupdate,
    other_databases: bool,
) -> Result<(), Error> {
    let connection = Arc::new_cyclic(|myself| Connection {
        db: Handle(db),
        state: Mutex::default(),
        asking: AtomicBool::new(false),
        panicked: AtomicBool::new(false),
        idle: AtomicBool::new(false),
        files: Mutex::default(),
        myself: myself.clone(),
    });
    connection.add_file(c"main");
    let watched = Arc::clone(&connection);
    let context = Arc::into_raw(connection).cast_mut().cast::<c_void>();
    // SAFETY: the connection is open. SQLite calls `on_close` once, also if it refuses
    // the function, and that takes the hooks off before it gives the reference back.
    unsafe {
        DETACHED_OTHERS.set(false);
        let code = ffi::sqlite3_create_function_v2(
            db,
            c"cacheops_watched".as_ptr(),
            0,
            ffi::UTF8 | ffi::DIRECTONLY,
            context,
            Some(nothing),
            None,
            None,
            Some(on_close),
        );
        if code != ffi::OK {
            return Err(Error::Refused(code));
        }
        let replaced = [
            (preupdate.hook)(db, Some(on_row), context),
            ffi::sqlite3_commit_hook(db, Some(on_commit), context),
            ffi::sqlite3_rollback_hook(db, Some(on_rollback), context),
        ];
        let mask = ffi::TRACE_STMT | ffi::TRACE_PROFILE;
        let code = ffi::sqlite3_trace_v2(db, mask, Some(on_trace), context);
        if other_databases {
            watched.look_at_databases();
        }
        let is_free = replaced.iter().all(|context| context.is_null());
        match is_free && !DETACHED_OTHERS.take() {
            _ if code != ffi::OK => Err(Error::Refused(code)),
            false => Err(Error::HookReplaced),
            true => Ok(()),
        }
    }
}

impl Connection {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where the connection is. Only in a hook of it.
    fn status(&self) -> Status {
        let db = self.db.0;
        // SAFETY: a hook of the connection runs, so it is open and this thread's.
        unsafe {
            Status {
                writing: ffi::sqlite3_txn_state(db, ptr::null()) == ffi::TXN_WRITE,
                autocommit: ffi::sqlite3_get_autocommit(db) != 0,
                changes: ffi::sqlite3_total_changes(db),
            }
        }
    }

    /// Does what has come due. Delivering may wait for a server and call the
    /// application's observers: the state is not borrowed, and no lock of SQLite's
    /// files is held.
    fn carry_out(&self, ended: Ended) {
        for commit in ended.rolled_back {
            commit.rolled_back();
        }
        for commit in ended.committed {
            commit.committed();
        }
        if !ended.late.events.is_empty() {
            Commit::begin(ended.late, Vec::new()).committed();
        }
        if ended.attached {
            self.look_at_databases();
        }
    }

    /// Keeps an eye on the file of a database. Only in a hook.
    fn add_file(&self, database: &CStr) {
        // SAFETY: the connection is open and this thread's; SQLite returns null or a text
        // that ends with a zero, which lives as long as the database is attached.
        let path = unsafe {
            let path = ffi::sqlite3_db_filename(self.db.0, database.as_ptr());
            (!path.is_null()).then(|| CStr::from_ptr(path).to_string_lossy().into_owned())
        };
        if let Some(path) = path.filter(|path| !path.is_empty()) {
            let file = monitor::watch(path.into());
            self.files().push((database.to_owned(), file));
        }
    }

    /// Databases were attached or detached. Only in a hook.
    fn look_at_databases(&self) {
        let mut names = Vec::new();
        // SAFETY: the connection is open and this thread's.
        self.asking(|| unsafe {
            schema::rows(self.db.0, "PRAGMA database_list", |row| {
                names.extend(row.text(1).and_then(|name| CString::new(name).ok()));
            })
        });
        self.files().clear();
        names.iter().for_each(|name| self.add_file(name));
    }

    fn files(&self) -> MutexGuard<'_, Vec<(CString, Arc<File>)>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The files that a commit changes. Only in a hook.
    fn written(&self, databases: Option<&[CString]>) -> Vec<Arc<File>> {
        let is_written = |name: &CString| match databases {
            Some(databases) => databases.contains(name),
            // SAFETY: a hook of the connection runs, and the name ends with a zero.
            None => unsafe { ffi::sqlite3_txn_state(self.db.0, name.as_ptr()) == ffi::TXN_WRITE },
        };
        let files = self.files();
        files
            .iter()
            .filter(|(name, _)| is_written(name))
            .map(|(_, file)| Arc::clone(file))
            .collect()
    }

    /// Ends the commits that are over, though no hook has told. Whether none is left.
    pub(crate) fn end_commits(&self) -> bool {
        let (over, is_one_left) = self.state().over();
        over.into_iter().for_each(Commit::committed);
        !is_one_left
    }

    /// Runs what looks at the schema, without seeing its own statements.
    fn asking<R>(&self, ask: impl FnOnce() -> R) -> R {
        self.asking.store(true, Ordering::Relaxed);
        let answer = ask();
        self.asking.store(false, Ordering::Relaxed);
        answer
    }

    /// The table of the row that a hook shows.
    fn table(&self, state: &mut State, database: &CStr, name: &CStr) -> Arc<Table> {
        let db = self.db.0;
        let traced = state.is_traced();
        // SAFETY: a hook of the connection runs, so it is open and this thread's.
        let version = || self.asking(|| unsafe { schema::version(db, database) });
        // SAFETY: as above.
        let changes_seen = || unsafe { schema::changes_seen(db, database) };
        // SAFETY: as above.
        let read = || self.asking(|| unsafe { Table::read(db, database, name) });
        state.schema().table(database, name, traced, changes_seen, version, read)
    }

    fn row(&self, preupdate: Preupdate, operation: c_int, database: &CStr, name: &CStr) {
        self.idle.store(false, Ordering::Relaxed);
        let mut state = self.state();
        if state.installed().is_empty() {
            return;
        }
        let table = self.table(&mut state, database, name);
        let db = self.db.0;
        let old = |column| {
            let value = value(preupdate.old, db, column)?;
            // SAFETY: SQLite has returned the value in this hook.
            let is_null = || unsafe { ffi::sqlite3_value_type(value) } == ffi::NULL;
            (!(table.is_doubtful(column) && is_null())).then_some(value)
        };
        let old = Row { table: &table, value: old };
        let new = Row { table: &table, value: |column| value(preupdate.new, db, column) };
        let old = (operation != ffi::INSERT).then_some(&old);
        let new = (operation != ffi::DELETE).then_some(&new);
        // SAFETY: the preupdate hook of this connection runs.
        let is_blob = unsafe { (preupdate.blobwrite)(db) } >= 0;
        // A write into a blob shows the row as it was, and not as it will be.
        let event = (!is_blob).then_some(|| event(&table, old, new));
        state.row(database, &table, event);
    }

    fn commit(&self) {
        self.idle.store(false, Ordering::Relaxed);
        let beginning = {
            let mut state = self.state();
            if state.installed().is_empty() {
                return;
            }
            state.panicked |= self.panicked.swap(false, Ordering::Relaxed);
            state.commit(self.status())
        };
        let files = self.written(beginning.databases.as_deref());
        if beginning.changes.events.is_empty() && files.is_empty() {
            return;
        }
        let redefines = beginning.databases.is_none();
        files.iter().for_each(|file| file.begin_commit(redefines));
        let commit = Commit::begin(beginning.changes, files);
        self.state().begun(commit);
        if beginning.open_ended {
            monitor::await_end(self.myself.clone());
        }
    }

    fn statement(&self, statement: *mut Stmt, text: *const c_char) {
        // SAFETY: SQLite passes a statement that is running.
        let sql = unsafe { ffi::sqlite3_sql(statement) };
        // A trigger announces itself by a comment in place of the text.
        if sql != text || sql.is_null() {
            return;
        }
        // SAFETY: as above.
        let writes = unsafe { ffi::sqlite3_stmt_readonly(statement) } == 0;
        let text = sql.cast::<u8>();
        // SAFETY: a text that ends with a zero: its second byte is read if the first is
        // not the zero.
        let selects = unsafe {
            text.read().eq_ignore_ascii_case(&b'S')
                && text.add(1).read().eq_ignore_ascii_case(&b'E')
        };
        if !writes && selects && self.idle.load(Ordering::Relaxed) {
            return;
        }
        // SAFETY: the text of a statement ends with a zero and lives as long as it.
        let sql = unsafe { CStr::from_ptr(sql) }.to_string_lossy();
        let status = self.status();
        self.idle.store(false, Ordering::Relaxed);
        let ended = self.state().statement(statement as usize, &sql, writes, status);
        self.carry_out(ended);
    }

    fn ended(&self, statement: *mut Stmt) {
        if self.idle.load(Ordering::Relaxed) {
            return;
        }
        let status = self.status();
        // SAFETY: SQLite passes a statement that it has not let go of yet.
        let resets = unsafe { ffi::sqlite3_stmt_busy(statement) } != 0;
        let ended = {
            let mut state = self.state();
            state.panicked |= self.panicked.swap(false, Ordering::Relaxed);
            let ended = state.ended(statement as usize, resets, status);
            self.idle.store(state.is_idle(), Ordering::Relaxed);
            ended
        };
        self.carry_out(ended);
    }
}

/// A value of the row that the preupdate hook shows.
fn value(
    of: unsafe extern "C" fn(*mut Db, c_int, *mut *mut Value) -> c_int,
    db: *mut Db,
    column: c_int,
) -> Option<*mut Value> {
    let mut value = ptr::null_mut();
    // SAFETY: the preupdate hook of this connection runs; SQLite refuses columns and
    // kinds of rows that there are none of.
    let code = unsafe { of(db, column, &raw mut value) };
    (code == ffi::OK && !value.is_null()).then_some(value)
}

/// Runs a hook. A panic ends here: whatever the hook was to add, everything counts as
/// changed.
///
/// # Safety
///
/// `context` is what [`attach`] gave to SQLite.
unsafe fn hook(context: *mut c_void, run: impl FnOnce(&Connection)) {
    // SAFETY: it points to a connection that SQLite owns a reference to, until
    // `on_close`, which takes the hooks off.
    let connection = unsafe { &*context.cast_const().cast::<Connection>() };
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| run(connection))) {
        connection.panicked.store(true, Ordering::Relaxed);
        connection.asking.store(false, Ordering::Relaxed);
        // Dropping it could panic again.
        std::mem::forget(panic);
    }
}

unsafe extern "C" fn on_row(
    context: *mut c_void,
    _db: *mut Db,
    operation: c_int,
    database: *const c_char,
    table: *const c_char,
    _old_rowid: i64,
    _new_rowid: i64,
) {
    // SAFETY: SQLite passes the context of `attach`, and names that end with a zero and
    // live as long as the hook.
    unsafe {
        hook(context, |connection| {
            if let Some(preupdate) = ffi::preupdate() {
                let (database, table) = (CStr::from_ptr(database), CStr::from_ptr(table));
                connection.row(preupdate, operation, database, table);
            }
        });
    }
}

unsafe extern "C" fn on_commit(context: *mut c_void) -> c_int {
    // SAFETY: SQLite passes the context of `attach`.
    unsafe { hook(context, Connection::commit) };
    // Zero lets the commit go on.
    0
}

unsafe extern "C" fn on_rollback(context: *mut c_void) {
    // SAFETY: SQLite passes the context of `attach`.
    unsafe {
        hook(context, |connection| {
            let ended = connection.state().rolled_back();
            connection.carry_out(ended);
        });
    }
}

unsafe extern "C" fn on_trace(
    event: c_uint,
    context: *mut c_void,
    statement: *mut c_void,
    detail: *mut c_void,
) -> c_int {
    // SAFETY: SQLite passes the context of `attach`, a statement that runs, and for
    // TRACE_STMT a text.
    unsafe {
        hook(context, |connection| {
            if connection.asking.load(Ordering::Relaxed) {
                return;
            }
            match event {
                ffi::TRACE_STMT => connection.statement(statement.cast(), detail.cast()),
                ffi::TRACE_PROFILE => connection.ended(statement.cast()),
                _ => {}
            }
        });
    }
    0
}

thread_local! {
    /// Whether `on_close` has taken off hooks that the application had set.
    static DETACHED_OTHERS: Cell<bool> = const { Cell::new(false) };
}

/// The function is gone, and nearly always with it the connection. But the application
/// can define one of the same name, or watch the connection again: then the connection
/// goes on, and its hooks must not find what is freed here.
unsafe extern "C" fn on_close(context: *mut c_void) {
    // SAFETY: SQLite passes the context of `attach`, and calls this once, in a thread that
    // holds the connection, whose memory is there until its functions are gone.
    unsafe {
        hook(context, |connection| {
            let db = connection.db.0;
            let detached = [
                ffi::preupdate().map_or(ptr::null_mut(), |preupdate| {
                    (preupdate.hook)(db, None, ptr::null_mut())
                }),
                ffi::sqlite3_commit_hook(db, None, ptr::null_mut()),
                ffi::sqlite3_rollback_hook(db, None, ptr::null_mut()),
            ];
            ffi::sqlite3_trace_v2(db, 0, None, ptr::null_mut());
            let is_other = |it: &*mut c_void| !it.is_null() && *it != context;
            DETACHED_OTHERS.set(detached.iter().any(is_other));
            let ended = {
                let mut state = connection.state();
                state.panicked |= connection.panicked.swap(false, Ordering::Relaxed);
                state.closed()
            };
            connection.carry_out(ended);
        });
        drop(Arc::from_raw(context.cast_const().cast::<Connection>()));
    }
}

/// The function by which SQLite owns the connection's state. It returns NULL.
unsafe extern "C" fn nothing(_: *mut c_void, _: c_int, _: *mut *mut Value) {}
