//! The prefix of every key.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

/// The tables for which a prefix is computed; see
/// [`Builder::prefix_by`](crate::Builder::prefix_by).
///
/// ```
/// use cacheops::{Cacheops, PrefixQuery, QuerySet};
///
/// // A prefix for each database: keys of `shop.orders` begin with `shop:`.
/// fn by_database(query: &PrefixQuery<'_>) -> String {
///     query.databases().map(|name| format!("{name}:")).collect()
/// }
///
/// let cache = Cacheops::builder().prefix_by(by_database).build()?;
/// let orders = QuerySet::table("shop.orders");
/// let count = || cache.cached_as(&orders).get_or_fill(|| Ok::<_, cacheops::Error>(7));
/// assert_eq!((count()?, count()?), (7, 7));
/// assert_eq!(cache.stats().hits, 1);
/// # Ok::<_, cacheops::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct PrefixQuery<'a> {
    /// The tables of a fragment's querysets, or the table that changed. Empty
    /// for keys that belong to no table, such as names of fragments.
    pub tables: &'a [&'a str],
}

impl<'a> PrefixQuery<'a> {
    /// The databases or schemas in the names of the tables, in order: `shop`
    /// for `shop.orders`, and nothing for `orders`.
    pub fn databases(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.tables.iter().filter_map(|table| table.rsplit_once('.').map(|(database, _)| database))
    }
}

/// Computes a prefix.
pub(crate) type ComputePrefix = Arc<dyn Fn(&PrefixQuery<'_>) -> String + Send + Sync>;

/// A fixed prefix, followed by one that is computed from tables.
#[derive(Clone)]
pub(crate) struct Prefix {
    fixed: String,
    computed: Option<ComputePrefix>,
}

impl Prefix {
    pub(crate) fn new(fixed: String, computed: Option<ComputePrefix>) -> Self {
        Prefix { fixed, computed }
    }

    pub(crate) fn fixed(&self) -> &str {
        &self.fixed
    }

    pub(crate) fn is_computed(&self) -> bool {
        self.computed.is_some()
    }

    /// The prefix of keys that are made from `tables`.
    pub(crate) fn of(&self, tables: &[&str]) -> Cow<'_, str> {
        match &self.computed {
            None => Cow::Borrowed(&self.fixed),
            Some(compute) => {
                Cow::Owned(format!("{}{}", self.fixed, compute(&PrefixQuery { tables })))
            }
        }
    }
}

/// The prefixes of one request. They are computed once, when the request is made,
/// because they may depend on the thread, and a future may continue on another
/// one.
pub(crate) struct Prefixes<'a> {
    /// For keys that are made from all tables of the request.
    pub(crate) combined: Cow<'a, str>,
    /// For each table, and for no table; only if prefixes are computed.
    parts: Vec<(Box<str>, Cow<'a, str>)>,
}

impl Prefix {
    /// The prefixes of a request for `tables`.
    pub(crate) fn all_of(&self, tables: &[&str]) -> Prefixes<'_> {
        let combined = self.of(tables);
        if !self.is_computed() {
            return Prefixes { combined, parts: Vec::new() };
        }
        let part = |table: &&str| (Box::from(*table), self.of(&[table]));
        let parts = tables.iter().map(part).chain([(Box::default(), self.of(&[]))]).collect();
        Prefixes { combined, parts }
    }
}

impl Prefixes<'_> {
    /// The prefix of a table, or of keys without a table, for which `table`
    /// is "".
    pub(crate) fn of(&self, table: &str) -> &str {
        let part = self.parts.iter().find(|(name, _)| **name == *table);
        part.map_or(&self.combined, |(_, prefix)| prefix)
    }
}

impl fmt::Debug for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prefix")
            .field("fixed", &self.fixed)
            .field("computed", &self.is_computed())
            .finish()
    }
}
