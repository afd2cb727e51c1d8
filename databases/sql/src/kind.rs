//! Kinds of columns, and which values a column of a kind compares with exactly.

use cacheops::Scalar;

use crate::dialect::Dialect;

/// What a column holds, as far as its equality goes.
///
/// An equality narrows only where the database holds exactly those values
/// equal that the cache spells alike. So a column whose collation, type or
/// comparison is out of the ordinary is [`Other`](ColumnKind::Other).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ColumnKind {
    /// Whole numbers; in SQLite and MySQL booleans, too.
    Integer,
    /// Floating point.
    Real,
    /// Decimal numbers; in SQLite whatever has NUMERIC affinity.
    Decimal,
    /// PostgreSQL's `boolean`.
    Boolean,
    /// Text under a collation that the database came with.
    Text,
    /// Binary data.
    Bytes,
    /// PostgreSQL's `uuid`.
    Uuid,
    /// SQLite's columns without affinity: BLOB, or no type at all.
    Any,
    /// Anything else: never narrows.
    Other,
}

impl ColumnKind {
    /// The kind of a column of SQLite, by its declared type and its collation
    /// (empty for the default one).
    ///
    /// ```
    /// use cacheops_sql::ColumnKind;
    ///
    /// assert_eq!(ColumnKind::of_sqlite("VARCHAR(20)", "NOCASE"), ColumnKind::Text);
    /// assert_eq!(ColumnKind::of_sqlite("BIGINT", ""), ColumnKind::Integer);
    /// assert_eq!(ColumnKind::of_sqlite("TEXT", "german"), ColumnKind::Other);
    /// ```
    #[must_use]
    pub fn of_sqlite(declared: &str, collation: &str) -> Self {
        if !is_built_in(collation) {
            return ColumnKind::Other;
        }
        let declared = declared.to_ascii_uppercase();
        let has = |parts: &[&str]| parts.iter().any(|part| declared.contains(part));
        if has(&["INT"]) {
            ColumnKind::Integer
        } else if has(&["CHAR", "CLOB", "TEXT"]) {
            ColumnKind::Text
        } else if declared.is_empty() || has(&["BLOB"]) {
            ColumnKind::Any
        } else if has(&["REAL", "FLOA", "DOUB"]) {
            ColumnKind::Real
        } else {
            ColumnKind::Decimal
        }
    }

    /// The kind of a column of PostgreSQL, by the name of its type as
    /// `format_type` or `information_schema` writes it, and whether its collation
    /// is deterministic.
    ///
    /// ```
    /// use cacheops_sql::ColumnKind;
    ///
    /// assert_eq!(ColumnKind::of_postgres("character varying(20)", true), ColumnKind::Text);
    /// assert_eq!(ColumnKind::of_postgres("citext", true), ColumnKind::Other);
    /// assert_eq!(ColumnKind::of_postgres("timestamp with time zone", true), ColumnKind::Other);
    /// ```
    #[must_use]
    pub fn of_postgres(name: &str, is_deterministic: bool) -> Self {
        match bare_type(name).as_str() {
            "smallint" | "integer" | "bigint" | "int2" | "int4" | "int8" | "oid" => {
                ColumnKind::Integer
            }
            "real" | "double precision" | "float4" | "float8" => ColumnKind::Real,
            "numeric" | "decimal" => ColumnKind::Decimal,
            "boolean" | "bool" => ColumnKind::Boolean,
            "text" | "character varying" | "character" | "varchar" | "bpchar" | "name"
                if is_deterministic =>
            {
                ColumnKind::Text
            }
            "bytea" => ColumnKind::Bytes,
            "uuid" => ColumnKind::Uuid,
            _ => ColumnKind::Other,
        }
    }

    /// The kind of a column of MySQL, by the name of its type. The collations
    /// that it comes with are all known; what compares by number (`ENUM`, `SET`,
    /// `BIT`) or in many forms (dates) never narrows.
    ///
    /// ```
    /// use cacheops_sql::ColumnKind;
    ///
    /// assert_eq!(ColumnKind::of_mysql("bigint unsigned"), ColumnKind::Integer);
    /// assert_eq!(ColumnKind::of_mysql("enum('a','b')"), ColumnKind::Other);
    /// ```
    #[must_use]
    pub fn of_mysql(name: &str) -> Self {
        let name = bare_type(name);
        match name.split_ascii_whitespace().next().unwrap_or_default() {
            "tinyint" | "smallint" | "mediumint" | "int" | "integer" | "bigint" => {
                ColumnKind::Integer
            }
            "float" | "double" | "real" => ColumnKind::Real,
            "decimal" | "numeric" | "dec" => ColumnKind::Decimal,
            "char" | "varchar" | "tinytext" | "text" | "mediumtext" | "longtext" => {
                ColumnKind::Text
            }
            "varbinary" | "tinyblob" | "blob" | "mediumblob" | "longblob" => ColumnKind::Bytes,
            _ => ColumnKind::Other,
        }
    }

