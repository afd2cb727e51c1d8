//! Errors behind a page.

use std::fmt;
use std::io;

use minijinja_cacheops::cacheops;

/// Why a page could not be made, or the site not be started.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The database refused.
    Database(rusqlite::Error),
    /// SQLite cannot tell what is written.
    Hooks(sqlite_cacheops::Error),
    /// The cache was used in a way that makes no sense.
    Cache(cacheops::Error),
    /// MiniJinja could not load or render a template.
    MiniJinja(minijinja::Error),
    /// Tera could not load or render a template.
    Tera(tera::Error),
    /// The address could not be listened on.
    Listen(io::Error),
    /// A request was cut off while it was worked on.
    Interrupted,
    /// An article that comes with the program has no proper front matter.
    Seed(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Database(error) => write!(f, "the database: {error}"),
            Error::Hooks(error) => write!(f, "the database: {error}"),
            Error::Cache(error) => write!(f, "the cache: {error}"),
            Error::MiniJinja(error) => write!(f, "a template: {error:#}"),
            Error::Tera(error) => write!(f, "a template: {error}"),
            Error::Listen(error) if error.kind() == io::ErrorKind::AddrInUse => {
                f.write_str("the port is taken by another program; choose one with --port N")
            }
            Error::Listen(error) => write!(f, "cannot listen: {error}"),
            Error::Interrupted => f.write_str("the work on a request was cut off"),
            Error::Seed(why) => write!(f, "an article that comes with the program: {why}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Database(error) => Some(error),
            Error::Hooks(error) => Some(error),
            Error::Cache(error) => Some(error),
            Error::MiniJinja(error) => Some(error),
            Error::Tera(error) => Some(error),
            Error::Listen(error) => Some(error),
            Error::Interrupted | Error::Seed(_) => None,
        }
    }
}

macro_rules! from {
    ($($variant:ident: $error:ty,)*) => {$(
        impl From<$error> for Error {
            fn from(error: $error) -> Self {
                Error::$variant(error)
            }
        }
    )*};
}

from! {
    Database: rusqlite::Error,
    Hooks: sqlite_cacheops::Error,
    Cache: cacheops::Error,
    MiniJinja: minijinja::Error,
    Tera: tera::Error,
}
