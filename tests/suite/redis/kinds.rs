//! All ways to reach a server, and servers that do not suit.

use std::cell::Cell;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::thread;

use cacheops::{Cacheops, ErrorKind, Redis};
use cacheops_tests::servers::{Cluster, Program, Sentinel, Server};

use super::{LONG, changed, patient, process, read, strict, try_process, until};

/// Two processes share fragments and invalidations.
fn share(redis: &Redis) {
    let (one, two) = (process(redis.clone()), process(redis.clone()));
    one.invalidate_all().unwrap();
    let database = Cell::new(1);
    assert_eq!(read(&one, 1, &database), (1, true));
    until("the push", || read(&two, 1, &database) == (1, false));
    database.set(2);
    two.invalidate_obj("rows", &changed(1)).unwrap();
    assert_eq!(read(&two, 1, &database), (2, true));
    until("the push", || read(&one, 1, &database).0 == 2);
}

#[test]
fn connects_by_password_user_database_and_socket() {
    let server = Server::options().password("s3cret").unix_socket().start();
    share(&patient(&server));
    share(&Redis::url(server.url()).operation_timeout(LONG));
    let rules = "on ~* &* +@all";
    let server = Server::options().user("web", "pw:@/", rules).start();
    let at = format!("127.0.0.1:{}", server.port());
    share(&Redis::url(format!("redis://web:pw%3A%40%2F@{at}/3")).operation_timeout(LONG));
    let wrong = |url: String| try_process(Redis::url(url)).unwrap_err().to_string();
    let error = wrong(format!("redis://web:no@{at}/"));
    assert!(error.starts_with("invalid configuration: redis: "), "{error}");
    assert!(error.contains("check user and password in the URL"), "{error}");
    assert!(!error.contains("no@"), "a password is shown: {error}");
}

/// The commands that the handbook lists suffice.
#[test]
fn least_privileges_suffice() {
    let rules = "on ~app:* resetchannels -@all +get +mget +hget +hgetall +hsetnx +set +unlink +pexpireat +zadd +zincrby +zmscore +zrange +client|tracking +client|caching +hello +info +time +role +select";
    let server = Server::options().user("web", "pw", rules).start();
    let url = format!("redis://web:pw@127.0.0.1:{}", server.port());
    let redis = Redis::url(url).operation_timeout(LONG);
    let cache = Cacheops::builder().prefix("app:").redis(redis).build().unwrap();
    let database = Cell::new(1);
    read(&cache, 1, &database);
    cache.invalidate_obj("rows", &changed(1)).unwrap();
    assert!(cache.get_last_invalidation(["rows"]).is_some());
    assert_eq!(read(&cache, 1, &database), (1, true));
    assert_eq!(read(&cache, 1, &database), (1, false));
}

