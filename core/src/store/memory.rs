//! The store of one process.

use std::collections::HashMap;

use super::container::Container;
use super::stamp::{Stamp, Stamps, count_invalidation};
use super::{Dropped, Scope, Store, Usage};
use crate::fragment::Fragment;
use crate::invalidate::{Event, Scheme, conjunction_key, name_key, row_key, variant_key};
use crate::key::FragmentKey;
use crate::queryset::TableDnf;
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::{Arc, RwLock, read, write};
use crate::value::Row;

/// Fragments and stamps in the memory of one process.
pub(crate) struct MemoryStore {
    prefix: String,
    container: Container,
    stamps: Stamps,
    /// The registries; as many as the database has tables.
    tables: RwLock<HashMap<String, Table>>,
    /// A lease is taken before all that an invalidation drops or after all of
    /// it, never in between: what was read under one stamp may be shown by a
    /// fill that leases another of the same row.
    gate: RwLock<()>,
    everything: RwLock<Arc<Stamp>>,
    everything_dropped_at: AtomicU64,
    /// The time of the latest invalidation of all.
    latest: AtomicU64,
    /// Whether stamps say what they stand for.
    labels: bool,
}

/// A table's registry: the schemes in use, and the epoch they live in.
struct Table {
    epoch: Arc<Stamp>,
    schemes: Arc<Vec<Scheme>>,
    /// Microseconds since 1970; zero is never.
    invalidated_at: AtomicU64,
}

impl Table {
    fn new(epoch: Arc<Stamp>) -> Self {
        Table { epoch, schemes: Arc::default(), invalidated_at: AtomicU64::new(0) }
    }

    fn covers(&self, dnf: &TableDnf) -> bool {
        self.epoch.is_current()
            && dnf.conjunctions.iter().all(|c| self.schemes.iter().any(|s| s.is_of(c)))
    }

    fn enroll(&mut self, dnf: &TableDnf) {
        let schemes = Arc::make_mut(&mut self.schemes);
        for conjunction in &dnf.conjunctions {
            if !schemes.iter().any(|scheme| scheme.is_of(conjunction)) {
                schemes.push(Scheme::of(conjunction));
            }
        }
    }
}

impl MemoryStore {
    /// A store of at most `bytes`; with `labels` it can be inspected.
    pub(crate) fn new(prefix: &str, bytes: u64, labels: bool) -> Self {
        MemoryStore {
            prefix: prefix.to_owned(),
            container: Container::new(bytes),
            stamps: Stamps::new(),
            tables: RwLock::new(HashMap::new()),
            gate: RwLock::new(()),
            everything: RwLock::new(Stamp::new(None, None)),
            everything_dropped_at: AtomicU64::new(0),
            latest: AtomicU64::new(0),
            labels,
        }
    }

    /// The time to note for an invalidation: later than that of any before,
    /// so that a key which holds the time changes with every one.
    fn tick(&self, now: u64) -> u64 {
        let next = |latest: u64| Some(now.max(latest + 1));
        match self.latest.fetch_update(Ordering::SeqCst, Ordering::SeqCst, next) {
            Ok(before) => now.max(before + 1),
            Err(_) => now,
        }
    }

    fn label(&self, text: impl FnOnce() -> String) -> Option<String> {
        self.labels.then(text)
    }

    fn epoch(&self, table: &str) -> Arc<Stamp> {
        let everything = read(&self.everything).clone();
        Stamp::new(Some(everything), self.label(|| format!("{table}: any change")))
    }

    /// Registers the schemes of `dnf`; the epoch they were registered in.
    fn enroll(&self, dnf: &TableDnf) -> Arc<Stamp> {
        if let Some(table) = read(&self.tables).get(&dnf.table)
            && table.covers(dnf)
        {
            return table.epoch.clone();
        }
        let mut tables = write(&self.tables);
        let table =
            tables.entry(dnf.table.clone()).or_insert_with(|| Table::new(self.epoch(&dnf.table)));
        if !table.epoch.is_current() {
            table.epoch = self.epoch(&dnf.table);
            table.schemes = Arc::default();
        }
        table.enroll(dnf);
        table.epoch.clone()
    }

    /// Takes the stamps of a table; those above them hold while they do.
    fn lease_table(&self, dnf: &TableDnf, stamps: &mut Vec<Arc<Stamp>>) {
        let epoch = self.enroll(dnf);
        let mut key = String::new();
        for conjunction in &dnf.conjunctions {
            conjunction_key(&self.prefix, &dnf.table, conjunction, &mut key);
            let label = || self.label(|| describe(&dnf.table, conjunction));
            stamps.push(self.stamps.get(key.as_bytes(), &epoch, label));
        }
        if dnf.conjunctions.is_empty() {
            // No row matters, but the table can still go.
            stamps.push(epoch);
        }
    }

    /// Notes the time and hands out the schemes of a table, if it is known.
    fn touch(&self, table: &str, now: u64) -> Option<Arc<Vec<Scheme>>> {
        if let Some(known) = read(&self.tables).get(table) {
            known.invalidated_at.fetch_max(now, Ordering::SeqCst);
            return known.epoch.is_current().then(|| known.schemes.clone());
        }
        let mut tables = write(&self.tables);
        let known = tables.entry(table.to_owned()).or_insert_with(|| Table::new(self.epoch(table)));
        known.invalidated_at.fetch_max(now, Ordering::SeqCst);
        Some(known.schemes.clone())
    }

