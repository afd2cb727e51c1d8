//! The store of one process.

use std::borrow::Cow;

use super::container::Container;
use super::stamp::{Stamp, StampMeta, Stamps, count_invalidation};
use super::tables::{Table, Tables, widened};
use super::{Dropped, StoreLease, Usage};
#[cfg(feature = "redis")]
use super::{SharedStamp, StampKind, StoreId};
use crate::fragment::Fragment;
use crate::key::FragmentKey;
use crate::prefix::Prefix;
#[cfg(feature = "redis")]
use crate::protocol::{Token, is_other_epoch};
use crate::queryset::LeaseScope;
use crate::queryset::{Conjunction, TableDnf};
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::{Arc, RwLock, read, write};
use crate::value::Row;
use crate::write::invalidation::{Invalidation, Subject};
use crate::write::keys::{
    MOST_KEYS, Scheme, conjunction_key, everything_key, name_key, registry_key, row_key,
    variant_key,
};

/// Fragments and stamps in the memory of one process: all there is, or the
/// near tier of a shared store, which then says which stamps are gone.
///
/// The decisions are made elsewhere: what is a hit ([`Fragment`] and its
/// stamps), what a change means ([`Invalidation`]). The store keeps, hands out and
/// drops. It keeps two promises, and the rule above all follows:
///
/// 1. A lease taken after [`invalidate`](MemoryStore::invalidate) has returned
///    holds no stamp that it dropped, and a lease taken before it, if the event
///    meets what it covers, holds one that is no longer current.
/// 2. A stamp that was dropped, or lost in any other way, is never current
///    again.
///
/// Nothing here blocks on anything but other callers' short sections.
pub(crate) struct MemoryStore {
    prefix: Prefix,
    container: Container,
    stamps: Stamps,
    /// The registries under their keys.
    tables: RwLock<Tables>,
    /// A lease is taken before all that an invalidation drops or after all of
    /// it, never in between: what was read under one stamp may be shown by a
    /// fill that leases another of the same row.
    gate: RwLock<()>,
    everything: RwLock<Arc<Stamp>>,
    /// The session of the line to the shared store, if there is one.
    session: AtomicU64,
    everything_dropped_at: AtomicU64,
    /// The time of the latest invalidation of all.
    latest: AtomicU64,
    meta: StampMetaOptions,
    /// The most bytes of fragments.
    #[cfg(feature = "redis")]
    limit: u64,
}

/// What stamps know of themselves.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct StampMetaOptions {
    /// What they stand for, in words.
    pub(crate) labels: bool,
    /// Where they lie in the shared store.
    #[cfg(feature = "redis")]
    pub(crate) shared: Option<StoreId>,
}

