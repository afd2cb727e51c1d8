//! Tags of the application's own.

use std::time::Duration;

use cacheops::{KeyWriter, QuerySet};
use minijinja::value::Kwargs;
use minijinja::{Error, ErrorKind, State, Value};

use crate::{keys, querysets};

/// A use of a tag of the application's own: what the author passed, and where.
pub struct TagCall<'a> {
    pub(crate) state: &'a State<'a, 'a>,
    pub(crate) arguments: &'a [Value],
    pub(crate) kwargs: &'a Kwargs,
}

impl TagCall<'_> {
    /// A variable of the template; undefined where it has none of the name.
    #[must_use]
    pub fn lookup(&self, name: &str) -> Value {
        self.state.lookup(name).unwrap_or_default()
    }

    /// The arguments without a keyword.
    #[must_use]
    pub fn arguments(&self) -> &[Value] {
        self.arguments
    }

    /// The argument of a keyword; undefined where it was not given.
    #[must_use]
    pub fn keyword(&self, name: &str) -> Value {
        self.kwargs.get(name).unwrap_or_default()
    }

    /// The querysets in a value: an argument of the tag, say. It takes what
    /// `cached_as` takes.
    ///
    /// # Errors
    ///
    /// A value that is no queryset.
    pub fn querysets(&self, value: &Value) -> Result<Vec<QuerySet>, Error> {
        querysets::all_of(value).map_err(|why| Error::new(ErrorKind::InvalidOperation, why))
    }

    /// The state of the engine.
    #[must_use]
    pub fn state(&self) -> &State<'_, '_> {
        self.state
    }
}

/// Statements of the engine, which a tag cannot be called like.
const STATEMENTS: [&str; 24] = [
    "autoescape",
    "block",
    "break",
    "cached",
    "cached_as",
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

/// Refuses a name that no tag can have.
pub(crate) fn check_name(name: &str) -> Result<(), Error> {
    let is_word = |c: char| c == '_' || c.is_ascii_alphanumeric();
    let why = if !name.chars().all(is_word) || !name.starts_with(|c: char| !c.is_ascii_digit()) {
        "a tag is called by letters, digits and underscores"
    } else if STATEMENTS.contains(&name) || name.starts_with("end") {
        "the engine or the library has that name already, or takes it for an end"
    } else {
        return Ok(());
    };
    Err(Error::new(ErrorKind::InvalidOperation, format!("{name:?} cannot be a tag: {why}")))
}

impl std::fmt::Debug for TagCall<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TagCall").field("arguments", &self.arguments).finish_non_exhaustive()
    }
}

/// How the body of a tag of one's own is cached.
///
/// Plain arguments of the tag (numbers, text, booleans) are part of the key by
/// themselves; everything else that the body varies by belongs into
/// [`extra`](Caching::extra).
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct Caching {
    pub(crate) skip: bool,
    pub(crate) querysets: Vec<QuerySet>,
    pub(crate) extra: Option<KeyWriter>,
    pub(crate) name: Option<String>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) lock: bool,
}

impl Caching {
    /// As `cached_as` does: until a change can alter `queryset`, or another
    /// given by [`also`](Caching::also).
    pub fn cached_as(queryset: impl Into<QuerySet>) -> Self {
        Caching { lock: true, ..Caching::default() }.also(queryset)
    }

    /// As `cached` does: until the time limit.
    pub fn cached() -> Self {
        Caching { lock: true, ..Caching::default() }
    }

    /// Not at all, and no fragment around it either.
    pub fn skip() -> Self {
        Caching { skip: true, ..Caching::default() }
    }

    /// Names another queryset that the body is made from.
    pub fn also(mut self, queryset: impl Into<QuerySet>) -> Self {
        self.querysets.push(queryset.into());
        self
    }

    /// What else the body varies by; a second call replaces the first.
    ///
    /// # Errors
    ///
    /// A value that is undefined or cannot tell fragments apart.
    pub fn extra(mut self, extra: &Value) -> Result<Self, Error> {
        let mut key = KeyWriter::new();
        keys::write(extra, &mut key).map_err(|why| Error::new(ErrorKind::InvalidOperation, why))?;
        self.extra = Some(key);
        Ok(self)
    }

    /// The name that `invalidate_fragment` reaches it by.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// The time limit.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Whether renders that miss together share one; true by default.
    pub fn lock(mut self, lock: bool) -> Self {
        self.lock = lock;
        self
    }
}
