//! The tables that a process knows: their registries, and everything with the
//! same lifetime.

use std::collections::HashMap;

use super::stamp::Stamp;
use crate::queryset::Conjunction;
use crate::sync::Arc;
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::write::keys::Scheme;

/// The largest number of schemes that a process registers for one table. Each
/// scheme costs every changed row a drop. So a fragment with a further scheme
/// depends on any row.
pub(crate) const MOST_SCHEMES: usize = 128;

/// Fewer tables are not worth a sweep.
const SMALLEST_SWEEP: usize = 1_024;

/// The registry of a table: the schemes in use, and their epoch.
pub(crate) struct Table {
    pub(crate) epoch: Arc<Stamp>,
    pub(crate) schemes: Arc<Vec<Scheme>>,
    /// Microseconds since 1970; zero is never.
    pub(crate) invalidated_at: AtomicU64,
}

impl Table {
    fn new(epoch: Arc<Stamp>) -> Self {
        Table { epoch, schemes: Arc::default(), invalidated_at: AtomicU64::new(0) }
    }

    pub(crate) fn covers(&self, conjunctions: &[Conjunction]) -> bool {
        self.epoch.is_current()
            && conjunctions.iter().all(|c| self.schemes.iter().any(|s| s.is_of(c)))
    }

    /// The schemes that this process has registered since everything was last
    /// dropped. An epoch may be replaced more often: over a shared store,
    /// whenever a scheme is registered, which does not unregister the others.
    pub(crate) fn registered(&self) -> &[Scheme] {
        let mut holds = true;
        self.epoch.visit_above(|above| holds &= above.is_current());
        if holds { &self.schemes } else { &[] }
    }

    /// Registers the schemes of `conjunctions` in a current epoch.
    pub(crate) fn enroll(
        &mut self,
        conjunctions: &[Conjunction],
        epoch: impl FnOnce() -> Arc<Stamp>,
    ) {
        if !self.epoch.is_current() {
            if self.registered().is_empty() {
                self.schemes = Arc::default();
            }
            self.epoch = epoch();
        }
        let schemes = Arc::make_mut(&mut self.schemes);
        for conjunction in conjunctions {
            if !schemes.iter().any(|scheme| scheme.is_of(conjunction)) {
                schemes.push(Scheme::of(conjunction));
            }
        }
    }

    /// Its memory in bytes, with its place under `key`.
    fn weight(&self, key: &str) -> usize {
        let schemes: usize = self.schemes.iter().map(Scheme::weight).sum();
        // An entry takes up to two places of the map, and an allocation
        // for the epoch.
        2 * size_of::<(String, Table)>() + key.len() + EPOCH + self.epoch.extra_weight() + schemes
    }
}

/// The epoch of a table, with the counts of its holders.
const EPOCH: usize = 2 * size_of::<usize>() + size_of::<Stamp>();

/// `conjunctions`, in which a conjunction depends on any row if there is no room
/// for its scheme beside the `known` ones. `None` if there is room for all.
pub(crate) fn widened(known: &[Scheme], conjunctions: &[Conjunction]) -> Option<Vec<Conjunction>> {
    if known.len() + conjunctions.len() <= MOST_SCHEMES {
        return None;
    }
    let mut new: Vec<Scheme> = Vec::new();
    let mut wide = Vec::with_capacity(conjunctions.len());
    let mut is_wider = false;
    for conjunction in conjunctions {
        let is_of_it = |scheme: &Scheme| scheme.is_of(conjunction);
        if conjunction.is_empty() || known.iter().chain(&new).any(is_of_it) {
            wide.push(conjunction.clone());
        } else if known.len() + new.len() < MOST_SCHEMES {
            new.push(Scheme::of(conjunction));
            wide.push(conjunction.clone());
        } else {
            is_wider = true;
        }
    }
    if is_wider && wide.iter().all(|conjunction| !conjunction.is_empty()) {
        wide.push(Conjunction::default());
    }
    is_wider.then_some(wide)
}

/// Tables by the keys of their registries.
#[derive(Default)]
pub(crate) struct Tables {
    known: HashMap<String, Table>,
    /// The number of tables at which the next sweep is due.
    sweep_at: usize,
    /// The latest invalidation of any table that has been forgotten.
    forgotten_at: u64,
}

impl Tables {
    pub(crate) fn get(&self, registry: &str) -> Option<&Table> {
        self.known.get(registry)
    }

    /// The table of a key, created if it is not known. Before a table is
    /// created, and if there are many, the tables whose epoch nobody holds
    /// are forgotten. `sweep` removes the unused stamps of conjunctions.
    pub(crate) fn enter(
        &mut self,
        registry: String,
        epoch: impl FnOnce() -> Arc<Stamp>,
        sweep: impl FnOnce(),
    ) -> &mut Table {
        let is_due = self.known.len() >= self.sweep_at.max(SMALLEST_SWEEP);
        if is_due && !self.known.contains_key(&registry) {
            sweep();
            self.forget_idle();
        }
        self.known.entry(registry).or_insert_with(|| Table::new(epoch()))
    }

    /// Forgets tables that nothing depends on: no fragment, no fill and no
    /// stamp of a conjunction. Nobody can begin to depend on one meanwhile,
    /// because this needs a look into the map.
    fn forget_idle(&mut self) {
        let mut forgotten_at = self.forgotten_at;
        self.known.retain(|_, table| {
            let is_held = table.epoch.is_current() && Arc::strong_count(&table.epoch) > 1;
            if !is_held {
                forgotten_at = forgotten_at.max(table.invalidated_at.load(Ordering::SeqCst));
            }
            is_held
        });
        self.forgotten_at = forgotten_at;
        if self.known.capacity() > 4 * self.known.len() {
            self.known.shrink_to_fit();
        }
        self.sweep_at = 2 * self.known.len();
    }

    /// When one of the tables was last invalidated, or any table if none is
    /// given. For a table that has been forgotten, the latest invalidation of
    /// any forgotten table.
    pub(crate) fn last_invalidation(&self, registries: &[String]) -> u64 {
        let of = |table: &Table| table.invalidated_at.load(Ordering::SeqCst);
        if registries.is_empty() {
            return self.known.values().map(of).max().unwrap_or(0).max(self.forgotten_at);
        }
        let one = |key: &String| self.known.get(key).map_or(self.forgotten_at, of);
        registries.iter().map(one).max().unwrap_or(0)
    }

    /// The number of tables, and their memory in bytes.
    pub(crate) fn usage(&self) -> (usize, usize) {
        let weight = self.known.iter().map(|(key, table)| table.weight(key)).sum();
        (self.known.len(), weight)
    }
}

#[cfg(test)]
mod tests {
    use super::{MOST_SCHEMES, Scheme, widened};
    use crate::queryset::Conjunction;

    fn of(field: usize, value: &str) -> Conjunction {
        [(format!("f{field}"), value.to_owned())].into_iter().collect()
    }

    #[test]
    fn what_there_is_no_room_for_is_any_row() {
        let known: Vec<Scheme> = (1..MOST_SCHEMES).map(|n| Scheme::of(&of(n, "1"))).collect();
        assert_eq!(widened(&known, &[of(1, "7")]), None);
        assert_eq!(widened(&known, &[of(1, "7"), of(900, "1")]), None);
        let asked = [of(1, "7"), of(900, "1"), of(900, "2"), of(901, "1"), of(902, "1")];
        let wide = [of(1, "7"), of(900, "1"), of(900, "2"), Conjunction::default()];
        assert_eq!(widened(&known, &asked), Some(wide.to_vec()));
    }
}
