//! What is called of SQLite: its stable C interface, declared here, so that any
//! version of `libsqlite3-sys` (or what takes its place) serves.

use std::ffi::{c_char, c_int, c_uint, c_void};

// Links it. Its declarations differ from version to version and are not used.
use libsqlite3_sys as _;

/// A connection.
#[repr(C)]
pub(crate) struct Db {
    _opaque: [u8; 0],
}

/// A prepared statement.
#[repr(C)]
pub(crate) struct Stmt {
    _opaque: [u8; 0],
}

/// A file, as the layer below SQLite has it.
#[repr(C)]
pub(crate) struct File {
    pub(crate) methods: *const FileMethods,
}

/// What can be done with a file, up to what is called of it.
#[repr(C)]
pub(crate) struct FileMethods {
    /// From 2 on there are those of shared memory.
    pub(crate) version: c_int,
    close: *const c_void,
    pub(crate) read:
        unsafe extern "C" fn(*mut File, buffer: *mut c_void, length: c_int, offset: i64) -> c_int,
    write: *const c_void,
    truncate: *const c_void,
    sync: *const c_void,
    size: *const c_void,
    lock: *const c_void,
    unlock: *const c_void,
    check_reserved_lock: *const c_void,
    file_control: *const c_void,
    sector_size: *const c_void,
    device_characteristics: *const c_void,
    pub(crate) shm_map: Option<
        unsafe extern "C" fn(
            *mut File,
            region: c_int,
            size: c_int,
            extend: c_int,
            mapped: *mut *mut c_void,
        ) -> c_int,
    >,
}

/// A value of a row.
#[repr(C)]
pub(crate) struct Value {
    _opaque: [u8; 0],
}

pub(crate) const OK: c_int = 0;
pub(crate) const ROW: c_int = 100;

pub(crate) const OPEN_READWRITE: c_int = 0x2;
pub(crate) const OPEN_NOMUTEX: c_int = 0x8000;

/// Asks for the [`File`] of a database.
pub(crate) const FILE_POINTER: c_int = 7;
/// Asks how often a connection has seen a database change, by itself or by others.
pub(crate) const DATA_VERSION: c_int = 35;
/// A file ends before what was to be read; the rest has become zeros.
pub(crate) const SHORT_READ: c_int = 522;

pub(crate) const DELETE: c_int = 9;
pub(crate) const INSERT: c_int = 18;

pub(crate) const INTEGER: c_int = 1;
pub(crate) const FLOAT: c_int = 2;
pub(crate) const TEXT: c_int = 3;
pub(crate) const BLOB: c_int = 4;
pub(crate) const NULL: c_int = 5;

pub(crate) const TRACE_STMT: c_uint = 0x01;
pub(crate) const TRACE_PROFILE: c_uint = 0x02;

pub(crate) const TXN_WRITE: c_int = 2;

pub(crate) const UTF8: c_int = 1;
pub(crate) const DIRECTONLY: c_int = 0x0008_0000;

pub(crate) type PreupdateHook = unsafe extern "C" fn(
    context: *mut c_void,
    db: *mut Db,
    operation: c_int,
    database: *const c_char,
    table: *const c_char,
    old_rowid: i64,
    new_rowid: i64,
);
pub(crate) type CommitHook = unsafe extern "C" fn(*mut c_void) -> c_int;
pub(crate) type RollbackHook = unsafe extern "C" fn(*mut c_void);
pub(crate) type TraceCallback =
    unsafe extern "C" fn(c_uint, *mut c_void, *mut c_void, *mut c_void) -> c_int;
pub(crate) type Destructor = unsafe extern "C" fn(*mut c_void);
pub(crate) type ScalarFunction =
    unsafe extern "C" fn(context: *mut c_void, count: c_int, values: *mut *mut Value);
pub(crate) type EntryPoint =
    unsafe extern "C" fn(*mut Db, *mut *mut c_char, *const c_void) -> c_int;

