//! The resources of a server: a directory and a port.

use std::collections::hash_map::RandomState;
use std::env;
use std::fs;
use std::hash::{BuildHasher, Hasher};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};

/// Ports of servers: below those that systems give to outgoing connections,
/// and so are the ports of the cluster bus, which are higher by 10000.
const FIRST: u16 = 10_000;
const COUNT: u16 = 5_000;

/// A port that no process using this module takes while the value exists.
#[derive(Debug)]
pub struct Port {
    number: u16,
    /// A socket on another port, which marks this one as taken, so that a server that
    /// restarts gets its port again.
    _mark: TcpListener,
}

impl Port {
    /// A port that was free just now, as was that of its cluster bus.
    pub fn free() -> Port {
        let start = RandomState::new().build_hasher().finish() % u64::from(COUNT);
        (0..COUNT)
            .map(|step| FIRST + (start as u16 + step) % COUNT)
            .find_map(Port::reserve)
            .expect("there is no free port from 10000 to 15000")
    }

    fn reserve(number: u16) -> Option<Port> {
        let bind = |port: u16| TcpListener::bind(("127.0.0.1", port)).ok();
        let mark = bind(number + COUNT)?;
        bind(number)?;
        bind(number + 10_000)?;
        Some(Port { number, _mark: mark })
    }

    /// The number.
    pub fn number(&self) -> u16 {
        self.number
    }
}

/// A directory that is removed with all in it.
#[derive(Debug)]
pub struct Dir(PathBuf);

impl Dir {
    /// An empty directory on disk, or in memory if `/dev/shm` exists: a server that
    /// waits for a busy disk replies late, and counts as down.
    ///
    /// Its path is short: that of a socket has at most 107 bytes.
    pub fn new(on_disk: bool) -> Dir {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let memory = Path::new("/dev/shm");
        let in_memory = !on_disk && memory.is_dir();
        let base = if in_memory { memory.to_owned() } else { env::temp_dir() };
        loop {
            let name =
                format!("cacheops-{}-{}", process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
            let path = base.join(name);
            match fs::create_dir(&path) {
                Ok(()) => return Dir(path),
                // Of a process that had the same id.
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => panic!("{}: {error}", path.display()),
            }
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// A file in it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        // A child of a killed server may still write a snapshot here.
        for _ in 0..10 {
            if fs::remove_dir_all(&self.0).is_ok() {
                return;
            }
        }
    }
}
