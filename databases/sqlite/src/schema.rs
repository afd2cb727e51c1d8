//! What a table looks like: read on the connection that writes to it, once a version
//! of its schema.

use std::collections::HashSet;
use std::ffi::{CStr, CString, c_int, c_void};
use std::ptr;
use std::sync::{Mutex, PoisonError};

use crate::ffi::{self, Db, Stmt};

/// How many names of columns a process keeps. Columns beyond are left out of rows.
const MOST_NAMES: usize = 100_000;

/// A table, by the columns that a row of it has.
#[derive(Debug)]
pub(crate) struct Table {
    name: String,
    columns: Vec<(c_int, &'static str)>,
    /// Columns whose old value cannot be trusted if it is NULL.
    doubtful: Vec<c_int>,
    /// The virtual table whose data it holds.
    shadows: Option<String>,
}

impl Table {
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The columns whose values are stored, by number. Virtual generated columns are
    /// left out: a hook cannot know their values.
    pub(crate) fn columns(&self) -> &[(c_int, &'static str)] {
        &self.columns
    }

    /// Whether the old value of a column may be another one than NULL, if SQLite says
    /// that it is NULL: older versions do so of a column that was added later, for which
    /// the row has no value, and not its default.
    pub(crate) fn is_doubtful(&self, column: c_int) -> bool {
        self.doubtful.contains(&column)
    }

    pub(crate) fn shadows(&self) -> Option<&str> {
        self.shadows.as_deref()
    }

    /// Reads the columns of a table, and whether it holds the data of a virtual one.
    /// Where that fails, the table has no columns: its changes drop it as a whole.
    ///
    /// SQLite's own session extension asks the same pragma in the same hook.
    ///
    /// # Safety
    ///
    /// The connection is open, and this thread is the one that uses it.
    pub(crate) unsafe fn read(db: *mut Db, database: &CStr, table: &CStr) -> Table {
        let name = table.to_string_lossy().into_owned();
        /// The first that is known to give the default.
        const GIVES_DEFAULTS: c_int = 3_051_003;
        // SAFETY: it takes nothing and returns a constant.
        let is_old = unsafe { ffi::sqlite3_libversion_number() } < GIVES_DEFAULTS;
        let (mut columns, mut doubtful) = (Vec::new(), Vec::new());
        let sql = format!("PRAGMA {}.table_xinfo({})", quoted(database), quoted(table));
        // SAFETY: the caller's promise.
        let read = unsafe {
            rows(db, &sql, |row| {
                // 2: a virtual generated column.
                if row.integer(6) != 2
                    && let Ok(index) = c_int::try_from(row.integer(0))
                    && let Some(name) = row.text(1).and_then(|name| interned(&name))
                {
                    columns.push((index, name));
                    if is_old && row.text(4).is_some() {
                        doubtful.push(index);
                    }
                }
            })
        };
        if !read {
            columns.clear();
        }
        // SAFETY: the caller's promise.
        let shadows = unsafe { shadowed(db, database, &name) };
        Table { name, columns, doubtful, shadows }
    }
}

/// The virtual table whose data a table may hold: SQLite names such tables
/// `{virtual}_{what}`.
///
/// # Safety
///
/// As for [`Table::read`].
unsafe fn shadowed(db: *mut Db, database: &CStr, table: &str) -> Option<String> {
    if !table.contains('_') {
        return None;
    }
    let sql = format!(
        "SELECT name FROM {}.sqlite_master WHERE type = 'table' AND rootpage = 0 \
         AND sql LIKE 'CREATE VIRTUAL%'",
        quoted(database)
    );
    let lower = table.to_ascii_lowercase();
    let mut longest: Option<String> = None;
    // SAFETY: the caller's promise.
    unsafe {
        rows(db, &sql, |row| {
            let Some(name) = row.text(0) else { return };
            let prefix = format!("{}_", name.to_ascii_lowercase());
            if lower.starts_with(&prefix)
                && longest.as_ref().is_none_or(|other| other.len() < name.len())
            {
                longest = Some(name);
            }
        });
    }
    longest
}

/// The version of a database's schema; `None` if it cannot be read.
///
/// # Safety
///
/// As for [`Table::read`].
pub(crate) unsafe fn version(db: *mut Db, database: &CStr) -> Option<i64> {
    let mut version = None;
    let sql = format!("PRAGMA {}.schema_version", quoted(database));
    // SAFETY: the caller's promise.
    unsafe { rows(db, &sql, |row| version = Some(row.integer(0))) };
    version
}

/// How often a connection has seen a database change, by itself or by others; `None` if
/// it cannot tell. It is asked within a transaction.
///
/// # Safety
///
/// As for [`Table::read`].
pub(crate) unsafe fn changes_seen(db: *mut Db, database: &CStr) -> Option<u32> {
    let mut seen = 0_u32;
    let argument = (&raw mut seen).cast::<c_void>();
    // SAFETY: the caller's promise; SQLite writes an unsigned int to where it points.
    let code =
        unsafe { ffi::sqlite3_file_control(db, database.as_ptr(), ffi::DATA_VERSION, argument) };
    (code == ffi::OK).then_some(seen)
}

/// A row that a statement has returned.
pub(crate) struct Returned(*mut Stmt);

impl Returned {
    pub(crate) fn integer(&self, column: c_int) -> i64 {
        // SAFETY: the statement has just returned a row; a column that it lacks is NULL.
        unsafe { ffi::sqlite3_column_int64(self.0, column) }
    }

