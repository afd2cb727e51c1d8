//! Why an operation over a connection failed, and why a connection could not be
//! set up.

use std::fmt;
use std::time::Duration;

use crate::error::{Error, ErrorKind};

/// Why an operation over the connection failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LinkError {
    kind: LinkErrorKind,
    text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LinkErrorKind {
    Failed,
    /// The time limit has passed.
    Timeout,
    /// The server answers, and refuses to drop keys.
    Refused,
    /// The server answers, and its data may have been exchanged.
    DataExchanged,
}

impl LinkError {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        LinkError { kind: LinkErrorKind::Failed, text: text.into() }
    }

    /// The server refuses to drop keys; `answer` is what it says.
    pub(crate) fn refused(answer: &str) -> Self {
        let text = format!("the server refuses UNLINK: {answer}");
        LinkError { kind: LinkErrorKind::Refused, text }
    }

    /// The server may hold other data than before.
    pub(crate) fn exchanged(text: &str) -> Self {
        LinkError { kind: LinkErrorKind::DataExchanged, text: text.to_owned() }
    }

    pub(crate) fn timeout(limit: Duration) -> Self {
        LinkError { kind: LinkErrorKind::Timeout, text: format!("no answer within {limit:?}") }
    }

    pub(crate) fn sentinels_timeout(limit: Duration) -> Self {
        let text = format!("no majority of the sentinels answers within {limit:?}");
        LinkError { kind: LinkErrorKind::Timeout, text }
    }

    pub(crate) fn is_timeout(&self) -> bool {
        self.kind == LinkErrorKind::Timeout
    }

    /// Whether the server answers, and refuses to drop keys.
    pub(crate) fn is_refusal(&self) -> bool {
        self.kind == LinkErrorKind::Refused
    }
}

impl fmt::Display for LinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Why a connection could not be set up.
#[derive(Clone, Debug)]
pub(crate) struct SetupError {
    kind: ErrorKind,
    text: String,
    is_transient: bool,
}

impl SetupError {
    /// The application's settings are wrong.
    pub(crate) fn invalid_config(text: impl Into<String>) -> Self {
        SetupError { kind: ErrorKind::InvalidConfig, text: text.into(), is_transient: false }
    }

    /// The server lacks something that the cache needs.
    pub(crate) fn unfit_server(text: impl Into<String>) -> Self {
        SetupError { kind: ErrorKind::UnfitServer, text: text.into(), is_transient: false }
    }

    /// The server cannot be reached now.
    pub(crate) fn unavailable(text: impl Into<String>) -> Self {
        SetupError { kind: ErrorKind::Unavailable, text: text.into(), is_transient: false }
    }

    pub(crate) fn is_unavailable(&self) -> bool {
        self.kind == ErrorKind::Unavailable
    }

    /// Whether the server was changing its identity, so that the next attempt may
    /// succeed at once.
    pub(crate) fn is_transient(&self) -> bool {
        self.is_transient
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }
}

impl From<SetupError> for Error {
    fn from(error: SetupError) -> Self {
        Error::new(error.kind, format!("redis: {}", error.text))
    }
}

impl From<LinkError> for SetupError {
    fn from(error: LinkError) -> Self {
        // A right that the user lacks does not come by itself.
        if error.is_refusal() && error.text.contains("NOPERM") {
            return SetupError::unfit_server(error.text);
        }
        let is_transient = error.kind == LinkErrorKind::DataExchanged;
        SetupError { is_transient, ..SetupError::unavailable(error.text) }
    }
}

impl From<SetupError> for LinkError {
    fn from(error: SetupError) -> Self {
        LinkError::new(error.text())
    }
}
