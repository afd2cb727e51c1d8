//! What process memory in front of a shared store concludes from the tokens that
//! are read there.

use super::Token;

/// Whether a stamp in memory, with a known token or none yet, may stand for the
/// token that was found in the store.
pub(crate) fn stands_for(known: Option<Token>, found: Option<Token>) -> bool {
    found.is_some() && (known.is_none() || known == found)
}

/// Whether a lookup may rely on the tokens in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum MemoryTrust {
    Trusted,
    /// Memory may be out of date.
    Untrusted,
}

impl MemoryTrust {
    /// Whether a lookup has to read a stamp.
    pub(crate) fn has_to_read(self, known: Option<Token>) -> bool {
        self == MemoryTrust::Untrusted || known.is_none()
    }
}

/// What a lookup has read of a stamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StampRead {
    NotRead,
    /// The token that was found, if the stamp exists.
    Read(Option<Token>),
}

/// The token that counts for a lookup: the one that it has `read`, or the one in
/// memory, if memory can be trusted.
pub(crate) fn current(memory: MemoryTrust, read: StampRead, known: Option<Token>) -> Option<Token> {
    match (read, memory) {
        (StampRead::Read(found), _) => found,
        (StampRead::NotRead, MemoryTrust::Untrusted) => None,
        (StampRead::NotRead, MemoryTrust::Trusted) => known,
    }
}

/// What is known of the scheme of a stamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SchemeState {
    /// The stamp has no scheme.
    NotNeeded,
    /// The scheme is registered in the epoch above the stamp.
    Registered,
    Unknown,
}

/// Whether a fill can depend on a stamp in memory without a request: its token is
/// known, and its scheme, if it has one, is known to be registered. A token that a
/// lookup has read does not tell this, because keys outlive epochs, and changes do
/// not look for stamps under a scheme that the epoch lacks.
pub(crate) fn is_leased(known: Option<Token>, scheme: SchemeState) -> bool {
    known.is_some() && scheme != SchemeState::Unknown
}

/// Whether an epoch in memory may differ from the one that was found. An epoch
/// whose token is not known yet may differ: a lookup may have read it before it
/// was dropped, and settle it later.
pub(crate) fn is_other_epoch(known: Option<Token>, found: Option<Token>) -> bool {
    known.is_none() || known != found
}