    fn invalidate_rows(&self, table: &str, rows: &[Row], now: u64) -> Dropped {
        let Some(schemes) = self.touch(table, now) else {
            return Dropped::default();
        };
        let mut dropped = Dropped { schemes: schemes.len(), ..Dropped::default() };
        let mut key = String::new();
        // An updated row mostly spells the same before and after.
        let mut previous = vec![String::new(); schemes.len()];
        for row in rows {
            for (scheme, previous) in schemes.iter().zip(&mut previous) {
                if !row_key(&self.prefix, table, scheme, row, &mut key) {
                    return self.invalidate_table(table, now);
                }
                if key != *previous {
                    dropped.stamps += usize::from(self.stamps.drop_key(key.as_bytes()));
                    std::mem::swap(&mut key, previous);
                }
            }
        }
        dropped
    }

    fn invalidate_table(&self, table: &str, now: u64) -> Dropped {
        let epoch = self.epoch(table);
        let mut tables = write(&self.tables);
        let known = tables.entry(table.to_owned()).or_insert_with(|| Table::new(epoch.clone()));
        known.invalidated_at.fetch_max(now, Ordering::SeqCst);
        let schemes = std::mem::take(&mut known.schemes).len();
        if !Arc::ptr_eq(&known.epoch, &epoch) {
            std::mem::replace(&mut known.epoch, epoch).drop_it();
        }
        Dropped { schemes, stamps: 1, whole: true }
    }

    fn invalidate_everything(&self, now: u64) -> Dropped {
        self.everything_dropped_at.fetch_max(now, Ordering::SeqCst);
        let new = Stamp::new(None, None);
        std::mem::replace(&mut *write(&self.everything), new).drop_it();
        Dropped { schemes: 0, stamps: 1, whole: true }
    }

    fn drop_stamp(&self, key: &[u8]) -> Dropped {
        Dropped { stamps: usize::from(self.stamps.drop_key(key)), ..Dropped::default() }
    }
}

impl Store for MemoryStore {
    fn get(&self, key: &FragmentKey) -> Option<Arc<Fragment>> {
        self.container.get(key)
    }

    fn put(&self, key: FragmentKey, fragment: Arc<Fragment>) -> bool {
        self.container.insert(key, fragment)
    }

    fn forget(&self, key: &FragmentKey, fragment: &Arc<Fragment>) {
        self.container.remove(key, fragment);
    }

    fn lease(&self, scope: &Scope<'_>) -> Vec<Arc<Stamp>> {
        let _before_or_after = read(&self.gate);
        let everything = read(&self.everything).clone();
        let mut stamps = Vec::with_capacity(2 + scope.tables.len() * 2);
        for dnf in scope.tables {
            self.lease_table(dnf, &mut stamps);
        }
        if let Some(name) = scope.name {
            let label = || self.label(|| format!("the name {name}"));
            let named = self.stamps.get(&name_key(&self.prefix, name), &everything, label);
            stamps.push(match scope.variant {
                Some(variant) => {
                    let label = || self.label(|| format!("a variant of {name}"));
                    let key = variant_key(&self.prefix, name, variant);
                    self.stamps.get(&key, &named, label)
                }
                None => named,
            });
        }
        if stamps.is_empty() {
            stamps.push(everything);
        }
        stamps
    }

    fn invalidate(&self, event: &Event<'_>, now: u64) -> Dropped {
        let now = self.tick(now);
        let _at_once = write(&self.gate);
        count_invalidation();
        match *event {
            Event::Rows { table, rows } => self.invalidate_rows(table, rows, now),
            Event::Table(table) => self.invalidate_table(table, now),
            Event::Name(name) => self.drop_stamp(&name_key(&self.prefix, name)),
            Event::Variant(name, variant) => {
                self.drop_stamp(&variant_key(&self.prefix, name, variant))
            }
            Event::Everything => self.invalidate_everything(now),
        }
    }

    fn last_invalidation(&self, tables: &[String]) -> Option<u64> {
        let known = read(&self.tables);
        let of = |table: &Table| table.invalidated_at.load(Ordering::SeqCst);
        let last = if tables.is_empty() {
            known.values().map(of).max()
        } else {
            tables.iter().filter_map(|name| known.get(name)).map(of).max()
        };
        let everything = self.everything_dropped_at.load(Ordering::SeqCst);
        Some(last.unwrap_or(0).max(everything)).filter(|at| *at != 0)
    }

    fn fragments(&self) -> Vec<(FragmentKey, Arc<Fragment>)> {
        self.container.all()
    }

    fn usage(&self) -> Usage {
        Usage {
            fragments: self.container.len(),
            bytes: self.container.bytes(),
            stamps: self.stamps.len(),
        }
    }
}

/// A conjunction as a person reads it.
fn describe(table: &str, conjunction: &[(String, String)]) -> String {
    if conjunction.is_empty() {
        return format!("{table}: any row");
    }
    let terms: Vec<String> =
        conjunction.iter().map(|(field, value)| format!("{field}={value}")).collect();
    format!("{table}: {}", terms.join(" and "))
}
