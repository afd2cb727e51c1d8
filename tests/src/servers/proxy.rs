//! A network whose faults a test controls.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::delay_queue::Gate;
use super::proxied::{Counters, ProxiedConnection};
use super::{PATIENCE, wait_at_most};

/// How long the target has to accept a connection.
const CONNECT: Duration = Duration::from_secs(2);

/// What the network does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// All passes.
    #[default]
    Pass,
    /// Connections are open and new ones succeed if the target accepts them,
    /// and nothing passes, not even the end of a connection.
    Silent,
    /// Requests pass, replies and pushes do not.
    SilentReplies,
    /// All passes, and takes so long each way.
    Delay(Duration),
    /// All connections are closed, and new ones as soon as they are accepted.
    Refuse,
}

impl Mode {
    /// What it means for requests and replies.
    fn gates(self) -> (Gate, Gate) {
        let open = Gate::After(Duration::ZERO);
        match self {
            Mode::Pass => (open, open),
            Mode::SilentReplies => (open, Gate::Closed),
            Mode::Silent | Mode::Refuse => (Gate::Closed, Gate::Closed),
            Mode::Delay(time) => (Gate::After(time), Gate::After(time)),
        }
    }
}

/// A port of 127.0.0.1 that leads to another.
///
/// What a mode holds back is delivered in order once a mode lets it pass.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    accepted: AtomicU64,
    delivered: Arc<Counters>,
}

#[derive(Debug, Default)]
struct State {
    mode: Mode,
    connections: Vec<Arc<ProxiedConnection>>,
    ends: bool,
}

impl Proxy {
    /// A proxy before a port of 127.0.0.1, which passes all.
    ///
    /// # Panics
    ///
    /// If there is no port for it.
    pub fn start(target_port: u16) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
        let port = listener.local_addr().expect("a listener has an address").port();
        let shared = Arc::new(Shared::default());
        let accepting = thread::spawn({
            let shared = Arc::clone(&shared);
            move || shared.accept_all(&listener, target_port)
        });
        Proxy { port, shared, accepting: Some(accepting) }
    }

    /// The port to connect to; see [`Server::url_at`](super::Server::url_at).
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Changes the mode, of the connections there are too.
    pub fn set(&self, mode: Mode) {
        let mut state = self.shared.lock();
        state.mode = mode;
        if mode == Mode::Refuse {
            return state.cut();
        }
        state.connections.iter().for_each(|connection| connection.set(mode.gates()));
    }

    /// Closes the connections there are; what is held for them is lost.
    pub fn cut(&self) {
        self.shared.lock().cut();
    }

    /// How many connections were accepted and passed on, since the start.
    pub fn connections(&self) -> u64 {
        self.shared.accepted.load(Ordering::Relaxed)
    }

    /// How many of them are open.
    pub fn open_connections(&self) -> usize {
        self.shared.lock().connections.iter().filter(|connection| !connection.is_over()).count()
    }

    /// How many bytes were delivered, in both directions.
    pub fn bytes(&self) -> u64 {
        self.request_bytes() + self.reply_bytes()
    }

    /// How many of them to the server.
    pub fn request_bytes(&self) -> u64 {
        self.shared.delivered.requests.load(Ordering::Relaxed)
    }

    /// How many of them to clients.
    pub fn reply_bytes(&self) -> u64 {
        self.shared.delivered.replies.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let connections = {
            let mut state = self.shared.lock();
            state.ends = true;
            state.cut();
            state.connections.clone()
        };
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
        wait_at_most(PATIENCE, || connections.iter().all(|connection| connection.is_over()));
    }
}

impl Shared {
    fn accept_all(&self, listener: &TcpListener, target: u16) {
        for client in listener.incoming() {
            if self.lock().ends {
                return;
            }
            if let Ok(client) = client {
                self.accept(client, target);
            }
        }
    }

    /// Passes a client on; or closes its connection, by dropping it.
    fn accept(&self, client: TcpStream, target: u16) {
        if self.lock().mode == Mode::Refuse {
            return;
        }
        let target = SocketAddr::from(([127, 0, 0, 1], target));
        let Ok(server) = TcpStream::connect_timeout(&target, CONNECT) else { return };
        let mut state = self.lock();
        if state.mode == Mode::Refuse || state.ends {
            return;
        }
        self.accepted.fetch_add(1, Ordering::Relaxed);
        state.connections.retain(|connection| !connection.is_over());
        let connection =
            ProxiedConnection::start(client, server, state.mode.gates(), &self.delivered);
        state.connections.push(connection);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn cut(&self) {
        self.connections.iter().for_each(|connection| connection.cut());
    }
}
