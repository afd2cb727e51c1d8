//! Which environment of templates a fragment is of.

use std::hash::{BuildHasher, RandomState};

use crate::cache::handle::Cacheops;
use crate::key::KeyWriter;

/// Tells the fragments of one environment of an engine from those of another
/// in the same cache: their templates may have the same names and sources, and
/// still render otherwise, by other globals, functions or filters.
///
/// The first environment without a name is the same one in all processes; each
/// further one is like no other, here or elsewhere. A name makes it the same
/// wherever it is called so.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EnvironmentId(Option<String>);

impl EnvironmentId {
    /// One without a name, of an engine, which comes to a cache now.
    #[must_use]
    pub fn next(cache: &Cacheops, engine: &'static str) -> Self {
        if cache.is_first_environment(engine) {
            return EnvironmentId(None);
        }
        let random = || RandomState::new().hash_one(engine);
        EnvironmentId(Some(format!("{:016x}{:016x}", random(), random())))
    }

    /// One with a name.
    #[must_use]
    pub fn named(name: &str) -> Self {
        EnvironmentId(Some(format!("name {name}")))
    }

    /// Writes it into a key, with its engine: one source is another template
    /// to another engine.
    pub fn write_key(&self, engine: &str, key: &mut KeyWriter) {
        key.str(engine);
        if let Some(of) = &self.0 {
            key.list(1);
            key.str(of);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_first_is_shared() {
        let cache = Cacheops::in_memory();
        let key = |of: &EnvironmentId| {
            let mut key = KeyWriter::new();
            of.write_key("e", &mut key);
            key.finish()
        };
        let next = |cache: &Cacheops| EnvironmentId::next(cache, "e");
        let (first, second, third) = (next(&cache), next(&cache.clone()), next(&cache));
        assert_eq!(key(&first), key(&next(&Cacheops::in_memory())));
        assert_ne!(key(&first), key(&second));
        assert_ne!(key(&second), key(&third));
        assert_eq!(EnvironmentId::next(&cache, "other"), first);
        assert_eq!(EnvironmentId::named("a"), EnvironmentId::named("a"));
        assert_ne!(key(&EnvironmentId::named("a")), key(&EnvironmentId::named("b")));
        assert_ne!(key(&EnvironmentId::named("a")), key(&first));
    }
}
