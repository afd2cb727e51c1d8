//! What a store in front of a shared one drops, and what it keeps.

use super::{Knows, MemoryStore, Scope, Stamp};
use crate::invalidate::registry_key;
use crate::prefix::Prefix;
use crate::protocol::Token;
use crate::queryset::TableDnf;
use crate::sync::Arc;

fn near() -> MemoryStore {
    let knows = Knows { labels: false, shared: true };
    MemoryStore::new(Prefix::new("p:".to_owned(), None), 1 << 20, knows)
}

/// The epoch of a table that a fill has just asked for.
fn leased_epoch(near: &MemoryStore) -> Arc<Stamp> {
    let tables = [TableDnf { table: "rows".to_owned(), conjunctions: Vec::new() }];
    let prefix = Prefix::new("p:".to_owned(), None);
    let prefixes = prefix.all_of(&["rows"]);
    let scope =
        Scope { prefixes: &prefixes, tables: &tables, name: None, variant: None, page: None };
    near.lease(&scope).remove(0)
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
