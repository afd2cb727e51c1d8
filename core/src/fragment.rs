//! A fragment and its dependencies.

use crate::store::{Stamp, invalidations};
#[cfg(feature = "redis")]
use crate::store::{StoreId, Stores};
use crate::sync::Arc;

/// The cached content. It is shared, and a reader keeps it even after the
/// fragment is dropped.
#[derive(Clone, Debug)]
pub(crate) enum Body {
    /// The output of a template.
    Text(std::sync::Arc<str>),
    /// A value, as serde wrote it.
    Value(std::sync::Arc<[u8]>),
}

impl Body {
    pub(crate) fn as_bytes(&self) -> &[u8] {
        match self {
            Body::Text(text) => text.as_bytes(),
            Body::Value(bytes) => bytes,
        }
    }

    fn len(&self) -> usize {
        self.as_bytes().len()
    }
}

/// A template that a body used and that its key does not cover, such as one that
/// is included by a variable name, with the version of its source.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TemplateUse {
    /// The template's name.
    pub name: Box<str>,
    /// The version of its source and of the sources that it includes: any
    /// token that changes when they do.
    pub version: u64,
}

/// What a fragment depends on. While all of it holds, the fragment is a hit.
#[derive(Clone, Debug, Default)]
pub(crate) struct Dependencies {
    pub(crate) stamps: Vec<Arc<Stamp>>,
    pub(crate) templates: Vec<TemplateUse>,
    /// Microseconds since 1970; none is never.
    pub(crate) expires_at: Option<u64>,
    /// Something inside the fragment must not be cached at all.
    pub(crate) uncacheable: bool,
    /// How many of the stamps were found current, and at which count of
    /// invalidations. While the count is the same, they still are.
    pub(crate) checked: (u64, usize),
    #[cfg(feature = "redis")]
    pub(crate) stores: Stores,
}

impl Dependencies {
    /// Adds all dependencies of an inner fill.
    pub(crate) fn absorb(&mut self, inner: &Dependencies) {
        self.stamps.extend(inner.stamps.iter().cloned());
        self.templates.extend(inner.templates.iter().cloned());
        self.limit(inner.expires_at);
        self.uncacheable |= inner.uncacheable;
    }

    /// [`absorb`](Self::absorb) for a fragment that was a hit.
    pub(crate) fn absorb_fragment(&mut self, inner: &Fragment) {
        self.stamps.extend(inner.stamps.iter().cloned());
        self.templates.extend(inner.templates().iter().cloned());
        self.limit(inner.expires_at());
    }

    /// Adds what nothing reports changes of: it counts as changed. However often that
    /// is noted in a row, as at each poll of a future, it takes one stamp.
    pub(crate) fn note_unknown(&mut self) {
        if self.stamps.last().is_none_or(|stamp| stamp.is_current()) {
            self.stamps.push(Stamp::dropped());
        }
    }

    /// An outer fragment lives no longer than its inner ones.
    pub(crate) fn limit(&mut self, expires_at: Option<u64>) {
        self.expires_at = match (self.expires_at, expires_at) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
    }

    pub(crate) fn are_current(&self) -> bool {
        !self.uncacheable && self.has_current_stamps()
    }

    /// [`has_current_stamps`](Self::has_current_stamps) for a fill that
    /// checks repeatedly while it grows. Call it only after a lease.
    pub(crate) fn still_has_current_stamps(&mut self) -> bool {
        let count = invalidations();
        let from = if self.checked.0 == count { self.checked.1 } else { 0 };
        let current = self.stamps[from..].iter().all(|stamp| stamp.is_current());
        if current {
            self.checked = (count, self.stamps.len());
        }
        current
    }

    pub(crate) fn has_current_stamps(&self) -> bool {
        self.stamps.iter().all(|stamp| stamp.is_current())
    }

    /// Whether one of the stamps is of such a store, for a fill that grows.
    #[cfg(feature = "redis")]
    pub(crate) fn has_read(&mut self, is_such: impl Fn(Option<StoreId>) -> bool) -> bool {
        self.stores.of(&self.stamps).iter().any(|store| is_such(*store))
    }

    /// Removes duplicate stamps, and stamps that others imply: the stamp of a
    /// conjunction is valid only while the stamp of its table is.
    fn compact(&mut self) {
        self.stamps.sort_unstable_by_key(address);
        self.stamps.dedup_by(|a, b| Arc::ptr_eq(a, b));
        let mut above: Vec<usize> = Vec::new();
        self.stamps.iter().for_each(|stamp| stamp.visit_above(|it| above.push(address(it))));
        above.sort_unstable();
        self.stamps.retain(|stamp| above.binary_search(&address(stamp)).is_err());
        self.templates.sort_unstable();
        self.templates.dedup();
    }
}