    const fn bit(self) -> u16 {
        1 << self as u16
    }
}

/// A type without what is in its parentheses.
fn bare_type(name: &str) -> String {
    name.split('(').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// Whether SQLite came with a collation; the empty name is the default one.
pub(crate) fn is_built_in(collation: &str) -> bool {
    collation.is_empty()
        || ["BINARY", "NOCASE", "RTRIM"].iter().any(|known| known.eq_ignore_ascii_case(collation))
}

/// The kinds of the columns that a value is compared with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Kinds(u16);

impl From<ColumnKind> for Kinds {
    fn from(kind: ColumnKind) -> Self {
        Kinds(kind.bit())
    }
}

impl Kinds {
    pub(crate) fn add(&mut self, kind: ColumnKind) {
        self.0 |= kind.bit();
    }

    fn has(self, kinds: &[ColumnKind]) -> bool {
        kinds.iter().any(|kind| self.0 & kind.bit() != 0)
    }

    fn only(self, kinds: &[ColumnKind]) -> bool {
        self.0 & !kinds.iter().fold(0, |bits, kind| bits | kind.bit()) == 0
    }

    /// Whether each row in which a column of one of these kinds equals `value`
    /// holds there what is spelled like it.
    pub(crate) fn are_exact(self, dialect: Dialect, value: &Scalar) -> bool {
        if self.has(&[ColumnKind::Other]) {
            return false;
        }
        match dialect {
            Dialect::Sqlite => self.sqlite(value),
            Dialect::Postgres => self.postgres(value),
            Dialect::MySql => self.mysql(value),
        }
    }

    /// Columns hold anything, and what is compared is turned into a number or
    /// text by the affinity of the column.
    fn sqlite(self, value: &Scalar) -> bool {
        use ColumnKind::{Decimal, Integer, Real};
        match value {
            Scalar::Bool(_) | Scalar::Bytes(_) => true,
            Scalar::Int(value) => i64::try_from(*value).is_ok(),
            Scalar::Float(value) => value.abs() < MOST_DIGITS,
            Scalar::Text(text) => !self.has(&[Integer, Real, Decimal]) || !is_long_number(text),
            _ => false,
        }
    }

    /// Values have types, and are of the column's or an error.
    fn postgres(self, value: &Scalar) -> bool {
        use ColumnKind::{Boolean, Bytes, Decimal, Integer, Real, Text, Uuid};
        match value {
            Scalar::Bool(_) => self.only(&[Boolean]),
            Scalar::Int(value) => {
                self.only(&[Integer]) || (self.only(&[Integer, Real, Decimal]) && is_short(*value))
            }
            Scalar::Float(value) => self.only(&[Real, Decimal]) && value.abs() < MOST_DIGITS,
            Scalar::Text(text) => {
                self.only(&[Text])
                    || (self.only(&[Integer]) && is_plain_integer(text))
                    || (self.only(&[Uuid]) && is_plain_uuid(text))
            }
            Scalar::Bytes(_) => self.only(&[Bytes]),
            _ => false,
        }
    }

    /// A text is turned into a number where it is compared with one, whatever
    /// follows the digits.
    fn mysql(self, value: &Scalar) -> bool {
        use ColumnKind::{Bytes, Decimal, Integer, Real, Text};
        match value {
            Scalar::Bool(_) => self.only(&[Integer]),
            Scalar::Int(value) => {
                self.only(&[Integer]) || (self.only(&[Integer, Real, Decimal]) && is_short(*value))
            }
            Scalar::Text(text) => {
                self.only(&[Text]) || (self.only(&[Integer]) && is_plain_integer(text))
            }
            Scalar::Bytes(_) => self.only(&[Bytes]),
            _ => false,
        }
    }
}

/// Whether columns of two kinds that are equal hold what is spelled alike.
pub(crate) fn meet(dialect: Dialect, one: ColumnKind, other: ColumnKind) -> bool {
    one != ColumnKind::Other
        && other != ColumnKind::Other
        && (dialect == Dialect::Sqlite || one == other)
}

/// Up to 15 digits a number is the same in every type of a column.
const MOST_DIGITS: f64 = 1e15;

fn is_short(value: i128) -> bool {
    value.unsigned_abs() < 1_000_000_000_000_000
}

/// A text that a column of numbers may take for one, of too many digits.
fn is_long_number(text: &str) -> bool {
    let bare = text.trim_start().trim_start_matches(['+', '-']);
    let may_be_one = bare.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    may_be_one && bare.bytes().filter(u8::is_ascii_digit).count() > 15
}

fn is_plain_integer(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    (1..=15).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit())
}

fn is_plain_uuid(text: &str) -> bool {
    let at = |(place, b): (usize, u8)| match place {
        8 | 13 | 18 | 23 => b == b'-',
        _ => b.is_ascii_hexdigit(),
    };
    text.len() == 36 && text.bytes().enumerate().all(at)
}
