//! Values of conditions and of rows: their types, their normalized forms, and how
//! serde produces them.

mod forms;
mod letters;
mod number;
mod row;
mod serde_impl;
mod spelling;
mod temporal;

pub use row::Row;
use row::{Node, node_of};
pub(crate) use spelling::spell;

use serde::Serialize;

/// A single value of a condition or of a column.
///
/// If a database could treat two scalars as equal, they have one normalized form
/// in the key of a conjunction, whatever their Rust types. So a condition and a
/// changed row match: `1`, `1u8`, `1.0`, `"1"` and `true` are one, and so are
/// `2.5` and `2.50`, the instants of one day in UTC, a UUID with hyphens and
/// without, `Élan` and `ELAN`. Whole numbers are compared to 15 digits, fractions
/// to 6. If two values are merged that the database distinguishes, an
/// invalidation reaches more than necessary, never less.
///
/// Some values could be equal to several values that differ: letters on which
/// collations disagree (`ß`, `ä`), a date in another order than year, month, day,
/// a large float without a fraction, 16 bytes that are a UUID or text, an
/// interval, and text in brackets (an array, a range, JSON). A condition on such
/// a value narrows nothing. A row with such a value in a column that narrows
/// invalidates the whole table.
///
/// ```
/// use cacheops::Scalar;
///
/// assert_eq!(Scalar::from_serialize(&2.50).unwrap().spelling(), "2.5");
/// assert_eq!(Scalar::from_serialize(&"2.50").unwrap().spelling(), "2.5");
/// assert_eq!(Scalar::from_serialize(&true).unwrap().spelling(), "1");
/// assert_eq!(Scalar::from_serialize(&None::<i32>).unwrap().spelling(), "None");
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Scalar {
    /// SQL's `NULL`, Rust's `None` and `()`.
    Null,
    /// A boolean, normalized to `0` or `1`, as SQLite and MySQL store it.
    Bool(bool),
    /// Any integer that fits.
    Int(i128),
    /// An integer above [`i128::MAX`].
    BigInt(u128),
    /// A finite float; NaN and the infinities are refused at conversion.
    Float(f64),
    /// Text, and everything that serde writes as text: UUID, decimal, dates.
    Text(String),
    /// Binary data.
    Bytes(Vec<u8>),
}

impl Scalar {
    /// Converts a value with serde.
    ///
    /// # Errors
    ///
    /// If the value is a list, a map, NaN or infinite.
    pub fn from_serialize<T: Serialize + ?Sized>(value: &T) -> Result<Scalar, crate::Error> {
        match node_of(value) {
            Ok(Node::Scalar(scalar)) => Ok(scalar),
            Ok(Node::Row(_) | Node::Compound) => Err(crate::Error::invalid_queryset(
                "a condition compares with a single value, and this one is a list or a map",
            )),
            Err(why) => Err(crate::Error::invalid_queryset(why)),
        }
    }

    /// The normalized form inside the key of a conjunction, before escaping.
    /// A form of more than 64 bytes is replaced by its digest.
    #[must_use]
    pub fn spelling(&self) -> String {
        let mut out = String::new();
        let _ = spell(self, &mut out);
        out
    }
}
