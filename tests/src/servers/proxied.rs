//! One connection through a proxy: two sockets, and a queue each way.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;

use super::delay_queue::{DelayQueue, Gate};

/// A client and its server.
#[derive(Debug)]
pub struct ProxiedConnection {
    client: TcpStream,
    server: TcpStream,
    requests: DelayQueue,
    replies: DelayQueue,
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

/// What a thread of a connection does.
type Work = fn(&ProxiedConnection, &Counters);

impl ProxiedConnection {
    /// Connects them; gates are for requests and replies.
    pub fn start(
        client: TcpStream,
        server: TcpStream,
        gates: (Gate, Gate),
        counters: &Arc<Counters>,
    ) -> Arc<ProxiedConnection> {
        for socket in [&client, &server] {
            let _ = socket.set_nodelay(true);
        }
        let works: [Work; 4] = [
            |connection, _| receive(&connection.client, &connection.requests),
            |connection, _| receive(&connection.server, &connection.replies),
            |connection, counters| {
                send(&connection.requests, &connection.server, &counters.requests)
            },
            |connection, counters| send(&connection.replies, &connection.client, &counters.replies),
        ];
        let (requests, replies) = (DelayQueue::new(gates.0), DelayQueue::new(gates.1));
        let threads = AtomicUsize::new(works.len());
        let connection = Arc::new(ProxiedConnection { client, server, requests, replies, threads });
        for work in works {
            let (connection, counters) = (Arc::clone(&connection), Arc::clone(counters));
            thread::spawn(move || connection.run(work, &counters));
        }
        connection
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

    /// Closes both sockets. Bytes in the queues are lost.
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

/// Reads a socket into a queue, until its end.
fn receive(mut from: &TcpStream, queue: &DelayQueue) {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let len = from.read(&mut buffer).unwrap_or(0);
        queue.put(&buffer[..len]);
        if len == 0 {
            return;
        }
    }
}

/// Writes what leaves a queue to a socket, until its end.
fn send(queue: &DelayQueue, mut to: &TcpStream, counter: &AtomicU64) {
    while let Some(bytes) = queue.take().filter(|bytes| !bytes.is_empty()) {
        // Counted before they arrive, so a receiver sees them counted.
        counter.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        if to.write_all(&bytes).is_err() {
            break;
        }
    }
    queue.cut();
    let _ = to.shutdown(Shutdown::Write);
}