/// Where a stamp lies.
#[derive(Clone, Copy)]
#[cfg_attr(not(feature = "redis"), expect(dead_code, reason = "a shared store wants to know"))]
enum StampAddress<'a> {
    Everything(&'a [u8], u64),
    Epoch(&'a str),
    Plain(&'a [u8]),
}

impl StampMetaOptions {
    fn of(self, at: StampAddress<'_>, label: impl FnOnce() -> String) -> Option<Box<StampMeta>> {
        let meta = StampMeta {
            label: self.labels.then(label),
            #[cfg(feature = "redis")]
            shared: self.shared.map(|store| at.shared(store)),
        };
        #[cfg(not(feature = "redis"))]
        let _ = at;
        #[cfg(feature = "redis")]
        if meta.shared.is_some() {
            return Some(Box::new(meta));
        }
        meta.label.is_some().then(|| Box::new(meta))
    }
}

#[cfg(feature = "redis")]
impl StampAddress<'_> {
    fn shared(self, store: StoreId) -> SharedStamp {
        match self {
            StampAddress::Everything(key, session) => {
                SharedStamp::new(store, key, StampKind::Everything, session)
            }
            StampAddress::Epoch(key) => {
                SharedStamp::new(store, key.as_bytes(), StampKind::Epoch, 0)
            }
            StampAddress::Plain(key) => SharedStamp::new(store, key, StampKind::Plain, 0),
        }
    }
}

impl MemoryStore {
    /// A store of at most `bytes`.
    pub(crate) fn new(prefix: Prefix, bytes: u64, meta: StampMetaOptions) -> Self {
        MemoryStore {
            everything: RwLock::new(new_everything(&prefix, meta, 0)),
            session: AtomicU64::new(0),
            prefix,
            container: Container::new(bytes),
            stamps: Stamps::new(),
            tables: RwLock::default(),
            gate: RwLock::new(()),
            everything_dropped_at: AtomicU64::new(0),
            latest: AtomicU64::new(0),
            meta,
            #[cfg(feature = "redis")]
            limit: bytes,
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

    fn epoch(&self, registry: &str) -> Arc<Stamp> {
        let everything = read(&self.everything).clone();
        let label = || {
            let table = registry.rsplit_once("schemes:").map_or(registry, |(_, table)| table);
            format!("{table}: any change")
        };
        Stamp::new(Some(everything), self.meta.of(StampAddress::Epoch(registry), label))
    }

    /// Registers the schemes of `dnf`; the epoch they were registered in, and
    /// what is leased instead where there is no room for all of them. Both are
    /// decided under one lock: whoever comes between would take the room.
    fn enroll(&self, registry: String, dnf: &TableDnf) -> (Arc<Stamp>, Option<Vec<Conjunction>>) {
        let fit = |table: &Table| widened(table.registered(), &dnf.conjunctions);
        if let Some(table) = read(&self.tables).get(&registry) {
            let wide = fit(table);
            if table.covers(wide.as_ref().unwrap_or(&dnf.conjunctions)) {
                return (table.epoch.clone(), wide);
            }
        }
        let mut tables = write(&self.tables);
        let table = self.enter(&mut tables, &registry);
        let wide = fit(table);
        table.enroll(wide.as_ref().unwrap_or(&dnf.conjunctions), || self.epoch(&registry));
        (table.epoch.clone(), wide)
    }

    /// The table under a key, made if it is not known.
    fn enter<'t>(&self, tables: &'t mut Tables, registry: &str) -> &'t mut Table {
        let sweep = || self.stamps.sweep();
        tables.enter(registry.to_owned(), || self.epoch(registry), sweep)
    }

    /// Takes the stamps of a table; those above them hold while they do. Tells
    /// which conjunctions they are of, if not those of `dnf`.
    fn lease_table(
        &self,
        prefix: &str,
        dnf: &TableDnf,
        stamps: &mut Vec<Arc<Stamp>>,
    ) -> Option<Vec<Conjunction>> {
        let (epoch, wide) = self.enroll(registry_key(prefix, &dnf.table), dnf);
        let conjunctions = wide.as_ref().unwrap_or(&dnf.conjunctions);
        let mut key = String::new();
        for conjunction in conjunctions {
            conjunction_key(prefix, &dnf.table, conjunction, &mut key);
            let label = || describe(&dnf.table, conjunction);
            let meta = || self.meta.of(StampAddress::Plain(key.as_bytes()), label);
            stamps.push(self.stamps.get(key.as_bytes(), &epoch, meta));
        }
        if conjunctions.is_empty() {
            // No row matters, but the table can still go.
            stamps.push(epoch);
        }
        wide
    }

    /// Notes the time and hands out the schemes of a table, if it is known.
    fn touch(&self, registry: &str, now: u64) -> Option<Arc<Vec<Scheme>>> {
        if let Some(known) = read(&self.tables).get(registry) {
            known.invalidated_at.fetch_max(now, Ordering::SeqCst);
            return known.epoch.is_current().then(|| known.schemes.clone());
        }
        let mut tables = write(&self.tables);
        let known = self.enter(&mut tables, registry);
        known.invalidated_at.fetch_max(now, Ordering::SeqCst);
        Some(known.schemes.clone())
    }

    fn invalidate_rows(&self, prefix: &str, table: &str, rows: &[Row], now: u64) -> Dropped {
        let Some(schemes) = self.touch(&registry_key(prefix, table), now) else {
            return Dropped::default();
        };
        let mut dropped = Dropped { schemes: schemes.len(), ..Dropped::default() };
        let mut key = String::new();
        // An updated row mostly spells the same before and after.
        let mut previous = vec![String::new(); schemes.len()];
        let mut spelled = 0;
        for row in rows {
            for (scheme, previous) in schemes.iter().zip(&mut previous) {
                if !row_key(prefix, table, scheme, row, &mut key) {
                    return self.invalidate_table(prefix, table, now);
                }
                if key != *previous {
                    spelled += 1;
                    if spelled > MOST_KEYS {
                        return self.invalidate_table(prefix, table, now);
                    }
                    dropped.stamps += usize::from(self.stamps.drop_key(key.as_bytes()));
                    std::mem::swap(&mut key, previous);
                }
            }
        }
        dropped
    }

    fn invalidate_table(&self, prefix: &str, table: &str, now: u64) -> Dropped {
        let registry = registry_key(prefix, table);
        let mut tables = write(&self.tables);
        let known = self.enter(&mut tables, &registry);
        known.invalidated_at.fetch_max(now, Ordering::SeqCst);
        let schemes = std::mem::take(&mut known.schemes).len();
        std::mem::replace(&mut known.epoch, self.epoch(&registry)).drop_it();
        Dropped { schemes, stamps: 1, whole_table: true }
    }

    fn invalidate_everything(&self, now: u64) -> Dropped {
        self.everything_dropped_at.fetch_max(now, Ordering::SeqCst);
        self.replace_everything();
        Dropped { schemes: 0, stamps: 1, whole_table: true }
    }

    fn replace_everything(&self) {
        let session = self.session.load(Ordering::SeqCst);
        let new = new_everything(&self.prefix, self.meta, session);
        std::mem::replace(&mut *write(&self.everything), new).drop_it();
    }

    fn drop_key(&self, key: &[u8]) -> Dropped {
        Dropped { stamps: usize::from(self.stamps.drop_key(key)), ..Dropped::default() }
    }
}

impl MemoryStore {
    /// What is kept under `key`, current or not. Nothing is promised to stay.
    pub(crate) fn get(&self, key: &FragmentKey) -> Option<Arc<Fragment>> {
        self.container.get(key)
    }

    /// Keeps `fragment` in place of what was there. False when it is larger
    /// than the store can take; what was there may then stay.
    pub(crate) fn put(&self, key: FragmentKey, fragment: Arc<Fragment>) -> bool {
        self.container.insert(key, fragment)
    }

    /// Whether invalidations of this store reach whatever stands on `stamps`. In one
    /// process a stamp tells by itself whether it is current; over a shared store, only
    /// that store's own connection brings news of it.
    pub(crate) fn owns(&self, stamps: &[Arc<Stamp>]) -> bool {
        #[cfg(feature = "redis")]
        return stamps.iter().all(|stamp| stamp.store() == self.meta.shared);
        #[cfg(not(feature = "redis"))]
        {
            let _ = stamps;
            true
        }
    }

    /// Forgets `fragment`, found not to be current any more.
    pub(crate) fn forget(&self, key: &FragmentKey, fragment: &Arc<Fragment>) {
        self.container.remove(key, fragment);
    }

    /// Registers the schemes of `scope`, then reads or creates its stamps:
    /// in that order, and both before the caller reads any data.
    pub(crate) fn lease<'s>(&self, scope: &LeaseScope<'s>) -> StoreLease<'s> {
        let _before_or_after = read(&self.gate);
        let everything = read(&self.everything).clone();
        let mut stamps = Vec::with_capacity(2 + scope.tables.len() * 2);
        let mut tables = Cow::Borrowed(scope.tables);
        for (n, dnf) in scope.tables.iter().enumerate() {
            let wide = self.lease_table(scope.prefixes.of(&dnf.table), dnf, &mut stamps);
            if let Some(wide) = wide {
                tables.to_mut()[n].conjunctions = wide;
            }
        }
        if let Some(name) = scope.name {
            let prefix = scope.prefixes.of("");
            let key = name_key(prefix, name);
            let meta = || self.meta.of(StampAddress::Plain(&key), || format!("the name {name}"));
            let named = self.stamps.get(&key, &everything, meta);
            stamps.push(match scope.variant {
                Some(variant) => {
                    let key = variant_key(prefix, name, variant);
                    let label = || format!("a variant of {name}");
                    self.stamps.get(&key, &named, || self.meta.of(StampAddress::Plain(&key), label))
                }
                None => named,
            });
        }
        if stamps.is_empty() {
            stamps.push(everything);
        }
        StoreLease { stamps, tables }
    }

    /// Drops what `event` meets behind a prefix; has done so when it returns.
    /// `now` is in microseconds since 1970. The prefix comes from outside: what
    /// computes it is the application's, and may ask this very store.
    pub(crate) fn invalidate(&self, invalidation: &Invalidation, now: u64) -> Dropped {
        let now = self.tick(now);
        let prefix = &*invalidation.prefix;
        self.at_once(|| match &invalidation.subject {
            Subject::Rows { table, rows } => self.invalidate_rows(prefix, table, rows, now),
            Subject::Table(table) => self.invalidate_table(prefix, table, now),
            Subject::Fragment(name) => self.drop_key(&name_key(prefix, name)),
            Subject::Variant { name, variant } => {
                self.drop_key(&variant_key(prefix, name, variant))
            }
            Subject::Everything => self.invalidate_everything(now),
        })
    }

    /// Drops stamps while no lease is taken.
    fn at_once<R>(&self, drop: impl FnOnce() -> R) -> R {
        let _alone = write(&self.gate);
        let dropped = drop();
        count_invalidation();
        dropped
    }

    /// When one of `tables`, given with their prefixes, or any at all if there are none, was last
    /// invalidated, in microseconds since 1970.
    pub(crate) fn last_invalidation(&self, tables: &[(String, String)]) -> Option<u64> {
        let registries: Vec<String> =
            tables.iter().map(|(prefix, table)| registry_key(prefix, table)).collect();
        let last = read(&self.tables).last_invalidation(&registries);
        let everything = self.everything_dropped_at.load(Ordering::SeqCst);
        Some(last.max(everything)).filter(|at| *at != 0)
    }

    /// All that is kept, current or not, in no order; for inspection.
    pub(crate) fn fragments(&self) -> Vec<(FragmentKey, Arc<Fragment>)> {
        self.container.all()
    }

    /// How much is kept.
    pub(crate) fn usage(&self) -> Usage {
        let (tables, table_bytes) = read(&self.tables).usage();
        Usage {
            fragments: self.container.len(),
            bytes: self.container.bytes(),
            stamps: self.stamps.len(),
            tables,
            bookkeeping: (table_bytes + self.stamps.bytes()) as u64,
        }
    }
}

