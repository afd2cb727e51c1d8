//! The tenant that a thread works for, which decides the prefix in the store.

use std::cell::Cell;

use super::rng::Rng;

/// The number of tenants. All have rows with the same ids in the same table.
pub const TENANTS: u64 = 3;

thread_local!(static TENANT: Cell<u64> = const { Cell::new(0) });

/// One of them, usually the first, so that fragments are found again.
pub fn any(rng: &mut Rng) -> u64 {
    if rng.once_in(2) { rng.below(TENANTS) } else { 0 }
}

/// From now on this thread works for a tenant.
pub fn be(tenant: u64) {
    TENANT.set(tenant);
}

/// The tenant of this thread.
pub fn present() -> u64 {
    TENANT.get()
}

/// Begins an operation for a tenant. It continues while the thread works for another
/// one.
pub fn begin<T>(tenant: u64, call: impl FnOnce() -> T) -> T {
    be(tenant);
    let begun = call();
    be((tenant + 1) % TENANTS);
    begun
}
