//! The process of a server: launched, stopped, continued, killed.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{PATIENCE, wait_at_most};

/// At most one process, which ends with this value.
#[derive(Debug, Default)]
pub struct Process(Mutex<Option<Running>>);

#[derive(Debug)]
struct Running {
    server: Child,
    guard: Child,
    stopped: bool,
}

impl Process {
    /// Starts `command`, which writes to `log`, in place of what runs; `dir`
    /// is removed if this process ends before it drops the value.
    pub fn launch(&self, mut command: Command, dir: &Path, log: &Path) {
        let mut running = self.lock();
        *running = None;
        let log = fs::File::options().create(true).append(true).open(log).expect("the log opens");
        command.stdin(Stdio::null()).process_group(0);
        command.stdout(log.try_clone().expect("the log opens twice")).stderr(log);
        let server = command.spawn().unwrap_or_else(|error| {
            panic!("{:?} does not start: {error}; is it installed?", command.get_program())
        });
        let guard = guard(server.id(), dir);
        *running = Some(Running { server, guard, stopped: false });
    }

    /// Kills it and waits for its end.
    pub fn kill(&self) {
        *self.lock() = None;
    }

    /// Whether it runs, or is stopped.
    pub fn is_running(&self) -> bool {
        let mut running = self.lock();
        running.as_mut().is_some_and(|running| matches!(running.server.try_wait(), Ok(None)))
    }

    /// Whether it runs and is not stopped.
    pub fn is_going(&self) -> bool {
        self.is_running() && self.lock().as_ref().is_some_and(|running| !running.stopped)
    }

    /// Its id.
    pub fn id(&self) -> Option<u32> {
        self.lock().as_ref().map(|running| running.server.id())
    }

    /// Stops it as SIGSTOP does, and returns when it has stopped.
    pub fn stop(&self) {
        let id = self.signal("-STOP", true);
        assert!(wait_at_most(PATIENCE, || is_stopped(id)), "process {id} does not stop");
    }

    /// Lets it go on.
    pub fn cont(&self) {
        self.signal("-CONT", false);
    }

    fn signal(&self, signal: &str, stops: bool) -> u32 {
        let mut running = self.lock();
        let running = running.as_mut().expect("a server that is killed takes no signal");
        running.stopped = stops;
        let id = running.server.id();
        let status = Command::new("kill").args([signal, &id.to_string()]).status();
        assert!(status.is_ok_and(|status| status.success()), "kill {signal} {id} failed");
        id
    }

    fn lock(&self) -> MutexGuard<'_, Option<Running>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // The guard first: the id may be another's once the server is gone.
        for child in [&mut self.guard, &mut self.server] {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A process that waits for the end of this one, then kills the server and
/// removes its directory: nothing stays of a test that is aborted.
fn guard(server: u32, dir: &Path) -> Child {
    Command::new("sh")
        .args(["-c", "read -r _; kill -9 \"$1\"; rm -rf \"$2\"", "guard"])
        .arg(server.to_string())
        .arg(dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .expect("sh starts")
}

/// As `/proc` tells it; where there is none, a signal is as good as delivered.
fn is_stopped(id: u32) -> bool {
    let Ok(stat) = fs::read_to_string(format!("/proc/{id}/stat")) else { return true };
    stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('T'))
}