unsafe extern "C" {
    pub(crate) fn sqlite3_auto_extension(entry: EntryPoint) -> c_int;
    pub(crate) fn sqlite3_cancel_auto_extension(entry: EntryPoint) -> c_int;

    pub(crate) fn sqlite3_libversion_number() -> c_int;

    pub(crate) fn sqlite3_commit_hook(
        db: *mut Db,
        hook: Option<CommitHook>,
        context: *mut c_void,
    ) -> *mut c_void;
    pub(crate) fn sqlite3_rollback_hook(
        db: *mut Db,
        hook: Option<RollbackHook>,
        context: *mut c_void,
    ) -> *mut c_void;
    pub(crate) fn sqlite3_trace_v2(
        db: *mut Db,
        mask: c_uint,
        callback: Option<TraceCallback>,
        context: *mut c_void,
    ) -> c_int;
    pub(crate) fn sqlite3_create_function_v2(
        db: *mut Db,
        name: *const c_char,
        arguments: c_int,
        flags: c_int,
        context: *mut c_void,
        function: Option<ScalarFunction>,
        step: Option<ScalarFunction>,
        last: Option<Destructor>,
        destroy: Option<Destructor>,
    ) -> c_int;

    pub(crate) fn sqlite3_get_autocommit(db: *mut Db) -> c_int;
    pub(crate) fn sqlite3_txn_state(db: *mut Db, schema: *const c_char) -> c_int;
    pub(crate) fn sqlite3_total_changes(db: *mut Db) -> c_int;
    pub(crate) fn sqlite3_sql(statement: *mut Stmt) -> *const c_char;
    pub(crate) fn sqlite3_stmt_busy(statement: *mut Stmt) -> c_int;
    pub(crate) fn sqlite3_stmt_readonly(statement: *mut Stmt) -> c_int;

    pub(crate) fn sqlite3_db_filename(db: *mut Db, database: *const c_char) -> *const c_char;
    pub(crate) fn sqlite3_open_v2(
        file: *const c_char,
        db: *mut *mut Db,
        flags: c_int,
        vfs: *const c_char,
    ) -> c_int;
    pub(crate) fn sqlite3_close(db: *mut Db) -> c_int;
    pub(crate) fn sqlite3_file_control(
        db: *mut Db,
        database: *const c_char,
        operation: c_int,
        argument: *mut c_void,
    ) -> c_int;
    pub(crate) fn sqlite3_prepare_v2(
        db: *mut Db,
        sql: *const c_char,
        length: c_int,
        statement: *mut *mut Stmt,
        tail: *mut *const c_char,
    ) -> c_int;
    pub(crate) fn sqlite3_step(statement: *mut Stmt) -> c_int;
    pub(crate) fn sqlite3_finalize(statement: *mut Stmt) -> c_int;
    pub(crate) fn sqlite3_column_text(statement: *mut Stmt, column: c_int) -> *const c_char;
    pub(crate) fn sqlite3_column_int64(statement: *mut Stmt, column: c_int) -> i64;

    pub(crate) fn sqlite3_value_type(value: *mut Value) -> c_int;
    pub(crate) fn sqlite3_value_int64(value: *mut Value) -> i64;
    pub(crate) fn sqlite3_value_double(value: *mut Value) -> f64;
    pub(crate) fn sqlite3_value_bytes(value: *mut Value) -> c_int;
    pub(crate) fn sqlite3_value_text(value: *mut Value) -> *const u8;
    pub(crate) fn sqlite3_value_blob(value: *mut Value) -> *const c_void;
}

type SetPreupdateHook = unsafe extern "C" fn(
    db: *mut Db,
    hook: Option<PreupdateHook>,
    context: *mut c_void,
) -> *mut c_void;
type PreupdateValue =
    unsafe extern "C" fn(db: *mut Db, column: c_int, value: *mut *mut Value) -> c_int;
type PreupdateInteger = unsafe extern "C" fn(db: *mut Db) -> c_int;

/// The functions that SQLite has only if it was compiled with
/// `SQLITE_ENABLE_PREUPDATE_HOOK`.
#[repr(C)]
struct Optional {
    hook: Option<SetPreupdateHook>,
    old: Option<PreupdateValue>,
    new: Option<PreupdateValue>,
    blobwrite: Option<PreupdateInteger>,
}

