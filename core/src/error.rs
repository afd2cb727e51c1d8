//! Errors: what went wrong, and what to do about it.

use std::borrow::Cow;
use std::fmt;

/// What an [`Error`] is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A queryset that is not valid, a table name that is empty or a pattern,
    /// or a value that no column can equal.
    InvalidQuerySet,
    /// A changed row that is not a map of columns. Its whole table has been
    /// invalidated, so nothing stale is left.
    InvalidRow,
    /// An `extra` that cannot be part of a key.
    InvalidExtra,
    /// The name of a fragment is empty.
    InvalidName,
    /// A time limit of zero, below zero, or not a number.
    InvalidTimeToLive,
    /// No profile covers a table.
    NoProfile,
    /// The settings contradict each other, or the server does not accept them
    /// (for example because the user lacks a right), or the process was
    /// forked.
    InvalidConfig,
    /// A server whose kind or version is not supported as the shared tier.
    UnfitServer,
    /// The shared tier could not be reached. An invalidation with this error
    /// is not confirmed: other processes may still serve the old data.
    Unavailable,
    /// A template whose cache tags are not valid.
    Template,
}

impl ErrorKind {
    fn describe(self) -> &'static str {
        match self {
            ErrorKind::InvalidQuerySet => "invalid queryset",
            ErrorKind::InvalidRow => "invalid row",
            ErrorKind::InvalidExtra => "invalid extra",
            ErrorKind::InvalidName => "invalid name",
            ErrorKind::InvalidTimeToLive => "invalid time limit",
            ErrorKind::NoProfile => "no profile",
            ErrorKind::InvalidConfig => "invalid configuration",
            ErrorKind::UnfitServer => "unfit server",
            ErrorKind::Unavailable => "shared tier unavailable",
            ErrorKind::Template => "invalid cache tag",
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.describe())
    }
}

/// An error of the cache. A call that could not cache fails before it runs
/// anything. An invalidation that could not be precise has invalidated more than
/// necessary. If the shared tier failed ([`ErrorKind::Unavailable`], or
/// [`ErrorKind::InvalidConfig`] in a forked process), an invalidation may be
/// missing in other processes.
#[derive(Clone, Debug)]
pub struct Error(Box<Repr>);

#[derive(Clone, Debug)]
struct Repr {
    kind: ErrorKind,
    detail: Cow<'static, str>,
    line: Option<usize>,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, detail: impl Into<Cow<'static, str>>) -> Self {
        Error(Box::new(Repr { kind, detail: detail.into(), line: None }))
    }

    pub(crate) fn invalid_queryset(detail: impl Into<Cow<'static, str>>) -> Self {
        Error::new(ErrorKind::InvalidQuerySet, detail)
    }

    pub(crate) fn invalid_row(detail: impl Into<Cow<'static, str>>) -> Self {
        Error::new(ErrorKind::InvalidRow, detail)
    }

    /// An error about an `extra`, for engine plugins, which have their own
    /// values.
    pub fn invalid_extra(detail: impl Into<Cow<'static, str>>) -> Self {
        Error::new(ErrorKind::InvalidExtra, detail)
    }

    /// An error in a template's tag; `line` counts from 1.
    pub(crate) fn template(line: usize, detail: impl Into<Cow<'static, str>>) -> Self {
        let mut error = Error::new(ErrorKind::Template, detail);
        error.0.line = Some(line);
        error
    }

    /// What the error is about.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// What happened and what to do, without the kind.
    #[must_use]
    pub fn detail(&self) -> &str {
        &self.0.detail
    }

    /// Whether the same call may succeed later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        self.0.kind == ErrorKind::Unavailable
    }

    /// The line of the template, counted from 1, for [`ErrorKind::Template`].
    #[must_use]
    pub fn line(&self) -> Option<usize> {
        self.0.line
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.kind, self.0.detail)
    }
}

impl std::error::Error for Error {}

/// The error of [`get_or_fill`](crate::Cached::get_or_fill): the cache's, or the
/// one that the fill returned, which need not know anything of the cache.
///
/// It displays as the error inside, and has the same source. In a function that
/// returns [`Error`], `?` converts it if the fill's error is an [`Error`] too.
/// Into an error type with a `From<cacheops::Error>`, [`into_inner`](Self::into_inner)
/// converts both:
///
/// ```
/// use cacheops::{Cacheops, FillError};
///
/// # fn load() -> Result<String, std::io::Error> { Ok(String::new()) }
/// fn text(cache: &Cacheops) -> Result<String, Box<dyn std::error::Error>> {
///     let fill = || Ok(load()?);
///     cache.cached_as("articles").get_or_fill(fill).map_err(FillError::into_inner)
/// }
/// # text(&Cacheops::in_memory()).unwrap();
/// ```
// No third side can appear: a caller may match both without a wildcard.
#[derive(Clone, Debug)]
pub enum FillError<E> {
    /// The cache could not use the call. The fill did not run.
    Cache(Error),
    /// The fill failed with this error. Nothing was stored.
    Fill(E),
}

impl<E> FillError<E> {
    /// The error inside, whichever side it comes from.
    #[must_use]
    pub fn into_inner(self) -> E
    where
        E: From<Error>,
    {
        match self {
            FillError::Cache(error) => error.into(),
            FillError::Fill(error) => error,
        }
    }

    /// Converts the error of the fill, and leaves one of the cache as it is.
    ///
    /// ```
    /// # use cacheops::{Cacheops, FillError};
    /// # let cache = Cacheops::in_memory();
    /// let failed = cache.cached().get_or_fill(|| "x".parse::<u8>()).unwrap_err();
    /// let failed: FillError<String> = failed.map(|error| error.to_string());
    /// assert!(matches!(failed, FillError::Fill(text) if text.contains("invalid digit")));
    /// ```
    #[must_use]
    pub fn map<U>(self, convert: impl FnOnce(E) -> U) -> FillError<U> {
        match self {
            FillError::Cache(error) => FillError::Cache(error),
            FillError::Fill(error) => FillError::Fill(convert(error)),
        }
    }
}

impl From<FillError<Error>> for Error {
    fn from(error: FillError<Error>) -> Self {
        error.into_inner()
    }
}

impl<E: fmt::Display> fmt::Display for FillError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FillError::Cache(error) => error.fmt(f),
            FillError::Fill(error) => error.fmt(f),
        }
    }
}

impl<E: std::error::Error> std::error::Error for FillError<E> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            FillError::Cache(error) => error.source(),
            FillError::Fill(error) => error.source(),
        }
    }
}
