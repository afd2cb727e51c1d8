//! Whether a fragment is current.

use super::Token;
use crate::observe::Outcome;

/// The result of comparing the stamps of a fragment with the current ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// All stamps are current.
    Holds,
    /// A stamp no longer exists: dropped, expired or evicted.
    StampLost,
    /// A stamp has been replaced by another.
    StampChanged,
}

impl Verdict {
    /// The outcome of a lookup for a fragment that is not current.
    pub(crate) fn outcome(self) -> Option<Outcome> {
        match self {
            Verdict::Holds => None,
            Verdict::StampLost => Some(Outcome::StampLost),
            Verdict::StampChanged => Some(Outcome::StampChanged),
        }
    }
}

/// Compares each stamp that a fragment was made under with the current one. A
/// missing stamp never equals anything, not even another missing one.
pub(crate) fn verdict(stamps: impl IntoIterator<Item = (Option<Token>, Option<Token>)>) -> Verdict {
    let mut verdict = Verdict::Holds;
    for (made_under, current) in stamps {
        match (made_under, current) {
            (Some(a), Some(b)) if a == b => {}
            (_, None) => return Verdict::StampLost,
            _ => verdict = Verdict::StampChanged,
        }
    }
    verdict
}
