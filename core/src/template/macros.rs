//! What a source has to do with macros of other sources.

use std::collections::BTreeSet;

/// In engines where an included template sees the macros of what is around it:
/// which ones a source has for others, and which ones it may use of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Macros<'s> {
    /// Whether it defines or imports some.
    pub has_some: bool,
    /// Names that it uses, and that it has not itself made a macro before.
    pub uses: BTreeSet<&'s str>,
    /// Whether it includes templates that only rendering tells, which may use
    /// any name.
    pub may_use_any: bool,
}
