//! Tags that an application adds.

use cacheops::QuerySet;
use minijinja::value::Kwargs;
use minijinja::{Error, ErrorKind, State, Value};

use crate::engine::MiniJinjaEngine;
use crate::querysets;

/// How the body of such a tag is cached.
pub type Caching = cacheops::template::Caching<MiniJinjaEngine>;

/// One use of such a tag: what the author passed, and where.
pub struct TagCall<'a> {
    pub(crate) state: &'a State<'a, 'a>,
    pub(crate) arguments: &'a [Value],
    pub(crate) kwargs: &'a Kwargs,
}

impl TagCall<'_> {
    /// A variable of the template; undefined if there is none with this name.
    #[must_use]
    pub fn lookup(&self, name: &str) -> Value {
        self.state.lookup(name).unwrap_or_default()
    }

    /// The arguments without a keyword.
    #[must_use]
    pub fn arguments(&self) -> &[Value] {
        self.arguments
    }

    /// The argument of a keyword; undefined if it was not given.
    #[must_use]
    pub fn keyword(&self, name: &str) -> Value {
        self.kwargs.get(name).unwrap_or_default()
    }

    /// The querysets in a value, such as an argument of the tag. It accepts
    /// everything that `cached_as` accepts.
    ///
    /// # Errors
    ///
    /// If the value is not a queryset.
    pub fn querysets(&self, value: &Value) -> Result<Vec<QuerySet>, Error> {
        querysets::all_of(value).map_err(|why| Error::new(ErrorKind::InvalidOperation, why))
    }

    /// The state of the engine.
    #[must_use]
    pub fn state(&self) -> &State<'_, '_> {
        self.state
    }
}

/// Statements of the engine, which cannot be names of tags.
pub(crate) const STATEMENTS: [&str; 22] = [
    "autoescape",
    "block",
    "break",
    "call",
    "continue",
    "do",
    "elif",
    "else",
    "extends",
    "filter",
    "for",
    "from",
    "if",
    "import",
    "include",
    "macro",
    "raw",
    "set",
    "super",
    "trans",
    "with",
    "without",
];

impl std::fmt::Debug for TagCall<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TagCall").field("arguments", &self.arguments).finish_non_exhaustive()
    }
}