    pub(crate) fn text(&self, column: c_int) -> Option<String> {
        // SAFETY: as above; the text ends with a zero and is copied before the statement
        // goes on.
        unsafe {
            let text = ffi::sqlite3_column_text(self.0, column);
            (!text.is_null()).then(|| CStr::from_ptr(text.cast()).to_string_lossy().into_owned())
        }
    }
}

/// Runs a statement that only reads. Whether it came to its end.
///
/// # Safety
///
/// As for [`Table::read`].
pub(crate) unsafe fn rows(db: *mut Db, sql: &str, mut row: impl FnMut(&Returned)) -> bool {
    let Ok(sql) = CString::new(sql) else { return false };
    let mut statement = ptr::null_mut();
    // SAFETY: the caller's promise; the text ends with a zero; the statement is
    // finalized before this returns, and nobody else has it.
    unsafe {
        let prepared =
            ffi::sqlite3_prepare_v2(db, sql.as_ptr(), -1, &raw mut statement, ptr::null_mut());
        if prepared != ffi::OK {
            return false;
        }
        let statement = Finalized(statement);
        while ffi::sqlite3_step(statement.0) == ffi::ROW {
            row(&Returned(statement.0));
        }
        statement.end()
    }
}

/// A statement that is finalized, also when what looks at its rows panics.
struct Finalized(*mut Stmt);

impl Finalized {
    fn end(self) -> bool {
        let statement = self.0;
        std::mem::forget(self);
        // SAFETY: it was prepared, and is not used after this.
        unsafe { ffi::sqlite3_finalize(statement) == ffi::OK }
    }
}

impl Drop for Finalized {
    fn drop(&mut self) {
        // SAFETY: it was prepared, and is not used after this.
        unsafe { ffi::sqlite3_finalize(self.0) };
    }
}

/// A name in double quotes.
fn quoted(name: &CStr) -> String {
    format!("\"{}\"", name.to_string_lossy().replace('"', "\"\""))
}

/// The one copy of a column's name, in lower case as the core has it. It lives as long
/// as the process: rows are taken without copying names. `None` if there are too many.
fn interned(name: &str) -> Option<&'static str> {
    static NAMES: Mutex<Option<HashSet<&'static str>>> = Mutex::new(None);
    let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
    let names = names.get_or_insert_default();
    let name = name.to_lowercase();
    match names.get(name.as_str()) {
        Some(name) => Some(name),
        None if names.len() < MOST_NAMES => {
            let name: &'static str = Box::leak(name.into_boxed_str());
            names.insert(name);
            Some(name)
        }
        None => None,
    }
}