/// What the shared store tells of its stamps.
#[cfg(feature = "redis")]
impl MemoryStore {
    /// Which store it is, before a shared one.
    pub(crate) fn id(&self) -> Option<StoreId> {
        self.meta.shared
    }

    /// The most bytes of fragments.
    pub(crate) fn limit(&self) -> u64 {
        self.limit
    }

    /// The stamp of everything.
    pub(crate) fn everything(&self) -> Arc<Stamp> {
        read(&self.everything).clone()
    }

    /// The stamp at a place, made without a token if there is none.
    pub(crate) fn stamp_at(&self, kind: StampKind, key: &[u8], parent: &Arc<Stamp>) -> Arc<Stamp> {
        let _before_or_after = read(&self.gate);
        match kind {
            StampKind::Everything => read(&self.everything).clone(),
            StampKind::Plain => {
                let label = || describe_key(self.prefix.fixed(), key);
                self.stamps.get(key, parent, || self.meta.of(StampAddress::Plain(key), label))
            }
            StampKind::Epoch => {
                let registry = String::from_utf8_lossy(key).into_owned();
                let current = |table: &&Table| table.epoch.is_current();
                if let Some(table) = read(&self.tables).get(&registry).filter(current) {
                    return table.epoch.clone();
                }
                let dnf = TableDnf { table: String::new(), conjunctions: Vec::new() };
                self.enroll(registry, &dnf).0
            }
        }
    }

