//! One process fills a fragment, the others wait.

use std::cell::Cell;
use std::collections::HashSet;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use cacheops::{Cacheops, Error};
use cacheops_tests::servers::{Server, Trips};

use super::{LONG, changed, patient, process, read, row, strict, until};

/// The commands that a server gets from now on, with the addresses of the clients:
/// `1.2 [0 127.0.0.1:1234] "GET" "all"`.
fn monitor(server: &Server) -> impl Iterator<Item = std::io::Result<String>> {
    let mut stream = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
    stream.set_read_timeout(Some(LONG)).unwrap();
    stream.write_all(b"MONITOR\r\n").unwrap();
    let mut lines = BufReader::new(stream).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "+OK");
    lines
}

#[test]
fn processes_share_a_fill() {
    let server = Server::start();
    let caches: Vec<Cacheops> =
        (0..4).map(|_| process(patient(&server).lock_limit(LONG))).collect();
    let fills = AtomicU64::new(0);
    let (filling, begun) = mpsc::channel();
    let (go_on, wait) = mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let get = |cache: &Cacheops| {
        let value = row(cache, 1).get_or_fill(|| {
            fills.fetch_add(1, Ordering::SeqCst);
            filling.send(()).unwrap();
            // Whoever fills as well is seen below, and hangs nobody.
            let _ = wait.lock().unwrap().recv();
            Ok::<_, Error>(7)
        });
        value.unwrap()
    };
    thread::scope(|scope| {
        // Whatever fails here lets them go on.
        let go_on = go_on;
        let first = scope.spawn(|| get(&caches[0]));
        begun.recv().unwrap();
        let deadline = Instant::now() + LONG;
        let mut lines = monitor(&server);
        let others: Vec<_> = caches[1..].iter().map(|cache| scope.spawn(|| get(cache))).collect();
        // Each asks for the lock before it waits.
        let mut asked = HashSet::new();
        while asked.len() < others.len() {
            assert!(Instant::now() < deadline, "not all ask for the lock: {asked:?}");
            let line = lines.next().unwrap().unwrap();
            if line.contains(r#""SET" "lock:"#) {
                asked.insert(line.split([' ', ']']).nth(2).unwrap().to_owned());
            }
        }
        drop(go_on);
        assert_eq!(first.join().unwrap(), 7);
        assert!(others.into_iter().all(|other| other.join().unwrap() == 7));
    });
    assert_eq!(fills.load(Ordering::SeqCst), 1);
}

/// A lookup also requests the lock of the fragment, and releases it after a hit.
#[test]
fn hits_hold_no_lock() {
    let server = Server::start();
    let (one, two) = (process(patient(&server)), process(strict(&server).lock_limit(LONG)));
    let began = Instant::now();
    for n in 1..20 {
        assert_eq!(read(&one, 1, &Cell::new(n)), (n, true));
        assert_eq!(read(&two, 1, &Cell::new(0)), (n, false));
        until("the lock is given back", || server.command(&["KEYS", "lock:*"]).unwrap().is_empty());
        one.invalidate_obj("rows", &changed(1)).unwrap();
    }
    assert!(began.elapsed() < LONG, "somebody waited");
}

/// Of the threads of a process that look up the same fragment, one asks the server.
#[test]
fn threads_share_a_lookup() {
    let server = Server::start();
    let (one, two) = (process(patient(&server)), process(patient(&server)));
    assert_eq!(read(&one, 1, &Cell::new(1)), (1, true));
    let mut trips = Trips::since_now(&server);
    server.stop();
    thread::scope(|scope| {
        let ask = || scope.spawn(|| assert_eq!(read(&two, 1, &Cell::new(0)), (1, false)));
        let asking: Vec<_> = (0..8).map(|_| ask()).collect();
        server.cont();
        asking.into_iter().for_each(|it| it.join().unwrap());
    });
    assert_eq!(two.stats().hits, 8);
    assert!(trips.count() <= 2, "one for the lookup, and one to release the lock");
}

/// A dead holder delays others for the lock limit at most.
#[test]
fn a_dead_lock_holder_delays_others_by_the_lock_limit() {
    let server = Server::start();
    let limit = Duration::from_millis(300);
    let dead = process(patient(&server).lock_limit(limit));
    let (filling, begun) = mpsc::channel();
    thread::scope(|scope| {
        let (end, ended) = mpsc::channel::<()>();
        let dead = &dead;
        scope.spawn(move || {
            row(dead, 1).get_or_fill(|| {
                filling.send(()).unwrap();
                let _ = ended.recv();
                Ok::<_, Error>(1)
            })
        });
        begun.recv().unwrap();
        let cache = process(patient(&server).lock_limit(limit));
        let began = Instant::now();
        assert_eq!(read(&cache, 1, &Cell::new(2)), (2, true));
        assert!(began.elapsed() < LONG / 2, "waited {:?}", began.elapsed());
        drop(end);
    });
}

/// A fill that fails, panics or is overtaken releases its lock.
#[test]
fn failed_fills_release_their_lock() {
    let server = Server::start();
    let (one, two) =
        (process(patient(&server).lock_limit(LONG)), process(patient(&server).lock_limit(LONG)));
    let began = Instant::now();
    let failed = row(&one, 1).get_or_fill(|| Err::<u64, _>("the database is gone"));
    assert!(failed.is_err());
    assert_eq!(read(&two, 1, &Cell::new(2)), (2, true));
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        row(&one, 2).get_or_fill(|| -> Result<u64, Error> { panic!("a body panics") })
    }));
    assert!(panicked.is_err());
    assert_eq!(read(&two, 2, &Cell::new(2)), (2, true));
    let overtaken = row(&one, 3).get_or_fill(|| {
        one.invalidate_obj("rows", &changed(3))?;
        Ok::<_, Error>(1)
    });
    assert_eq!(overtaken.unwrap(), 1);
    assert_eq!(read(&two, 3, &Cell::new(2)), (2, true));
    assert!(began.elapsed() < LONG, "somebody waited");
}

#[test]
fn fills_without_a_lock_do_not_wait() {
    let server = Server::start();
    let (one, two) = (process(patient(&server)), process(patient(&server).lock_limit(LONG)));
    let value = row(&one, 1).lock(false).get_or_fill(|| {
        let began = Instant::now();
        assert_eq!(read(&two, 1, &Cell::new(2)), (2, true));
        assert!(began.elapsed() < LONG);
        Ok::<_, Error>(1)
    });
    assert_eq!(value.unwrap(), 1);
}
