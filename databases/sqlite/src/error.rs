//! What can go wrong when hooks are set.

use std::fmt;

/// Why hooks could not be set.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// The SQLite that the program links was compiled without its preupdate hook.
    NoPreupdateHook,
    /// SQLite refused with this result code; 7 means that memory is short.
    Refused(i32),
    /// The connection had a hook of the application, which has been replaced.
    HookReplaced,
    /// No thread could be started that looks for the writes of other processes.
    NoThread(String),
    /// No cache is installed, so there is nobody to tell.
    NotInstalled,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::NoPreupdateHook => f.write_str(
                "SQLite was compiled without its preupdate hook. If it is bundled (the feature \
                 `bundled` of rusqlite, sqlx's `sqlite`, or libsqlite3-sys), add to \
                 `.cargo/config.toml`: [env] LIBSQLITE3_FLAGS = \"SQLITE_ENABLE_PREUPDATE_HOOK\". \
                 SQLite of the system has to be one that was compiled with \
                 SQLITE_ENABLE_PREUPDATE_HOOK",
            ),
            Error::Refused(code) => write!(f, "SQLite refused to set hooks: result code {code}"),
            Error::HookReplaced => f.write_str(
                "the connection had a preupdate, commit or rollback hook, which has been replaced: \
                 watch a connection before the application sets hooks of its own",
            ),
            Error::NoThread(why) => write!(f, "the thread of the hooks cannot be started: {why}"),
            Error::NotInstalled => {
                f.write_str("no cache is installed: call `sqlite_cacheops::install` first")
            }
        }
    }
}

impl std::error::Error for Error {}
