//! A process that is suspended for longer than the bound, and goes on: what it knew
//! before does not count any more. The process is this binary again, running a test
//! that does nothing unless it is given a server.

use std::cell::Cell;
use std::env;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use cacheops::{Consistency, Redis};
use cacheops_tests::servers::{Mode, Proxy, Server};

use super::{LONG, changed, process, read, strict};

const URL: &str = "CACHEOPS_SUSPENDED_URL";

/// The prefix of the output of the process; the test harness prints too.
const MARK: &str = "@read ";

const BOUND: Duration = Duration::from_millis(300);

/// Reads once for each line of input, with the value of the line in the database.
#[test]
#[ignore = "the other tests start it"]
fn reader_at_work() {
    let Ok(url) = env::var(URL) else { return };
    let redis = Redis::url(url).consistency(Consistency::Bounded(BOUND));
    let cache = process(redis);
    for line in std::io::stdin().lines().map_while(Result::ok) {
        let (value, filled) = read(&cache, 1, &Cell::new(line.parse().unwrap()));
        println!("\n{MARK}{value} {filled}");
    }
}

/// The process, as the test sees it.
struct Reader {
    child: Child,
    lines: ChildStdin,
    said: Receiver<String>,
}

impl Reader {
    fn start(url: String) -> Reader {
        let mut command = Command::new(env::current_exe().unwrap());
        command.args(["--exact", "redis::suspended::reader_at_work", "--ignored", "--nocapture"]);
        command.env(URL, url).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (out, lines) = (child.stdout.take().unwrap(), child.stdin.take().unwrap());
        let (tell, said) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                let Some(said) = line.strip_prefix(MARK) else { continue };
                if tell.send(said.to_owned()).is_err() {
                    return;
                }
            }
        });
        Reader { child, lines, said }
    }

    /// Makes it read, with this value in the database.
    fn ask(&mut self, database: u64) {
        writeln!(self.lines, "{database}").unwrap();
    }

    /// The value that it read, and whether it was filled.
    fn answer(&self) -> String {
        self.said.recv_timeout(LONG).unwrap()
    }

    fn signal(&self, signal: &str) {
        let id = self.child.id().to_string();
        let status = Command::new("kill").args([signal, &id]).status();
        assert!(status.unwrap().success(), "kill {signal} {id}");
    }

    /// Suspends it. When this returns, it does nothing any more.
    fn stop(&self) {
        self.signal("-STOP");
        let file = format!("/proc/{}/stat", self.child.id());
        super::until("the stop", || {
            let stat = std::fs::read_to_string(&file).unwrap();
            stat.rsplit(") ").next().unwrap().starts_with('T')
        });
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The read is requested while the process is suspended, so it is the first thing that it
/// does afterwards. `pushes` is the state of its connection by then.
fn nothing_older_than_the_bound(pushes: Mode) {
    let server = Server::start();
    let proxy = Proxy::start(server.port());
    let other = process(strict(&server));
    let mut reader = Reader::start(server.url_at(proxy.port()));
    reader.ask(1);
    assert_eq!(reader.answer(), "1 true");
    reader.ask(0);
    assert_eq!(reader.answer(), "1 false");
    for version in 2..8 {
        reader.stop();
        proxy.set(pushes);
        other.invalidate_obj("rows", &changed(1)).unwrap();
        reader.ask(version);
        // This test is about the bound: no event says that it is over.
        thread::sleep(BOUND + Duration::from_millis(20));
        reader.signal("-CONT");
        assert_eq!(reader.answer(), format!("{version} true"));
        proxy.set(Mode::Pass);
        // Until the fragment is stored again.
        super::until("a hit", || {
            reader.ask(version);
            reader.answer() == format!("{version} false")
        });
    }
}

#[test]
fn pushes_that_wait_are_read_before_a_hit() {
    nothing_older_than_the_bound(Mode::Pass);
}

/// Only its clock says that time has passed.
#[test]
fn without_pushes_nothing_older_than_the_bound_is_served() {
    nothing_older_than_the_bound(Mode::SilentReplies);
}
