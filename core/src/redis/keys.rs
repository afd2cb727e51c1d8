//! The keys of the shared tier that no stamp has; those of stamps are in
//! `write::keys`.

use crate::key::FragmentKey;

/// Where a fragment lies.
pub(super) fn fragment_key(prefix: &str, key: FragmentKey) -> Vec<u8> {
    [prefix.as_bytes(), b"frag:", &key.digits()].concat()
}

/// Where the lock on filling a fragment lies.
pub(super) fn lock_key(prefix: &str, key: FragmentKey) -> Vec<u8> {
    [prefix.as_bytes(), b"lock:", &key.digits()].concat()
}