/// The functions of the preupdate hook.
#[derive(Clone, Copy)]
pub(crate) struct Preupdate {
    pub(crate) hook: SetPreupdateHook,
    pub(crate) old: PreupdateValue,
    pub(crate) new: PreupdateValue,
    pub(crate) blobwrite: PreupdateInteger,
}

/// The preupdate hook of the SQLite that is linked, if it has one.
pub(crate) fn preupdate() -> Option<Preupdate> {
    let found = optional();
    Some(Preupdate {
        hook: found.hook?,
        old: found.old?,
        new: found.new?,
        blobwrite: found.blobwrite?,
    })
}

// Weak references: where SQLite lacks the functions, the program links all the same,
// their addresses are null, and `install` says what to set.
#[cfg(all(unix, not(target_vendor = "apple")))]
macro_rules! weak {
    ($name:literal) => {
        concat!(".weak ", $name, "\n", word!(), " ", $name, "\n")
    };
}
#[cfg(target_vendor = "apple")]
macro_rules! weak {
    ($name:literal) => {
        concat!(".weak_reference _", $name, "\n", word!(), " _", $name, "\n")
    };
}
#[cfg(all(unix, target_pointer_width = "64"))]
macro_rules! word {
    () => {
        ".quad"
    };
}
#[cfg(all(unix, not(target_pointer_width = "64")))]
macro_rules! word {
    () => {
        ".long"
    };
}

#[cfg(all(unix, not(target_vendor = "apple")))]
std::arch::global_asm!(concat!(
    ".pushsection .data.rel.ro.cacheops_sqlite, \"aw\"\n",
    ".balign 8\n",
    ".weak cacheops_sqlite_preupdate\n",
    ".hidden cacheops_sqlite_preupdate\n",
    "cacheops_sqlite_preupdate:\n",
    weak!("sqlite3_preupdate_hook"),
    weak!("sqlite3_preupdate_old"),
    weak!("sqlite3_preupdate_new"),
    weak!("sqlite3_preupdate_blobwrite"),
    ".popsection\n",
));
#[cfg(target_vendor = "apple")]
std::arch::global_asm!(concat!(
    ".section __DATA,__const\n",
    ".p2align 3\n",
    ".private_extern _cacheops_sqlite_preupdate\n",
    ".globl _cacheops_sqlite_preupdate\n",
    "_cacheops_sqlite_preupdate:\n",
    weak!("sqlite3_preupdate_hook"),
    weak!("sqlite3_preupdate_old"),
    weak!("sqlite3_preupdate_new"),
    weak!("sqlite3_preupdate_blobwrite"),
    ".text\n",
));

#[cfg(unix)]
fn optional() -> &'static Optional {
    unsafe extern "C" {
        static cacheops_sqlite_preupdate: Optional;
    }
    // SAFETY: the table above has this layout, four pointers, and nobody writes to
    // it after the program was loaded.
    unsafe { &cacheops_sqlite_preupdate }
}

// Elsewhere the references are ordinary ones: a SQLite without the hook fails to link,
// and the linker names what it lacks.
#[cfg(not(unix))]
fn optional() -> &'static Optional {
    unsafe extern "C" {
        fn sqlite3_preupdate_hook(
            db: *mut Db,
            hook: Option<PreupdateHook>,
            context: *mut c_void,
        ) -> *mut c_void;
        fn sqlite3_preupdate_old(db: *mut Db, column: c_int, value: *mut *mut Value) -> c_int;
        fn sqlite3_preupdate_new(db: *mut Db, column: c_int, value: *mut *mut Value) -> c_int;
        fn sqlite3_preupdate_blobwrite(db: *mut Db) -> c_int;
    }
    static FOUND: Optional = Optional {
        hook: Some(sqlite3_preupdate_hook),
        old: Some(sqlite3_preupdate_old),
        new: Some(sqlite3_preupdate_new),
        blobwrite: Some(sqlite3_preupdate_blobwrite),
    };
    &FOUND
}
