//! Rows as SQLite holds them in a hook, for serde.

use std::ffi::c_int;
use std::slice;

use serde::ser::{Serialize, SerializeSeq, SerializeStruct, Serializer};

use crate::ffi::{self, Value};
use crate::schema::Table;

/// Longer values are left out, so that a queryset that compares with one is dropped
/// with its table: nobody looks rows up by values this long, and copying them is dear.
const LONGEST: usize = 4096;

/// A row under a hook. `value` gives the value of a column, which is valid as long as
/// the hook runs.
pub(crate) struct Row<'a, V: Fn(c_int) -> Option<*mut Value>> {
    pub(crate) table: &'a Table,
    pub(crate) value: V,
}

impl<V: Fn(c_int) -> Option<*mut Value>> Serialize for Row<'_, V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let columns = self.table.columns();
        let mut row = serializer.serialize_struct("row", columns.len())?;
        for &(index, name) in columns {
            // A column without a value is missing in the row, so that querysets by it
            // are dropped with the table.
            if let Some(value) = (self.value)(index) {
                row.serialize_field(name, &Cell(value))?;
            }
        }
        row.end()
    }
}

/// A value of a column.
struct Cell(*mut Value);

impl Serialize for Cell {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let value = self.0;
        // SAFETY: SQLite returned the value without an error, in a hook that is running.
        match unsafe { ffi::sqlite3_value_type(value) } {
            // SAFETY: as above.
            ffi::INTEGER => serializer.serialize_i64(unsafe { ffi::sqlite3_value_int64(value) }),
            // SAFETY: as above.
            ffi::FLOAT => serializer.serialize_f64(unsafe { ffi::sqlite3_value_double(value) }),
            ffi::NULL => serializer.serialize_none(),
            kind @ (ffi::TEXT | ffi::BLOB) => match bytes(value, kind) {
                Some(bytes) if bytes.len() > LONGEST => unknown(serializer),
                Some(bytes) if kind == ffi::BLOB => serializer.serialize_bytes(bytes),
                Some(bytes) => match str::from_utf8(bytes) {
                    Ok(text) => serializer.serialize_str(text),
                    Err(_) => unknown(serializer),
                },
                None => unknown(serializer),
            },
            _ => unknown(serializer),
        }
    }
}

/// The bytes of a text or a blob; `None` if SQLite had no memory for them.
fn bytes<'a>(value: *mut Value, kind: c_int) -> Option<&'a [u8]> {
    // SAFETY: the value is valid; text is asked for before its length, as SQLite wants it
    // (a conversion to UTF-8 changes the length); the bytes live as long as the value,
    // which nothing changes while the hook serializes it.
    unsafe {
        let start = match kind {
            ffi::TEXT => ffi::sqlite3_value_text(value),
            _ => ffi::sqlite3_value_blob(value).cast(),
        };
        let length = usize::try_from(ffi::sqlite3_value_bytes(value)).ok()?;
        match (start.is_null(), length) {
            (_, 0) => Some(&[]),
            (true, _) => None,
            (false, _) => Some(slice::from_raw_parts(start, length)),
        }
    }
}

/// Something that is no single value: the core then takes the column as missing.
fn unknown<S: Serializer>(serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_seq(Some(0))?.end()
}
