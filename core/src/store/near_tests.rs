//! What a store in front of a shared one drops, and what it keeps.

use std::sync::Barrier;

use super::tables::MOST_SCHEMES;
use super::{MemoryStore, Stamp, StampMetaOptions, StoreId};
use crate::prefix::Prefix;
use crate::protocol::Token;
use crate::queryset::LeaseScope;
use crate::queryset::{Conjunction, TableDnf};
use crate::sync::Arc;
use crate::write::keys::{conjunction_key, registry_key};

fn near() -> MemoryStore {
    let meta = StampMetaOptions { labels: false, shared: Some(StoreId::new()) };
    MemoryStore::new(Prefix::new("p:".to_owned(), None), 1 << 20, meta)
}

/// The epoch of a table that a fill has just asked for.
fn leased_epoch(near: &MemoryStore) -> Arc<Stamp> {
    let tables = [TableDnf { table: "rows".to_owned(), conjunctions: Vec::new() }];
    let prefix = Prefix::new("p:".to_owned(), None);
    let prefixes = prefix.all_of(&["rows"]);
    let scope =
        LeaseScope { prefixes: &prefixes, tables: &tables, name: None, variant: None, page: None };
    near.lease(&scope).stamps.remove(0)
}

/// A sweep that finds another registry than a fill is just being told of knows
/// too few schemes to drop what the fill will stand on. (Two writers, one of
/// which drops the table: the other returned before the first had told memory,
/// and what was found by the old epoch was served once more.)
#[test]
fn an_epoch_that_is_not_known_yet_goes_with_any_other() {
    let (one, other) = (Token::random().unwrap(), Token::random().unwrap());
    for (known, found, stays) in [
        (None, None, false),
        (None, Some(one), false),
        (Some(one), None, false),
        (Some(one), Some(other), false),
        (Some(one), Some(one), true),
    ] {
        let near = near();
        let epoch = leased_epoch(&near);
        if known.is_some() {
            assert!(epoch.shared().unwrap().settle(known));
        }
        near.rows_changed(&registry_key("p:", "rows"), found, &[]);
        assert_eq!(epoch.is_current(), stays, "{known:?} {found:?}");
    }
}

/// Leases conjunctions of the fields `f{n}`. The conjunctions that the lease says
/// it is of, and the keys of its stamps.
fn lease_fields(
    near: &MemoryStore,
    fields: impl Iterator<Item = usize>,
) -> (Vec<Conjunction>, Vec<Vec<u8>>) {
    let of = |n| vec![(format!("f{n}"), "1".to_owned())];
    let tables = [TableDnf { table: "rows".to_owned(), conjunctions: fields.map(of).collect() }];
    let prefix = Prefix::new("p:".to_owned(), None);
    let prefixes = prefix.all_of(&["rows"]);
    let scope =
        LeaseScope { prefixes: &prefixes, tables: &tables, name: None, variant: None, page: None };
    let taken = near.lease(&scope);
    let keys = taken.stamps.iter().filter_map(|it| Some(it.shared()?.key().to_vec())).collect();
    (taken.tables[0].conjunctions.clone(), keys)
}

/// Whatever schemes threads race to add: what a lease tells to register is what
/// its stamps are of, and a table has as many schemes as it may, and any row.
#[test]
fn what_is_leased_is_what_is_told() {
    const NEW: usize = 8;
    for _ in 0..200 {
        let near = near();
        lease_fields(&near, 1..MOST_SCHEMES);
        let start = Barrier::new(NEW);
        let lease = |n: usize| {
            start.wait();
            lease_fields(&near, std::iter::once(200 + n))
        };
        let lease = &lease;
        let told = std::thread::scope(|scope| {
            let all: Vec<_> = (0..NEW).map(|n| scope.spawn(move || lease(n))).collect();
            all.into_iter().map(|one| one.join().unwrap()).collect::<Vec<_>>()
        });
        for (conjunctions, keys) in &told {
            let key_of = |conjunction| {
                let mut key = String::new();
                conjunction_key("p:", "rows", conjunction, &mut key);
                key.into_bytes()
            };
            assert_eq!(*keys, conjunctions.iter().map(key_of).collect::<Vec<_>>());
        }
        let narrow = told.iter().filter(|(conjunctions, _)| !conjunctions[0].is_empty()).count();
        assert_eq!(narrow, 1, "there was room for one");
    }
}
