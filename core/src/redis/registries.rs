//! The registries of tables as they were last seen: which schemes an invalidation
//! of rows tries first.

use super::bounded_map::{BoundedMap, Weight};
use crate::protocol::Registry;
use crate::write::keys::Scheme;

/// The registries by their keys.
#[derive(Debug)]
pub(crate) struct Registries(BoundedMap<String, Registry>);

impl Weight for Registry {
    fn weight(&self) -> usize {
        // Its key is about as long as a scheme.
        size_of::<Registry>() + 32 + self.schemes.iter().map(Scheme::weight).sum::<usize>()
    }
}

impl Registries {
    /// Room beside `limit` bytes of fragments. Tenants may have many registries.
    pub(super) fn beside(limit: u64) -> Self {
        Registries(BoundedMap::beside(limit))
    }

    /// What they take, in bytes.
    pub(super) fn bytes(&self) -> u64 {
        self.0.bytes()
    }

    pub(super) fn get(&self, key: &str) -> Registry {
        self.0.get(key).unwrap_or_default()
    }

    pub(super) fn forget(&self, key: &[u8]) {
        if let Ok(key) = std::str::from_utf8(key) {
            self.0.remove(key);
        }
    }

    pub(super) fn set(&self, key: String, registry: Registry) {
        self.0.insert(key, registry);
    }
}
