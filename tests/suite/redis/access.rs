//! Credentials and certificates, and the errors when they do not fit.

use std::cell::Cell;
use std::fs;
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use cacheops::{Cacheops, Credentials, ErrorKind, Redis, Tls};
use cacheops_tests::servers::{Proxy, Sentinel, Server};

use super::{LONG, changed, is_live, patient, process, read, try_process, until};

fn refused(redis: Redis) -> (ErrorKind, String) {
    let error = try_process(redis).unwrap_err();
    (error.kind(), error.to_string())
}

fn ca(server: &Server) -> Vec<u8> {
    fs::read(server.ca_file()).unwrap()
}

fn works(cache: &Cacheops) {
    let database = Cell::new(1);
    // Another process may have kept it.
    assert_eq!(read(cache, 1, &database).0, 1);
    assert_eq!(read(cache, 1, &database), (1, false));
    database.set(2);
    cache.invalidate_obj("rows", &changed(1)).unwrap();
    assert_eq!(read(cache, 1, &database), (2, true));
    database.set(1);
    cache.invalidate_obj("rows", &changed(1)).unwrap();
}

#[test]
fn a_client_certificate_is_presented_when_the_server_requires_one() {
    let server = Server::options().demand_certificates().start();
    let (kind, text) = refused(patient(&server).ca(ca(&server)));
    assert_eq!(kind, ErrorKind::InvalidConfig, "{text}");
    assert!(text.contains("Tls::client_certificate"), "{text}");
    let [certificate, key] = server.certificate_files().map(|file| fs::read(file).unwrap());
    let tls = Tls::new().ca(ca(&server)).client_certificate(certificate, key);
    works(&process(patient(&server).tls(tls)));
}

#[test]
fn sentinels_may_use_tls_while_the_master_does_not() {
    let master = Server::start();
    let sentinel = Sentinel::over_tls(&master);
    let redis = || Redis::sentinel("cacheops", [sentinel.url()]).operation_timeout(LONG);
    works(&process(redis().sentinel_tls(Tls::new().ca(ca(&sentinel))).master_tls(false)));
    works(&process(redis().ca(ca(&sentinel)).master_tls(false)));
    let (kind, text) = refused(redis().master_tls(false));
    assert!(text.to_lowercase().contains("certificate"), "{kind:?} {text}");
}

#[test]
fn a_rotated_password_is_used_for_the_next_connection() {
    let server = Server::options().user("web", "first", "~* &* +@all").start();
    let password = Arc::new(Mutex::new("first"));
    let told = password.clone();
    let redis = Redis::url(format!("redis://127.0.0.1:{}", server.port()))
        .operation_timeout(LONG)
        .credentials(move || Ok(Credentials::new(Some("web"), *told.lock().unwrap())));
    let cache = process(redis);
    works(&cache);
    *password.lock().unwrap() = "second";
    let before = cache.shared_status().unwrap().sessions;
    server.command(&["ACL", "SETUSER", "web", "resetpass", ">second"]).unwrap();
    server.command(&["CLIENT", "KILL", "TYPE", "normal"]).unwrap();
    until("another connection", || {
        is_live(&cache) && cache.shared_status().unwrap().sessions > before
    });
    let database = Cell::new(7);
    assert_eq!(read(&cache, 7, &database), (7, true));
    assert_eq!(read(&cache, 7, &database), (7, false));
}

#[test]
fn failing_credentials_count_as_unavailable() {
    let server = Server::start();
    let (kind, text) =
        refused(patient(&server).credentials(|| Err("no such secret: redis".into())));
    assert_eq!(kind, ErrorKind::Unavailable);
    assert!(text.contains("`Redis::credentials` failed: no such secret: redis"), "{text}");
    let (_, text) = refused(patient(&server).credentials(|| panic!("of the application")));
    assert!(text.contains("panicked"), "{text}");
}

/// The supervisor's thread drives all time limits, so no function of the application
/// runs there.
#[test]
fn blocking_credentials_delay_nobody() {
    let server = Server::options().password("x").start();
    let proxy = Proxy::start(server.port());
    let blocks = Arc::new(AtomicBool::new(false));
    let (is_blocked, url) = (blocks.clone(), format!("redis://127.0.0.1:{}", proxy.port()));
    let gave_up = Arc::new(AtomicBool::new(false));
    let gives_up = gave_up.clone();
    let cache = process(Redis::url(url).credentials(move || {
        let deadline = Instant::now() + LONG;
        while is_blocked.load(Ordering::SeqCst) && !gives_up.load(Ordering::SeqCst) {
            gives_up.store(Instant::now() >= deadline, Ordering::SeqCst);
            std::thread::yield_now();
        }
        Ok(Credentials::new(None, "x"))
    }));
    let database = Cell::new(1);
    assert_eq!(read(&cache, 1, &database), (1, true));
    blocks.store(true, Ordering::SeqCst);
    proxy.cut();
    until("the cut", || !is_live(&cache));
    // While they block, a lookup waits for one operation timeout at most.
    assert_eq!(read(&cache, 1, &database), (1, true));
    assert!(!gave_up.load(Ordering::SeqCst), "it waited for the credentials");
    blocks.store(false, Ordering::SeqCst);
    until("the connection", || is_live(&cache));
}

#[test]
fn a_fragment_in_a_url_is_rejected_without_quoting_it() {
    let (kind, text) = refused(Redis::url("redis://web:123#s3cret@10.0.0.1:6379/0"));
    assert_eq!(kind, ErrorKind::InvalidConfig);
    assert!(!text.contains("123") && !text.contains("s3cret"), "{text}");
    // The client's library quotes it.
    let (_, text) = refused(Redis::url("redis://10.0.0.1/0?protocol=s3cret"));
    assert!(!text.contains("s3cret"), "{text}");
}

#[test]
fn a_missing_database_is_a_configuration_error() {
    let server = Server::start();
    let (kind, text) = refused(Redis::url(format!("{}999", server.url())));
    assert_eq!(kind, ErrorKind::InvalidConfig, "{text}");
    assert!(text.contains("check the database at the end of the URL"), "{text}");
}

#[test]
fn too_many_clients_is_reported_with_the_servers_words() {
    let server = Server::options().arg("--maxclients", "2").start();
    let address = ("127.0.0.1", server.port());
    let mut others = Vec::new();
    // The harness' own connection may not have been taken off yet.
    until("a full server", || {
        others.push(TcpStream::connect(address).unwrap());
        server.command(&["PING"]).is_err()
    });
    let (kind, text) = refused(patient(&server));
    assert_eq!(kind, ErrorKind::Unavailable, "{text}");
    assert!(text.contains("max number of clients reached"), "{text}");
}

#[test]
fn unused_certificates_are_an_error() {
    let server = Server::options().tls().start();
    let (kind, text) = refused(Redis::url(format!("{}#insecure", server.url())));
    assert_eq!(kind, ErrorKind::InvalidConfig);
    assert!(text.contains("certificates are always checked"), "{text}");
    let plain = Server::start();
    let (kind, text) = refused(patient(&plain).ca(ca(&server)));
    assert_eq!(kind, ErrorKind::InvalidConfig);
    assert!(text.contains("no connection uses TLS"), "{text}");
    let sentinel = Redis::sentinel("m", [plain.url()]).sentinel_tls(Tls::new().ca(ca(&server)));
    let (kind, text) = refused(sentinel);
    assert_eq!(kind, ErrorKind::InvalidConfig);
    assert!(text.contains("`sentinel_tls`"), "{text}");
}
