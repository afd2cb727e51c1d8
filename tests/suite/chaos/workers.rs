//! The worker processes, as the test sees them.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use cacheops_tests::servers::{PATIENCE, Proxy, wait_at_most};

use super::report::{Log, Report, Tally, heard};
use super::worker::{JOB, Job};

/// A worker, one process after the other.
pub struct Worker {
    job: Job,
    /// Between it and its server, or the sentinels, if there are any.
    pub proxies: Vec<Proxy>,
    now: Mutex<Process>,
    /// What the ended processes have done.
    past: Mutex<Tally>,
    log: Arc<Log>,
}

struct Process {
    child: Child,
    tally: Arc<Mutex<Tally>>,
    hearing: Option<JoinHandle<()>>,
}

impl Worker {
    pub fn start(job: Job, proxies: Vec<Proxy>, log: &Arc<Log>) -> Worker {
        let now = Mutex::new(Process::start(&job, log));
        Worker { job, proxies, now, past: Mutex::default(), log: log.clone() }
    }

    /// Kills it in the middle of whatever it does, and starts another.
    pub fn replace(&self) {
        let mut now = self.now.lock().unwrap();
        let _ = now.child.kill();
        self.past.lock().unwrap().add(&now.end());
        *now = Process::start(&self.job, &self.log);
    }

    /// Sends a signal, such as SIGSTOP and SIGCONT.
    pub fn signal(&self, signal: &str) {
        let id = self.now.lock().unwrap().child.id().to_string();
        let status = Command::new("kill").args([signal, &id]).status();
        assert!(status.is_ok_and(|status| status.success()), "kill {signal} {id} failed");
    }

    /// Tells it to end.
    fn dismiss(&self) {
        self.now.lock().unwrap().child.stdin = None;
    }

    /// What its processes have done.
    pub fn tally(&self) -> Tally {
        let mut tally = self.past.lock().unwrap().clone();
        tally.add(&self.now.lock().unwrap().tally.lock().unwrap());
        tally
    }

    fn end(&self) -> Tally {
        self.dismiss();
        let mut now = self.now.lock().unwrap();
        let ended = wait_at_most(PATIENCE, || matches!(now.child.try_wait(), Ok(Some(_))));
        assert!(ended, "worker {} does not end", self.job.number);
        let tally = now.end();
        let status = now.child.wait().unwrap();
        assert!(status.success(), "worker {} has ended with {status}", self.job.number);
        let mut past = self.past.lock().unwrap();
        past.add(&tally);
        past.clone()
    }
}

impl Process {
    fn start(job: &Job, log: &Arc<Log>) -> Process {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "chaos::worker_at_work", "--ignored", "--nocapture"]);
        command.env(JOB, serde_json::to_string(job).unwrap());
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let tally: Arc<Mutex<Tally>> = Arc::default();
        let (told, log) = (tally.clone(), log.clone());
        let hearing = thread::spawn(move || {
            for said in out.lines().map_while(Result::ok).filter_map(|line| heard(&line)) {
                match said.strip_prefix("tally ") {
                    Some(tally) => *told.lock().unwrap() = serde_json::from_str(tally).unwrap(),
                    None => log.complain(&said),
                }
            }
        });
        Process { child, tally, hearing: Some(hearing) }
    }

    /// Reads the rest of its output, until it ends.
    fn end(&mut self) -> Tally {
        if let Some(hearing) = self.hearing.take() {
            hearing.join().unwrap();
        }
        let _ = self.child.wait();
        self.tally.lock().unwrap().clone()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// All workers.
pub struct Workers {
    pub all: Vec<Worker>,
    pub log: Arc<Log>,
}

impl Workers {
    /// Waits until each has found more in its cache, or one has complained.
    ///
    /// # Panics
    ///
    /// If that does not happen: a worker does not connect again.
    pub fn wait_for_hits(&self) {
        let hits = |worker: &Worker| {
            let Tally { near_hits, shared_hits, .. } = worker.tally();
            near_hits + shared_hits
        };
        let before: Vec<u64> = self.all.iter().map(hits).collect();
        let has_more =
            || self.all.iter().zip(&before).all(|(worker, before)| hits(worker) > before + 20);
        let has = wait_at_most(PATIENCE, || has_more() || self.log.has_complaints());
        assert!(
            has,
            "no hits any more: {:?}",
            self.all.iter().map(Worker::tally).collect::<Vec<_>>()
        );
    }

    /// Ends all of them, and reports the injected faults.
    pub fn end(self, injected: &[&'static str]) -> Report {
        let mut report = Report::default();
        for fault in injected {
            *report.faults.entry(fault).or_default() += 1;
        }
        self.all.iter().for_each(Worker::dismiss);
        for worker in &self.all {
            report.tally.add(&worker.end());
        }
        report
    }
}
