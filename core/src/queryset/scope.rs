//! What a lease is of.

use crate::prefix::Prefixes;
use crate::queryset::TableDnf;
#[cfg(feature = "redis")]
use crate::read::page::Page;

/// What a fill stands on before anything is read: the stamps of all this are
/// leased.
pub(crate) struct LeaseScope<'a> {
    pub(crate) prefixes: &'a Prefixes<'a>,
    /// The conjunctions of each table.
    pub(crate) tables: &'a [TableDnf],
    /// The fragment's name.
    pub(crate) name: Option<&'a str>,
    /// What the fragment varies by, encoded, if it has a name.
    pub(crate) variant: Option<&'a [u8]>,
    /// The page that requests it.
    #[cfg(feature = "redis")]
    pub(crate) page: Option<&'a Page>,
}
