//! What process memory in front of a shared store makes of the tokens that
//! are read there.

use super::{Token, Verdict, verdict};

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

/// Whether a lookup that `found` a token may give it to a stamp in memory,
/// known by one or by none yet. `line` pairs what the fragment was made under
/// with what counts now, for the stamp and all above it. Where they differ, the
/// stamp stands under another epoch than the fragment, in which its scheme is
/// perhaps not registered: only a lease, which registers it, may settle it.
pub(crate) fn may_settle(
    known: Option<Token>,
    found: Option<Token>,
    line: impl IntoIterator<Item = (Option<Token>, Option<Token>)>,
) -> bool {
    known.is_some() || found.is_none() || verdict(line) == Verdict::Holds
}

/// Whether an epoch in memory may be another than the one that was found. One
/// that is not known yet may be: a lookup may have read it before it was
/// dropped, and settle it later.
pub(crate) fn is_other_epoch(known: Option<Token>, found: Option<Token>) -> bool {
    known.is_none() || known != found
}
