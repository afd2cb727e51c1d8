//! What stands before every key.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use crate::write::keys::Event;

/// The tables that a prefix is asked for; see
/// [`Builder::prefix_by`](crate::Builder::prefix_by).
///
/// ```
/// use cacheops::{Cacheops, PrefixQuery, QuerySet};
///
/// // A part of the store for each database: `shop.orders` lies under `shop:`.
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
    /// The tables of a fragment's querysets, or the one that changed; none
    /// for what belongs to no table, such as the names of fragments.
    pub tables: &'a [&'a str],
}

impl<'a> PrefixQuery<'a> {
    /// The databases or schemas that the tables are qualified by, in their
    /// order: `shop` of `shop.orders`, and nothing of `orders`.
    pub fn databases(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.tables.iter().filter_map(|table| table.rsplit_once('.').map(|(database, _)| database))
    }
}

/// Computes a prefix.
pub(crate) type ComputePrefix = Arc<dyn Fn(&PrefixQuery<'_>) -> String + Send + Sync>;

/// A fixed prefix, and one computed from tables behind it.
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

    /// The prefix of what is made from `tables`.
    pub(crate) fn of(&self, tables: &[&str]) -> Cow<'_, str> {
        match &self.computed {
            None => Cow::Borrowed(&self.fixed),
            Some(compute) => {
                Cow::Owned(format!("{}{}", self.fixed, compute(&PrefixQuery { tables })))
            }
        }
    }
}

/// The prefixes of one request, computed once, when it is made: what they are
/// computed from may be of a thread, and a future goes on in another.
pub(crate) struct Prefixes<'a> {
    /// Of what is made from all its tables.
    pub(crate) combined: Cow<'a, str>,
    /// Of each table, and of none; only where they are computed.
    parts: Vec<(Box<str>, Cow<'a, str>)>,
}

impl Prefix {
    /// The prefix of what an event is about.
    pub(crate) fn of_event(&self, event: &Event<'_>) -> Cow<'_, str> {
        match event {
            Event::Rows { table, .. } | Event::Table(table) => self.of(&[table]),
            Event::Name(_) | Event::Variant(..) => self.of(&[]),
            Event::Everything => Cow::Borrowed(&self.fixed),
        }
    }

    /// The prefixes of what is made from `tables`.
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
    /// That of a table, or of what belongs to none, which is "".
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
