//! Data that is exchanged while the connection stays open.

use std::cell::Cell;
use std::time::Duration;

use cacheops::{Cacheops, Consistency, Error, Redis};
use cacheops_tests::servers::{Mode, Proxy, Server};

use super::{LONG, changed, patient, process, read, row, strict, try_process, until};

/// Two processes that have the old row, one of them strict.
fn both(redis: impl Fn() -> Redis) -> [Cacheops; 2] {
    let bounded = Consistency::Bounded(Duration::from_millis(300));
    [process(redis().consistency(bounded)), process(redis().consistency(Consistency::Strict))]
}

fn both_read(caches: &[Cacheops], database: &Cell<u64>) {
    caches.iter().for_each(|cache| {
        read(cache, 1, database);
    });
}

/// Soon nobody shows the old row any more, and then never again.
fn until_new(caches: &[Cacheops], database: &Cell<u64>) {
    for cache in caches {
        until("the new", || read(cache, 1, database).0 == database.get());
    }
    for _ in 0..20 {
        caches.iter().for_each(|cache| assert_eq!(read(cache, 1, database).0, database.get()));
    }
}

/// The other database is empty: invalidations there cause no push.
#[test]
fn swapped_databases_are_noticed() {
    let server = Server::start();
    let caches = both(|| patient(&server));
    let (announcing, database) = (process(strict(&server)), Cell::new(1));
    let announcements: [fn(&Cacheops); 3] = [
        |cache| cache.invalidate_obj("rows", &changed(1)).unwrap(),
        |cache| cache.invalidate_model("rows").unwrap(),
        |cache| cache.invalidate_all().unwrap(),
    ];
    for announce in announcements {
        both_read(&caches, &database);
        server.command(&["SWAPDB", "0", "1"]).unwrap();
        database.set(database.get() + 1);
        announce(&announcing);
        until_new(&caches, &database);
    }
}

/// The other database is an older copy, with the stamps that were dropped since.
#[test]
fn databases_swapped_twice_are_noticed() {
    let server = Server::start();
    let caches = both(|| patient(&server));
    let (announcing, database) = (process(strict(&server)), Cell::new(1));
    both_read(&caches, &database);
    for key in server.command(&["KEYS", "*"]).unwrap().lines() {
        server.command(&["COPY", key, key, "DB", "1"]).unwrap();
    }
    database.set(2);
    announcing.invalidate_obj("rows", &changed(1)).unwrap();
    until_new(&caches, &database);
    server.command(&["SWAPDB", "0", "1"]).unwrap();
    until_new(&caches, &database);
    assert_eq!(read(&process(strict(&server)), 1, &database).0, 2, "one that comes later");
}

/// A master takes the data of an older copy, and is a master again before the next
/// heartbeat. Its connections stay open.
#[test]
fn a_master_that_was_briefly_a_replica_is_noticed() {
    let server = Server::start();
    let copy = Server::options().replica_of(&server).start();
    let caches = both(|| patient(&server));
    let (announcing, database) = (process(strict(&server)), Cell::new(1));
    both_read(&caches, &database);
    copy.wait_in_sync(&server);
    copy.promote();
    database.set(2);
    announcing.invalidate_obj("rows", &changed(1)).unwrap();
    until_new(&caches, &database);
    let port = copy.port().to_string();
    server.command(&["REPLICAOF", "127.0.0.1", &port]).unwrap();
    until("the copy", || server.info("master_link_status").trim() == "up");
    server.command(&["REPLICAOF", "NO", "ONE"]).unwrap();
    until_new(&caches, &database);
}

/// A running server loads an older file.
#[test]
fn a_loaded_dump_is_noticed() {
    let server = Server::options().persistent().start();
    server.command(&["CONFIG", "SET", "appendonly", "no"]).unwrap();
    let caches = both(|| patient(&server));
    let (announcing, database) = (process(strict(&server)), Cell::new(1));
    both_read(&caches, &database);
    server.command(&["SAVE"]).unwrap();
    server.command(&["CONFIG", "SET", "save", ""]).unwrap();
    database.set(2);
    announcing.invalidate_obj("rows", &changed(1)).unwrap();
    until_new(&caches, &database);
    server.command(&["DEBUG", "RELOAD", "NOSAVE"]).unwrap();
    for cache in &caches[1..] {
        assert_eq!(read(cache, 1, &database).0, 2, "strict, at once");
    }
    until_new(&caches, &database);
}

/// Keys are restored from a dump, stamps among them.
#[test]
fn restored_keys_are_noticed() {
    let server = Server::start();
    let caches = both(|| patient(&server));
    let (announcing, database) = (process(strict(&server)), Cell::new(1));
    both_read(&caches, &database);
    let keys = server.command(&["KEYS", "*"]).unwrap();
    for key in keys.lines() {
        server.command(&["COPY", key, &format!("kept:{key}"), "REPLACE"]).unwrap();
    }
    database.set(2);
    announcing.invalidate_obj("rows", &changed(1)).unwrap();
    until_new(&caches, &database);
    server.restore("kept:conj:rows:id=1", "conj:rows:id=1");
    for key in keys.lines().filter(|key| key.starts_with("frag:")) {
        server.restore(&format!("kept:{key}"), key);
    }
    until_new(&caches, &database);
}

/// A fragment that is copied to the key of another is a miss.
#[test]
fn a_fragment_copied_to_another_key_is_a_miss() {
    let server = Server::start();
    let cache = process(patient(&server).lock_limit(LONG));
    let user = |cache: &Cacheops, name: &str| {
        let call = row(cache, 1).extra(&name);
        call.get_or_fill(|| Ok::<_, Error>(name.to_owned())).unwrap()
    };
    let keys = || server.command(&["KEYS", "frag:*"]).unwrap();
    user(&cache, "ann");
    let ann = keys();
    user(&cache, "bob");
    let bob = keys().lines().find(|key| *key != ann).unwrap().to_owned();
    server.command(&["COPY", &ann, &bob, "REPLACE"]).unwrap();
    assert_eq!(user(&process(patient(&server)), "bob"), "bob");
    assert_eq!(user(&process(strict(&server)), "bob"), "bob");
}

/// The identity of a server's data changes when its first replica comes. Setup is
/// tried again then.
#[test]
fn an_identity_that_changes_during_setup_is_retried() {
    let server = Server::start();
    let proxy = Proxy::start(server.port());
    proxy.set(Mode::Delay(Duration::from_millis(100)));
    let redis = Redis::url(server.url_at(proxy.port())).operation_timeout(LONG);
    std::thread::scope(|scope| {
        let connecting = scope.spawn(|| try_process(redis).map(drop));
        // It has seen who the server is, and has not looked again.
        until("a look at what is there", || {
            server.command(&["INFO", "commandstats"]).unwrap().contains("cmdstat_get:")
        });
        server.command(&["DEBUG", "CHANGE-REPL-ID"]).unwrap();
        connecting.join().unwrap().unwrap();
    });
}
