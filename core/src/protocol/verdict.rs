//! Whether a fragment holds.

use super::Token;
use crate::observe::Outcome;

/// What comes of comparing a fragment's stamps with the current ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// All are the current ones.
    Holds,
    /// One is not there any more: dropped, expired, evicted.
    StampLost,
    /// Another stands in the place of one.
    StampChanged,
}

impl Verdict {
    /// What is told of a fragment that does not hold.
    pub(crate) fn outcome(self) -> Option<Outcome> {
        match self {
            Verdict::Holds => None,
            Verdict::StampLost => Some(Outcome::StampLost),
            Verdict::StampChanged => Some(Outcome::StampChanged),
        }
    }
}

/// Compares each stamp that a fragment was made under with the one that is
/// there now. A missing one never equals anything, not even a missing one.
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
