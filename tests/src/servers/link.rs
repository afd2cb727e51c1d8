//! One connection through a proxy: two sockets, and a lane each way.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;

use super::lane::{Gate, Lane};

/// A client and its server.
#[derive(Debug)]
pub struct Link {
    client: TcpStream,
    server: TcpStream,
    requests: Lane,
    replies: Lane,
    /// Threads that still run for it.
    threads: AtomicUsize,
}

/// Bytes that were delivered.
#[derive(Debug, Default)]
pub struct Counters {
    /// To the server.
    pub requests: AtomicU64,
    /// To the client.
    pub replies: AtomicU64,
}

/// What a thread of a link does.
type Work = fn(&Link, &Counters);

impl Link {
    /// Connects them; gates are for requests and replies.
    pub fn start(
        client: TcpStream,
        server: TcpStream,
        gates: (Gate, Gate),
        counters: &Arc<Counters>,
    ) -> Arc<Link> {
        for socket in [&client, &server] {
            let _ = socket.set_nodelay(true);
        }
        let works: [Work; 4] = [
            |link, _| receive(&link.client, &link.requests),
            |link, _| receive(&link.server, &link.replies),
            |link, counters| send(&link.requests, &link.server, &counters.requests),
            |link, counters| send(&link.replies, &link.client, &counters.replies),
        ];
        let (requests, replies) = (Lane::new(gates.0), Lane::new(gates.1));
        let threads = AtomicUsize::new(works.len());
        let link = Arc::new(Link { client, server, requests, replies, threads });
        for work in works {
            let (link, counters) = (Arc::clone(&link), Arc::clone(counters));
            thread::spawn(move || link.run(work, &counters));
        }
        link
    }

    fn run(&self, work: Work, counters: &Counters) {
        work(self, counters);
        self.threads.fetch_sub(1, Ordering::AcqRel);
    }

    /// Changes the gates for requests and replies.
    pub fn set(&self, gates: (Gate, Gate)) {
        self.requests.set(gates.0);
        self.replies.set(gates.1);
    }

    /// Closes both sockets; what is held is lost.
    pub fn cut(&self) {
        self.requests.cut();
        self.replies.cut();
        let _ = self.client.shutdown(Shutdown::Both);
        let _ = self.server.shutdown(Shutdown::Both);
    }

    /// Whether it is over, with its threads.
    pub fn is_over(&self) -> bool {
        self.threads.load(Ordering::Acquire) == 0
    }
}

/// Puts what comes into a lane, as far as its end.
fn receive(mut from: &TcpStream, lane: &Lane) {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let len = from.read(&mut buffer).unwrap_or(0);
        lane.put(&buffer[..len]);
        if len == 0 {
            return;
        }
    }
}

/// Writes what leaves a lane, and its end.
fn send(lane: &Lane, mut to: &TcpStream, counter: &AtomicU64) {
    while let Some(bytes) = lane.take().filter(|bytes| !bytes.is_empty()) {
        // Counted before they arrive: who has them sees them counted.
        counter.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        if to.write_all(&bytes).is_err() {
            break;
        }
    }
    lane.cut();
    let _ = to.shutdown(Shutdown::Write);
}
