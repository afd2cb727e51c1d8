//! Whom a thread works for: it decides which part of the store is used.

use std::cell::Cell;

use super::rng::Rng;

/// How many there are. All have rows of the same ids in the same table.
pub const TENANTS: u64 = 3;

thread_local!(static TENANT: Cell<u64> = const { Cell::new(0) });

/// One of them, mostly the first: something is to be found again.
pub fn any(rng: &mut Rng) -> u64 {
    if rng.once_in(2) { rng.below(TENANTS) } else { 0 }
}

/// From now on this thread works for a tenant.
pub fn be(tenant: u64) {
    TENANT.set(tenant);
}

/// Whom this thread works for.
pub fn present() -> u64 {
    TENANT.get()
}

/// Calls what begins something for a tenant. What it answers goes on while the
/// thread works for another one.
pub fn begin<T>(tenant: u64, call: impl FnOnce() -> T) -> T {
    be(tenant);
    let begun = call();
    be((tenant + 1) % TENANTS);
    begun
}
