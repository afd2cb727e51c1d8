//! Why a query is not kept.

use std::borrow::Cow;
use std::fmt;

/// Why the result of a query must not be kept, in words for the person who
/// wrote it.
///
/// ```
/// use cacheops_sql::{Dialect, RefusalKind, Schema, Sql};
///
/// let sql = Sql::new(Dialect::Sqlite, Schema::new());
/// let refusal = sql.statement("SELECT random()").refusal().cloned().unwrap();
/// assert_eq!(refusal.kind(), RefusalKind::Function);
/// assert_eq!(
///     refusal.to_string(),
///     "the function `random` is not known to give the same result each time",
/// );
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    kind: RefusalKind,
    detail: Cow<'static, str>,
}

/// The kinds of reasons for which a query is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RefusalKind {
    /// The text is no SQL that the parser understands, or several statements.
    Unparsed,
    /// The statement is no query: it writes, or does something else.
    NotAQuery,
    /// A function that may give another result each time, the clock, or one
    /// that is not on the list.
    Function,
    /// The session: the user, a variable, a temporary table.
    Session,
    /// `FOR UPDATE` and its kin: the lock is the purpose.
    Lock,
    /// A table that the schema does not know, or that no event of a write
    /// names: a system table, a virtual table, a function in `FROM`.
    Table,
    /// The query reads no table, so that nothing could ever invalidate it.
    NoTable,
    /// A construct that is not understood.
    Construct,
    /// The values do not fit the parameters.
    Parameters,
}

impl Refusal {
    pub(crate) fn new(kind: RefusalKind, detail: impl Into<Cow<'static, str>>) -> Self {
        Refusal { kind, detail: detail.into() }
    }

    pub(crate) fn volatile(function: &str) -> Self {
        let why =
            format!("the function `{function}` is not known to give the same result each time");
        Refusal::new(RefusalKind::Function, why)
    }

    pub(crate) fn no_table() -> Self {
        let why = "the query reads no table, so that no write could invalidate it";
        Refusal::new(RefusalKind::NoTable, why)
    }

    /// What kind of reason it is.
    #[must_use]
    pub fn kind(&self) -> RefusalKind {
        self.kind
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

impl std::error::Error for Refusal {}
