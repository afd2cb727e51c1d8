//! Lookups of fragments that are not in memory, which also take a lease.

use std::cell::Cell;
use std::future::ready;
use std::io::Write;
use std::net::TcpStream;
use std::sync::mpsc;
use std::thread;

use cacheops::{Cacheops, Consistency, Error};
use cacheops_tests::servers::{Server, Trips};
use futures_executor::block_on;
use futures_util::FutureExt;

use super::{LONG, changed, patient, process, read, row, until};

/// The same fragment whoever asks.
async fn one(cache: Cacheops) -> u64 {
    any(cache, 1).await
}

async fn any(cache: Cacheops, id: u64) -> u64 {
    row(&cache, id).get_or_fill_async(|| ready(Ok::<_, Error>(1))).await.unwrap()
}

fn locks(server: &Server) -> String {
    server.command(&["KEYS", "lock:*"]).unwrap()
}

/// A future that has begun a lookup and is not polled does not delay the hits of
/// others.
#[test]
fn hits_do_not_wait_for_an_unpolled_future() {
    let server = Server::start();
    let (first, cache) = (process(patient(&server)), process(patient(&server)));
    block_on(one(first));
    server.stop();
    let mut kept = Box::pin(one(cache.clone()));
    assert!((&mut kept).now_or_never().is_none());
    server.cont();
    let (tell, told) = mpsc::channel();
    let asking = cache.clone();
    thread::spawn(move || tell.send(block_on(one(asking))));
    assert_eq!(told.recv_timeout(LONG), Ok(1), "it waits for a future that nobody polls");
    assert_eq!(cache.stats().shared_hits, 1);
    assert_eq!(block_on(kept), 1);
}

/// A future that is dropped during a lookup leaves no lock, whether the server has
/// answered or not.
#[test]
fn dropped_futures_release_their_lock() {
    let server = Server::start();
    let cache = process(patient(&server).lock_limit(10 * LONG));
    for answered in [false, true] {
        server.stop();
        let mut looking = Box::pin(one(cache.clone()));
        assert!((&mut looking).now_or_never().is_none());
        if answered {
            server.cont();
            until("the lock is had", || !locks(&server).is_empty());
        }
        drop(looking);
        server.cont();
        until("the lock is given back", || locks(&server).is_empty());
    }
    assert_eq!(block_on(one(cache)), 1);
}

/// A process that ends after a hit leaves no lock.
#[test]
fn a_process_that_ends_releases_its_locks() {
    let server = Server::start();
    let first = process(patient(&server));
    block_on(one(first));
    for _ in 0..20 {
        let short = process(patient(&server).lock_limit(10 * LONG));
        assert_eq!(block_on(one(short.clone())), 1);
        drop(short);
        assert_eq!(locks(&server), "");
    }
}

/// It leaves fragments of other tables in memory verified.
#[test]
fn a_dropped_future_leaves_memory_verified() {
    let server = Server::start();
    let redis = patient(&server).consistency(Consistency::Bounded(LONG));
    let cache = process(redis);
    let database = Cell::new(1);
    let other = |value: u64| {
        let fill = move || Ok::<_, Error>(value);
        cache.cached_as("others").get_or_fill(fill).unwrap()
    };
    assert_eq!(other(1), 1);
    server.stop();
    let mut looking = Box::pin(one(cache.clone()));
    assert!((&mut looking).now_or_never().is_none());
    drop(looking);
    server.cont();
    until("the lock is given back", || locks(&server).is_empty());
    let mut trips = Trips::since_now(&server);
    assert_eq!(other(2), 1);
    assert_eq!(trips.count(), 0);
    // Its stamps are leased anew, and invalidations drop them.
    read(&cache, 1, &database);
    database.set(2);
    cache.invalidate_obj("rows", &changed(1)).unwrap();
    assert_eq!(read(&cache, 1, &database), (2, true));
}

/// A full server refuses leases, and serves what it has.
#[test]
fn a_full_server_still_serves_what_it_has() {
    let server = Server::start();
    let (here, there) = (process(patient(&server)), process(patient(&server)));
    let database = Cell::new(1);
    for id in 1..4 {
        read(&here, id, &database);
    }
    server.command(&["CONFIG", "SET", "maxmemory", "1"]).unwrap();
    assert_eq!(read(&there, 1, &Cell::new(0)), (1, false), "in a process that had none of it");
    assert_eq!(read(&here, 9, &database), (1, true));
    assert_eq!(read(&here, 2, &Cell::new(0)), (1, false), "beside one that cannot be kept");
    assert_eq!(here.stats().shared_hits, 0, "from memory");
    assert_eq!(read(&there, 3, &Cell::new(0)), (1, false));
    server.command(&["CONFIG", "SET", "maxmemory", "0"]).unwrap();
    database.set(2);
    there.invalidate_obj("rows", &changed(2)).unwrap();
    here.invalidate_obj("rows", &changed(9)).unwrap();
    until("the push", || read(&here, 2, &database).0 == 2);
    assert_eq!(read(&here, 9, &database), (2, true));
}

/// When memory is unverified, its stamps are compared; nothing is leased or read.
#[test]
fn unverified_fragments_only_have_their_stamps_compared() {
    let server = Server::start();
    let cache = process(patient(&server));
    read(&cache, 1, &Cell::new(1));
    let sets = || server.info("cmdstat_set");
    let before = sets();
    // The same token again: nothing has changed, and the server pushes that it has.
    server.command(&["RENAME", "all", "elsewhere"]).unwrap();
    server.command(&["RENAME", "elsewhere", "all"]).unwrap();
    until("a revalidation", || {
        assert_eq!(read(&cache, 1, &Cell::new(2)), (1, false));
        cache.stats().shared_hits > 0
    });
    assert_eq!(sets(), before);
}

/// When a push arrives during a lease, the lease is taken once more; nothing is
/// rendered in vain.
#[test]
fn a_push_during_a_lease_costs_no_rendering() {
    let server = Server::start();
    let cache = process(patient(&server));
    let mut connection = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
    let mut say = |command: &str| connection.write_all(format!("{command}\r\n").as_bytes());
    for id in 1..20 {
        read(&cache, 0, &Cell::new(1));
        if id % 2 == 0 {
            // Memory knows nothing then, and everything is read.
            cache.invalidate_all().unwrap();
        }
        say("PING").unwrap();
        until("the connection is open", || server.info("connected_clients") != "1");
        server.stop();
        // The server executes it before the lookup, so the push comes before the reply.
        say("DEL all schemes:rows").unwrap();
        let mut looking = Box::pin(any(cache.clone(), id));
        assert!((&mut looking).now_or_never().is_none());
        server.cont();
        let stored = cache.stats().stored;
        assert_eq!(block_on(looking), 1);
        assert_eq!(cache.stats().stored, stored + 1);
    }
}