#[test]
fn connects_over_tls() {
    let server = Server::options().tls().start();
    let ca = std::fs::read(server.ca_file()).unwrap();
    share(&patient(&server).ca(ca));
    let error = try_process(patient(&server)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{error}");
    assert!(error.to_string().contains("Redis::ca"), "{error}");
}

#[test]
fn works_with_valkey() {
    if !Server::is_installed(Program::Valkey) {
        eprintln!("valkey-server is not installed: not tested");
        return;
    }
    let server = Server::options().program(Program::Valkey).start();
    share(&patient(&server));
    share(&strict(&server));
}

#[test]
fn moved_slots_of_a_cluster_are_followed() {
    follow_moving_slots(&Cluster::start(3));
}

/// They name themselves and each other `?`, which means the node that was asked.
#[test]
fn cluster_nodes_without_a_host_name_are_reached() {
    for kind in ["hostname", "unknown-endpoint"] {
        let cluster = Cluster::start(3);
        for node in cluster.nodes() {
            node.command(&["CONFIG", "SET", "cluster-preferred-endpoint-type", kind]).unwrap();
        }
        follow_moving_slots(&cluster);
    }
}

fn follow_moving_slots(cluster: &Cluster) {
    let redis = Redis::cluster(cluster.urls()).operation_timeout(LONG);
    share(&redis);
    let (one, two) = (process(redis.clone()), process(redis));
    let database = Cell::new(0);
    for id in 0..20 {
        read(&one, id, &database);
        read(&two, id, &database);
    }
    for id in 0..20 {
        let slot = Cluster::slot_of(&format!("conj:rows:id={id}"));
        let from = cluster.owner_of(slot);
        cluster.move_slot(slot, from, (from + 1) % 3);
        database.set(id + 1);
        one.invalidate_obj("rows", &changed(id)).unwrap();
        assert_eq!(read(&one, id, &database).0, id + 1);
        until("the push", || read(&two, id, &database).0 == id + 1);
    }
}

#[test]
fn the_master_is_found_through_sentinels() {
    let sentinel = Sentinel::start();
    let redis = Redis::sentinel(sentinel.master_name(), sentinel.sentinel_urls());
    share(&redis.clone().operation_timeout(LONG));
    let cache = process(redis);
    let database = Cell::new(1);
    read(&cache, 1, &database);
    sentinel.kill_master();
    sentinel.wait_for_failover();
    // Until the cache is connected again, an invalidation is an error.
    database.set(2);
    until("the new master", || cache.invalidate_obj("rows", &changed(1)).is_ok());
    assert_eq!(read(&cache, 1, &database).0, 2);
    let error = try_process(Redis::sentinel("nobody", sentinel.sentinel_urls())).unwrap_err();
    assert!(error.to_string().contains("knows no master by the name \"nobody\""), "{error}");
}

#[test]
fn unsuitable_servers_are_rejected() {
    let error = |redis: Redis| {
        let error = Cacheops::builder().redis(redis).build().unwrap_err();
        (error.kind(), error.to_string())
    };
    let (kind, text) = error("http://example.org".into());
    assert_eq!(kind, ErrorKind::InvalidConfig);
    assert!(text.contains("\"http://example.org\" is no URL of a Redis"), "{text}");
    let (kind, text) = error(Redis::cluster(Vec::<String>::new()));
    assert_eq!(kind, ErrorKind::InvalidConfig, "{text}");
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (kind, text) = error(Redis::url(format!("redis://127.0.0.1:{port}")));
    assert_eq!(kind, ErrorKind::Unavailable, "{text}");
    assert!(text.contains(&port.to_string()), "{text}");
    let master = Server::start();
    let replica = Server::options().replica_of(&master).start();
    let (_, text) = error(Redis::url(replica.url()));
    assert!(text.contains("is a replica: give the URL of its master"), "{text}");
    let (kind, text) = error(Redis::cluster([master.url()]));
    assert_eq!(kind, ErrorKind::UnfitServer);
    assert!(text.contains("is not a node of a cluster"), "{text}");
    let (kind, text) = error(Redis::url(old_server("redis_version:6.2.14\r\nrun_id:x\r\n")));
    assert_eq!(kind, ErrorKind::UnfitServer);
    assert!(text.contains("version 6.2.14: it needs Redis 7"), "{text}");
    let (kind, text) = error(Redis::url(old_server("redis_version:7.2.0\r\n")));
    assert_eq!(kind, ErrorKind::UnfitServer);
    assert!(text.contains("neither run_id nor master_replid"), "{text}");
}

/// A server that speaks a little RESP, with this reply to INFO.
fn old_server(info: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        let (mut out, _) = listener.accept().unwrap();
        let mut lines = BufReader::new(out.try_clone().unwrap());
        while let Some(command) = next_command(&mut lines) {
            let answer = match command.as_str() {
                "HELLO" => "%1\r\n+proto\r\n:3\r\n".to_owned(),
                "INFO" => format!("${}\r\n{info}\r\n", info.len()),
                _ => "+OK\r\n".to_owned(),
            };
            out.write_all(answer.as_bytes()).unwrap();
        }
    });
    url
}

/// The first word of the next command; none at the end.
fn next_command(lines: &mut impl BufRead) -> Option<String> {
    let number = |lines: &mut dyn BufRead| -> Option<usize> {
        let mut line = String::new();
        lines.read_line(&mut line).ok()?;
        line.trim_end().get(1..)?.parse().ok()
    };
    let count = number(lines)?;
    let mut words = Vec::new();
    for _ in 0..count {
        let mut word = vec![0; number(lines)? + 2];
        lines.read_exact(&mut word).ok()?;
        words.push(String::from_utf8_lossy(&word).trim_end().to_uppercase());
    }
    words.into_iter().next()
}
