//! What process memory in front of a shared store makes of the tokens that
//! are read there.

use super::Token;

/// Whether a stamp in memory, known by one token or by none yet, may stand for
/// what was found in the store. One that must not no longer stands for what is
/// there.
pub(crate) fn stands_for(known: Option<Token>, found: Option<Token>) -> bool {
    found.is_some() && (known.is_none() || known == found)
}

/// Whether a lookup has to read a stamp. `afresh` says that what is in memory
/// may be out of date.
pub(crate) fn has_to_be_read(afresh: bool, known: Option<Token>) -> bool {
    afresh || known.is_none()
}

/// The token that counts for a lookup: what it has `read`, or else what is in
/// memory, if that may be relied on.
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

/// Whether a fill can stand on a stamp in memory without asking: its token is
/// known, and if it `has_scheme`, so is that this is `registered` in the epoch
/// above it. A token that a lookup has read does not tell: keys outlive epochs,
/// and changes do not look for what is under a scheme that the epoch lacks.
pub(crate) fn is_leased(known: Option<Token>, has_scheme: bool, registered: bool) -> bool {
    known.is_some() && (registered || !has_scheme)
}

/// Whether an epoch in memory may be another than the one that was found. One
/// that is not known yet may be: a lookup may have read it before it was
/// dropped, and settle it later.
pub(crate) fn is_other_epoch(known: Option<Token>, found: Option<Token>) -> bool {
    known.is_none() || known != found
}