fn address(stamp: &Arc<Stamp>) -> usize {
    Arc::as_ptr(stamp) as usize
}

/// A fragment, as the store holds it.
#[derive(Debug)]
pub(crate) struct Fragment {
    pub(crate) body: Body,
    stamps: StampList,
    /// Microseconds since 1970; `u64::MAX` is never.
    expires_at: u64,
    pub(crate) stored_at: u64,
    extras: Option<Box<Extras>>,
}

/// What only few fragments have.
#[derive(Clone, Debug)]
struct Extras {
    templates: Box<[TemplateUse]>,
    label: Option<Box<str>>,
}

/// Most fragments depend on one stamp. A list would cost them two words and an
/// allocation.
#[derive(Debug)]
enum StampList {
    One(Arc<Stamp>),
    Many(Box<[Arc<Stamp>]>),
}

impl std::ops::Deref for StampList {
    type Target = [Arc<Stamp>];

    fn deref(&self) -> &[Arc<Stamp>] {
        match self {
            StampList::One(stamp) => std::slice::from_ref(stamp),
            StampList::Many(stamps) => stamps,
        }
    }
}

impl StampList {
    fn new(mut stamps: Vec<Arc<Stamp>>) -> Self {
        match (stamps.len(), stamps.pop()) {
            (1, Some(stamp)) => StampList::One(stamp),
            (_, last) => StampList::Many(stamps.into_iter().chain(last).collect()),
        }
    }
}

impl Fragment {
    pub(crate) fn new(
        body: Body,
        mut dependencies: Dependencies,
        stored_at: u64,
        label: Option<&str>,
    ) -> Self {
        dependencies.compact();
        let templates = dependencies.templates;
        let extras = (!templates.is_empty() || label.is_some())
            .then(|| Box::new(Extras { templates: templates.into(), label: label.map(Box::from) }));
        Fragment {
            body,
            stamps: StampList::new(dependencies.stamps),
            expires_at: dependencies.expires_at.unwrap_or(u64::MAX),
            stored_at,
            extras,
        }
    }

    /// The same fragment under `stamps`, which replace its own in the same
    /// order.
    #[cfg(feature = "redis")]
    pub(crate) fn restamped(&self, stamps: Vec<Arc<Stamp>>) -> Self {
        Fragment {
            body: self.body.clone(),
            stamps: StampList::new(stamps),
            expires_at: self.expires_at,
            stored_at: self.stored_at,
            extras: self.extras.clone(),
        }
    }

    pub(crate) fn has_current_stamps(&self) -> bool {
        self.stamps.iter().all(|stamp| stamp.is_current())
    }

    pub(crate) fn expires_at(&self) -> Option<u64> {
        (self.expires_at != u64::MAX).then_some(self.expires_at)
    }

    pub(crate) fn stamps(&self) -> &[Arc<Stamp>] {
        &self.stamps
    }

    pub(crate) fn templates(&self) -> &[TemplateUse] {
        self.extras.as_ref().map_or(&[], |extras| &extras.templates)
    }

    pub(crate) fn label(&self) -> Option<&str> {
        self.extras.as_ref()?.label.as_deref()
    }

    pub(crate) fn len(&self) -> usize {
        self.body.len()
    }

    /// The approximate memory of the fragment, including its place in the
    /// store and its share of the stamps.
    pub(crate) fn weight(&self) -> u64 {
        // Measured by `benches/memory.rs`: 227 with one stamp of its own.
        const BASE: usize = 180;
        const STAMP: usize = 60;
        const TEMPLATE: usize = 64;
        let extras = self.extras.as_ref().map_or(0, |extras| {
            extras.label.as_deref().map_or(0, str::len) + extras.templates.len() * TEMPLATE
        });
        let stamps: usize = self.stamps.iter().map(|stamp| STAMP + stamp.extra_weight()).sum();
        (BASE + self.body.len() + stamps + extras) as u64
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use super::Dependencies;

    /// A future that is polled a million times notes it twice at each poll.
    #[test]
    fn the_unknown_takes_one_stamp() {
        let mut fill = Dependencies::default();
        (0..1_000).for_each(|_| fill.note_unknown());
        assert_eq!(fill.stamps.len(), 1);
        assert!(!fill.are_current());
    }
}
