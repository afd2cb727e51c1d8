//! What only a shared tier has: other processes, a connection that can break, and
//! servers that can die. Each handle stands for a process: handles share only the
//! server.

mod access;
mod cold;
mod connections;
mod deliveries;
mod exchanges;
mod failures;
mod kinds;
mod locks;
mod losses;
mod outages;
mod pages;
mod rights;
mod sentinels;
mod suspended;
mod tracking;
mod values;
mod widening;

use std::cell::Cell;
use std::time::{Duration, Instant};

use cacheops::{Cacheops, Consistency, Error, QuerySet, Redis, eq};
use cacheops_tests::servers::Server;

/// The longest time that anything here takes on a busy machine.
const LONG: Duration = Duration::from_secs(30);

/// A process that uses a server.
fn process(redis: Redis) -> Cacheops {
    try_process(redis).unwrap()
}

fn try_process(redis: Redis) -> Result<Cacheops, Error> {
    Cacheops::builder().redis(redis.connect_timeout(LONG)).build()
}

/// Settings with which nothing times out.
fn patient(server: &Server) -> Redis {
    Redis::url(server.url()).operation_timeout(LONG)
}

fn strict(server: &Server) -> Redis {
    patient(server).consistency(Consistency::Strict)
}

/// Reads the fragment of a row. Returns its value, and whether it was filled now.
fn read(cache: &Cacheops, id: u64, database: &Cell<u64>) -> (u64, bool) {
    let filled = Cell::new(false);
    let value = row(cache, id).get_or_fill(|| {
        filled.set(true);
        Ok::<_, Error>(database.get())
    });
    (value.unwrap(), filled.get())
}

/// The same call site for all processes.
fn row(cache: &Cacheops, id: u64) -> cacheops::Cached<'_> {
    cache.cached_as(rows(id))
}

fn rows(id: u64) -> QuerySet {
    QuerySet::table("rows").filter(eq("id", id))
}

fn changed(id: u64) -> serde_json::Value {
    serde_json::json!({ "id": id })
}

/// Waits until a condition holds.
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + LONG;
    while !holds() {
        assert!(Instant::now() < deadline, "{what} did not come");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Whether a cache is connected.
fn is_live(cache: &Cacheops) -> bool {
    cache.shared_status().is_some_and(|status| status.state == cacheops::LinkState::Live)
}
