//! The relation of a source to macros of other sources.

use std::collections::BTreeSet;

/// In engines where an included template sees the macros around it: the macros
/// that a source offers, and the names that it may use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Macros<'s> {
    /// Whether it defines or imports macros.
    pub has_some: bool,
    /// Names that it uses, and that were not macros of its own before.
    pub uses: BTreeSet<&'s str>,
    /// Whether it includes templates that are known only in rendering, which
    /// may use any name.
    pub may_use_any: bool,
    /// Whether each macro and module has one name from the source, by which
    /// alone it is called: what a macro of it calls follows from the source then.
    /// If not, `uses` are all names.
    pub is_plain: bool,
    /// Whether it assigns to attributes, which only namespaces have.
    pub assigns_attributes: bool,
    /// How many macros it defines.
    pub count: usize,
}
