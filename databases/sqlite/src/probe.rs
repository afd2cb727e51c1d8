//! A connection of our own to a database file, which tells how many commits were made
//! to it, by whatever process.

use std::cell::Cell;
use std::ffi::{CString, c_int, c_void};
use std::path::Path;
use std::ptr;

use crate::ffi::{self, Db, File};
use crate::schema;

/// How many transactions have changed a database, as its file and the index of its
/// write-ahead log count. Both are parts of SQLite's file format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Counter {
    /// The database is in WAL mode, so the index counts.
    wal: bool,
    /// The change counter in the header of the file.
    file: u32,
    /// `iChange` in the header of the index.
    index: u32,
}

impl Counter {
    /// That of a database that has not been written yet.
    pub(crate) const EMPTY: Counter = Counter { wal: false, file: 0, index: 0 };

    /// The counter after one more commit.
    pub(crate) fn next(self) -> Counter {
        match self.wal {
            true => Counter { index: self.index.wrapping_add(1), ..self },
            false => Counter { file: self.file.wrapping_add(1), ..self },
        }
    }

    /// Whether there was no commit between the two. A checkpoint moves the counter of
    /// the file; a log that has just come into use begins to count anew.
    pub(crate) fn is_same(self, later: Counter) -> bool {
        match (self.wal, later.wal) {
            (true, true) => self.index == later.index,
            (false, false) => self.file == later.file,
            (false, true) => self.file == later.file && later.index == 0,
            (true, false) => false,
        }
    }

    pub(crate) fn is_wal(self) -> bool {
        self.wal
    }
}

thread_local! {
    static OPENING: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread is opening a connection of ours, which is not to be watched.
pub(crate) fn is_opening() -> bool {
    OPENING.get()
}

/// The connection. It never writes.
pub(crate) struct Probe {
    db: *mut Db,
    file: *mut File,
    /// It has read since the database is in WAL mode, so it has the index.
    has_index: bool,
}

// SAFETY: nothing of a connection belongs to a thread, and `&mut` keeps two threads from
// using it at a time.
unsafe impl Send for Probe {}

impl Probe {
    /// Opens a file that is there.
    pub(crate) fn open(path: &Path) -> Option<Probe> {
        let path = CString::new(path.to_str()?).ok()?;
        let mut db = ptr::null_mut();
        let flags = ffi::OPEN_READWRITE | ffi::OPEN_NOMUTEX;
        OPENING.set(true);
        // SAFETY: the path ends with a zero, and the result is closed below, also where
        // opening has failed.
        let code = unsafe { ffi::sqlite3_open_v2(path.as_ptr(), &raw mut db, flags, ptr::null()) };
        OPENING.set(false);
        let mut probe = Probe { db, file: ptr::null_mut(), has_index: false };
        if code != ffi::OK {
            return None;
        }
        let file = (&raw mut probe.file).cast::<c_void>();
        // SAFETY: the connection is open; SQLite writes a pointer to where `file` points.
        let code =
            unsafe { ffi::sqlite3_file_control(db, c"main".as_ptr(), ffi::FILE_POINTER, file) };
        // SAFETY: SQLite has given its file, which lives as long as the connection.
        let has_methods = !probe.file.is_null() && unsafe { !(*probe.file).methods.is_null() };
        (code == ffi::OK && has_methods).then_some(probe)
    }

    /// How many commits there were; `None` if that cannot be known now. It takes no
    /// lock, but for the first time after a database has got into WAL mode.
    pub(crate) fn counter(&mut self) -> Option<Counter> {
        let header = self.header()?;
        // The version that a writer has to know: 2 is WAL.
        let wal = header[18] == 2;
        let file = u32::from_be_bytes([header[24], header[25], header[26], header[27]]);
        let index = if wal { self.index()? } else { 0 };
        Some(Counter { wal, file, index })
    }

    /// Reads the database, for which no commit may be in its last steps. Whether it
    /// could, and the version of the schema.
    pub(crate) fn read(&mut self) -> Option<i64> {
        // SAFETY: the connection is open and borrowed.
        unsafe { schema::version(self.db, c"main") }
    }

    /// The names of tables and views.
    pub(crate) fn tables(&mut self) -> Option<Vec<String>> {
        let mut names = Vec::new();
        let sql = "SELECT name FROM sqlite_master WHERE type IN ('table', 'view')";
        // SAFETY: the connection is open and borrowed.
        let read = unsafe { schema::rows(self.db, sql, |row| names.extend(row.text(0))) };
        read.then_some(names)
    }

    /// The first bytes of the file.
    fn header(&mut self) -> Option<[u8; 28]> {
        let mut header = [0; 28];
        let buffer = header.as_mut_ptr().cast::<c_void>();
        // SAFETY: the file lives as long as the connection, and the buffer has 28 bytes.
        let code = unsafe {
            let read = (*(*self.file).methods).read;
            read(self.file, buffer, 28, 0)
        };
        (code == ffi::OK || code == ffi::SHORT_READ).then_some(header)
    }

    /// The count of commits in the index of the log.
    fn index(&mut self) -> Option<u32> {
        const REGION: c_int = 32_768;
        /// Each of the two copies of the header has it at this place.
        const COPIES: [usize; 2] = [8, 48 + 8];
        if !self.has_index {
            self.read()?;
            self.has_index = true;
        }
        let mut mapped = ptr::null_mut();
        // SAFETY: the file lives as long as the connection. SQLite maps the region, whose
        // first bytes are the header twice, and keeps it mapped as long as the connection
        // is open; other processes write to it, so it is read as volatile.
        unsafe {
            let methods = &*(*self.file).methods;
            let map = methods.shm_map.filter(|_| methods.version >= 2)?;
            if map(self.file, 0, REGION, 0, &raw mut mapped) != ffi::OK || mapped.is_null() {
                return None;
            }
            let count = |at| mapped.cast::<u8>().add(at).cast::<u32>().read_volatile();
            // A writer writes the second copy first.
            (0..100).find_map(|_| {
                let [first, second] = COPIES.map(count);
                (first == second).then_some(first)
            })
        }
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        // SAFETY: nothing is left of the connection: its statements are finalized.
        unsafe { ffi::sqlite3_close(self.db) };
    }
}
