//! Real servers for tests, attacks and benchmarks: Redis or Valkey by itself,
//! with replicas, as a cluster, under sentinels; and a proxy that disturbs the network
//! in front of them.
//!
//! Every server has its own directory and port, and listens on 127.0.0.1 only. It ends,
//! and its directory is deleted, when it is dropped or the process ends in any way.
//! Functions that wait panic with the server's log after [`PATIENCE`].

mod cluster;
mod delay_queue;
mod options;
mod process;
mod proxied;
mod proxy;
mod replication;
mod resources;
mod sentinel;
mod server;
mod slots;
mod tls;
mod trips;
mod wire;

use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

pub use self::cluster::Cluster;
pub use self::options::Options;
pub use self::proxy::{Mode, Proxy};
pub use self::sentinel::Sentinel;
pub use self::server::Server;
pub use self::slots::slot_of;
pub use self::trips::Trips;

/// How long anything here waits before it gives up.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// What to run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Program {
    /// `redis-server`.
    #[default]
    Redis,
    /// `valkey-server`.
    Valkey,
}

impl Program {
    /// The command of the server.
    fn server(self) -> &'static str {
        match self {
            Program::Redis => "redis-server",
            Program::Valkey => "valkey-server",
        }
    }

    /// The command of its client.
    fn cli(self) -> &'static str {
        match self {
            Program::Redis => "redis-cli",
            Program::Valkey => "valkey-cli",
        }
    }

    /// Whether the server can be started here.
    fn is_installed(self) -> bool {
        let mut command = Command::new(self.server());
        command.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    }
}

/// Waits until `ready`; whether it was within `limit`.
pub fn wait_at_most(limit: Duration, mut ready: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + limit;
    while !ready() {
        if Instant::now() >= deadline {
            return false;
        }
        thread::sleep(Duration::from_millis(2));
    }
    true
}