    /// Drops whatever stands under a key that has changed or may have.
    pub(crate) fn key_changed(&self, key: &[u8]) {
        self.at_once(|| self.drop_at(key));
    }

    fn drop_at(&self, key: &[u8]) {
        if self.stamps.drop_key(key) {
            return;
        }
        if everything_key(self.prefix.fixed()) == key {
            return self.replace_everything();
        }
        let Ok(registry) = std::str::from_utf8(key) else { return };
        if let Some(table) = read(&self.tables).get(registry) {
            table.epoch.drop_it();
        }
    }

    /// Drops a stamp that was found not to be the current one.
    pub(crate) fn drop_stamp(&self, stamp: &Arc<Stamp>) {
        if stamp.store() != self.meta.shared {
            return;
        }
        self.at_once(|| match stamp.shared() {
            Some(shared) if shared.kind() == StampKind::Plain => {
                self.stamps.drop_stamp(shared.key(), stamp);
            }
            Some(shared) if shared.kind() == StampKind::Everything => {
                if Arc::ptr_eq(&self.everything(), stamp) {
                    self.replace_everything();
                }
            }
            _ => stamp.drop_it(),
        });
    }

    /// Drops what a change of rows met: the stamps under `keys`, and the epoch
    /// of the registry unless it is known to be `epoch`. One that is being
    /// asked for may yet turn out to be another: read before the registry went,
    /// and with it the schemes that would have told what else to drop.
    pub(crate) fn rows_changed(&self, registry: &str, epoch: Option<Token>, keys: &[Vec<u8>]) {
        self.at_once(|| {
            if let Some(table) = read(&self.tables).get(registry) {
                let known = table.epoch.shared().and_then(|shared| shared.token());
                if is_other_epoch(known, epoch) {
                    table.epoch.drop_it();
                }
            }
            keys.iter().for_each(|key| self.drop_at(key));
        });
    }

