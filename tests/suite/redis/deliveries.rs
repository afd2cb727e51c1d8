//! Invalidations that are large, and servers that will not drop keys.

use std::cell::Cell;
use std::time::Duration;

use cacheops::{Cacheops, Error, ErrorKind, LinkState, QuerySet, Redis, eq};
use cacheops_tests::servers::Server;
use serde_json::{Value, json};

use super::{changed, is_live, patient, process, read, strict, until};

/// Fragments by ten kinds of queries.
fn read_in_ten_ways(cache: &Cacheops) -> u64 {
    let filled = Cell::new(0);
    for n in 0..10 {
        let set = QuerySet::table("rows").filter(eq("id", 1)).filter(eq(format!("f{n}"), n));
        let fill = || {
            filled.set(filled.get() + 1);
            Ok::<_, Error>(n)
        };
        cache.cached_as(set).extra(&n).get_or_fill(fill).unwrap();
    }
    filled.get()
}

fn wide_rows(count: u64) -> Vec<Value> {
    let row = |id: u64| {
        let fields = (0..10).map(|n| (format!("f{n}"), json!(n)));
        json!(fields.chain([("id".to_owned(), json!(id))]).collect::<serde_json::Map<_, _>>())
    };
    (0..count).map(row).collect()
}

/// More keys than anybody should drop one by one, with the default limits.
#[test]
fn a_large_batch_is_one_drop() {
    let server = Server::start();
    let cache = process(Redis::url(server.url()));
    let other = process(strict(&server));
    assert_eq!((read_in_ten_ways(&cache), read_in_ten_ways(&other)), (10, 0));
    let before = cache.shared_status().unwrap().sessions;
    cache.invalidate_objs("rows", wide_rows(300_000)).unwrap();
    assert_eq!(cache.shared_status().unwrap().sessions, before, "the line holds");
    assert_eq!(read_in_ten_ways(&other), 10);
}

/// The same where it would be kept.
#[test]
fn a_large_batch_is_kept_for_no_longer_than_any() {
    let server = Server::start();
    let cache = process(Redis::url(server.url()).degraded(10_000_000));
    let other = process(strict(&server));
    assert_eq!((read_in_ten_ways(&cache), read_in_ten_ways(&other)), (10, 0));
    server.stop();
    cache.invalidate_objs("rows", wide_rows(300_000)).unwrap();
    assert!(!is_live(&cache));
    server.cont();
    until("the line", || is_live(&cache) && cache.shared_status().unwrap().pending == 0);
    assert_eq!(read_in_ten_ways(&other), 10);
}

/// A batch that takes many trips has the time of many.
#[test]
fn limits_hold_for_a_trip() {
    let server = Server::start();
    let proxy = cacheops_tests::servers::Proxy::start(server.port());
    let limit = Duration::from_millis(400);
    let cache = process(Redis::url(server.url_at(proxy.port())).operation_timeout(limit));
    let other = process(strict(&server));
    let database = Cell::new(1);
    read(&other, 7, &database);
    proxy.set(cacheops_tests::servers::Mode::Delay(limit / 8));
    database.set(2);
    // Ten thousand keys take five trips of a quarter of the limit, twice.
    cache.invalidate_objs("rows", (0..10_000).map(changed)).unwrap();
    assert_eq!(read(&other, 7, &database), (2, true));
}

/// A server that refuses to drop is there all the same: this process shows
/// nothing old, keeps its connection, and goes on when the server has come round.
fn refused(refuse: impl Fn(&Server), allow: impl Fn(&Server), code: &str) {
    let server = Server::start();
    let cache = process(patient(&server));
    let kept = process(patient(&server).degraded(10));
    let database = Cell::new(1);
    (1..4).for_each(|id| assert_eq!(read(&cache, id, &database).0, 1));
    (1..4).for_each(|id| assert_eq!(read(&kept, id, &database), (1, false)));
    refuse(&server);
    let connections = || server.info("total_connections_received").parse::<u64>().unwrap();
    let before = connections();
    database.set(2);
    for _ in 0..20 {
        let error = cache.invalidate_obj("rows", &changed(1)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(error.to_string().contains(code), "{error}");
        assert_eq!(read(&cache, 1, &database), (2, true));
        kept.invalidate_obj("rows", &changed(2)).unwrap();
        assert_eq!(read(&kept, 2, &database), (2, true));
    }
    let status = cache.shared_status().unwrap();
    assert!(matches!(&status.state, LinkState::Open(why) if why.contains(code)), "{status:?}");
    assert_eq!((status.sessions, kept.shared_status().unwrap().pending), (1, 1));
    // Those of `connections` itself.
    assert_eq!(connections(), before + 1);
    let error = super::try_process(patient(&server)).unwrap_err();
    assert!(error.to_string().contains(code), "{error}");
    allow(&server);
    until("the line", || is_live(&cache) && is_live(&kept));
    assert_eq!(cache.shared_status().unwrap().sessions, 1);
    assert_eq!(read(&cache, 2, &database), (2, true), "it was kept, and is delivered");
    assert_eq!(read(&cache, 3, &database), (1, false));
    // As documented: it was an error, and is to be announced again.
    cache.invalidate_obj("rows", &changed(1)).unwrap();
    assert_eq!(read(&kept, 1, &database), (2, true));
}

#[test]
fn a_server_without_its_replicas() {
    let set = |server: &Server, count| {
        server.command(&["CONFIG", "SET", "min-replicas-to-write", count]).unwrap();
    };
    refused(|server| set(server, "1"), |server| set(server, "0"), "NOREPLICAS");
}

#[test]
fn a_server_that_cannot_save() {
    let saves = |server: &Server, status: &str| {
        let _ = server.command(&["BGSAVE"]);
        until(status, || server.info("rdb_last_bgsave_status") == status);
    };
    // It cannot write a file over a directory.
    let in_the_way = |server: &Server| server.dir().join("dump.rdb");
    let refuse = |server: &Server| {
        std::fs::create_dir_all(in_the_way(server).join("kept")).unwrap();
        server.command(&["CONFIG", "SET", "save", "3600 1"]).unwrap();
        saves(server, "err");
    };
    let allow = |server: &Server| {
        std::fs::remove_dir_all(in_the_way(server)).unwrap();
        saves(server, "ok");
    };
    refused(refuse, allow, "MISCONF");
}
