//! What process memory in front of a shared store concludes from the tokens that
//! are read there.

use super::Token;

/// Whether a stamp in memory, with a known token or none yet, may stand for the
/// token that was found in the store.
pub(crate) fn stands_for(known: Option<Token>, found: Option<Token>) -> bool {
    found.is_some() && (known.is_none() || known == found)
}

/// Whether a lookup has to read a stamp. `afresh` means that memory may be out of
/// date.
pub(crate) fn has_to_be_read(afresh: bool, known: Option<Token>) -> bool {
    afresh || known.is_none()
}

/// The token that counts for a lookup: the one that it has `read`, or the one in
/// memory, if memory can be trusted.
pub(crate) fn current(
    afresh: bool,
    read: Option<Option<Token>>,
    known: Option<Token>,
) -> Option<Token> {
    match read {
        Some(found) => found,
        None if afresh => None,
        None => known,
    }
}

/// Whether a fill can depend on a stamp in memory without a request: its token is
/// known and, if it `has_scheme`, it is also known to be `registered` in the
/// epoch above it. A token that a lookup has read does not tell this, because
/// keys outlive epochs, and changes do not look for stamps under a scheme that
/// the epoch lacks.
pub(crate) fn is_leased(known: Option<Token>, has_scheme: bool, registered: bool) -> bool {
    known.is_some() && (registered || !has_scheme)
}

/// Whether an epoch in memory may differ from the one that was found. An epoch
/// whose token is not known yet may differ: a lookup may have read it before it
/// was dropped, and settle it later.
pub(crate) fn is_other_epoch(known: Option<Token>, found: Option<Token>) -> bool {
    known.is_none() || known != found
}