    /// Distrusts all stamps, since news of changes may have been missed.
    pub(crate) fn all_changed(&self) {
        self.at_once(|| self.replace_everything());
    }

    /// The session that stamps are made in.
    pub(crate) fn session(&self) -> u64 {
        self.session.load(Ordering::SeqCst)
    }

    /// Distrusts all stamps; those made from now on belong to `session`.
    pub(crate) fn begin_session(&self, session: u64) {
        self.at_once(|| {
            self.session.store(session, Ordering::SeqCst);
            self.replace_everything();
        });
    }
}

fn new_everything(prefix: &Prefix, meta: StampMetaOptions, session: u64) -> Arc<Stamp> {
    let key = everything_key(prefix.fixed());
    let mut meta = meta;
    // It goes without saying.
    meta.labels = false;
    Stamp::new(None, meta.of(StampAddress::Everything(&key, session), String::new))
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

/// What stands under a key, in the words of the process that made it. What is
/// computed behind the fixed prefix is left out.
#[cfg(feature = "redis")]
fn describe_key(prefix: &str, key: &[u8]) -> String {
    let key = String::from_utf8_lossy(key);
    let rest = key.strip_prefix(prefix).unwrap_or(&key);
    let begin = ["conj:", "name:", "variant:"].iter().filter_map(|kind| rest.find(kind)).min();
    let known = begin.and_then(|begin| match rest[begin..].split_once(':')? {
        ("conj", conjunction) => {
            let (table, terms) = conjunction.split_once(':')?;
            Some(describe(table, &terms.split('&').filter_map(read_term).collect::<Vec<_>>()))
        }
        ("name", name) => Some(format!("the name {name}")),
        (_, variant) => {
            let (len, rest) = variant.split_once(':')?;
            Some(format!("a variant of {}", rest.get(..len.parse().ok()?)?))
        }
    });
    known.unwrap_or_else(|| rest.to_owned())
}

/// Reads `field=value` of a conjunction's key.
#[cfg(feature = "redis")]
fn read_term(term: &str) -> Option<(String, String)> {
    let (field, value) = term.split_once('=')?;
    let value = value.replace("%3A", ":").replace("%26", "&").replace("%25", "%");
    Some((field.to_owned(), value))
}

#[cfg(all(test, feature = "redis"))]
mod tests {
    use super::describe_key;

    #[test]
    fn keys_are_told_in_words() {
        let told = |key: &str| describe_key("app:", key.as_bytes());
        assert_eq!(
            told("app:conj:blog.articles:category=3&status=a%26b"),
            "blog.articles: category=3 and status=a&b"
        );
        assert_eq!(told("app:conj:articles:"), "articles: any row");
        assert_eq!(told("app:tenant/conj:articles:id=1"), "articles: id=1");
        assert_eq!(told("app:name:list"), "the name list");
        assert_eq!(told("app:variant:4:list:\u{1}7"), "a variant of list");
        assert_eq!(told("app:something"), "something");
    }
}
