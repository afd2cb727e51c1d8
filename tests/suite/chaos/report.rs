//! What workers report, as lines of their output.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Write as _;
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// The prefix of a report and its escaped line end; the test harness prints too.
const MARK: &str = "@chaos ";
const LINE_END: &str = "\\n";

/// Reports something to the test.
pub fn say(text: &str) {
    let line = format!("\n{MARK}{}\n", text.replace('\n', LINE_END));
    let mut out = std::io::stdout().lock();
    // If the test has ended, this process ends too.
    let _ = out.write_all(line.as_bytes()).and_then(|()| out.flush());
}

/// The report on a line of output.
pub fn heard(line: &str) -> Option<String> {
    Some(line.strip_prefix(MARK)?.replace(LINE_END, "\n"))
}

/// What one process has done.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Tally {
    pub reads: u64,
    pub fragments: u64,
    pub near_hits: u64,
    pub shared_hits: u64,
    pub misses: u64,
    pub stored: u64,
    /// Lookups without a connection.
    pub outages: u64,
    pub invalidations: u64,
    pub undelivered: u64,
    pub stale: u64,
    pub slowest: Duration,
    /// The outcomes of the lookups of the slowest read.
    pub slowest_lookups: String,
}

impl Tally {
    pub fn time(&mut self, took: Duration, lookups: impl FnOnce() -> String) {
        if took > self.slowest {
            self.slowest = took;
            self.slowest_lookups = lookups();
        }
    }

    pub fn add(&mut self, other: &Tally) {
        self.reads += other.reads;
        self.fragments += other.fragments;
        self.near_hits += other.near_hits;
        self.shared_hits += other.shared_hits;
        self.misses += other.misses;
        self.stored += other.stored;
        self.outages += other.outages;
        self.invalidations += other.invalidations;
        self.undelivered += other.undelivered;
        self.stale += other.stale;
        self.time(other.slowest, || other.slowest_lookups.clone());
    }
}

/// What happened when: faults, and stale lookups that workers report.
#[derive(Debug)]
pub struct Log {
    began: Instant,
    lines: Mutex<Vec<String>>,
    /// The position of the first complaint.
    complained: OnceLock<usize>,
}

/// How many lines are shown before the first complaint, and from it on.
const SHOWN: usize = 12;

impl Log {
    pub fn new() -> Log {
        Log { began: Instant::now(), lines: Mutex::default(), complained: OnceLock::new() }
    }

    /// Notes something; which line it is.
    pub fn note(&self, text: &str) -> usize {
        let line = format!("{:8.3} {text}", self.began.elapsed().as_secs_f64());
        let mut lines = self.lines.lock().unwrap();
        lines.push(line);
        lines.len() - 1
    }

    pub fn complain(&self, text: &str) {
        let line = self.note(text);
        self.complained.get_or_init(|| line);
    }

    /// Whether something was served too old.
    pub fn has_complaints(&self) -> bool {
        self.complained.get().is_some()
    }

    /// What happened around the first complaint; all, if there is none.
    pub fn excerpt(&self) -> String {
        let lines = self.lines.lock().unwrap();
        let Some(at) = self.complained.get() else { return lines.join("\n") };
        lines[at.saturating_sub(SHOWN)..lines.len().min(at + SHOWN)].join("\n")
    }
}

/// What has happened in a run.
#[derive(Debug, Default)]
pub struct Report {
    pub tally: Tally,
    /// How many of each kind.
    pub faults: BTreeMap<&'static str, u64>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tally { reads, fragments, near_hits, shared_hits, misses, .. } = &self.tally;
        let Tally { stored, outages, invalidations, undelivered, slowest, .. } = &self.tally;
        writeln!(
            f,
            "reads checked   {reads}, of {fragments} fragments; stale {}",
            self.tally.stale
        )?;
        writeln!(
            f,
            "lookups         {near_hits} near hits, {shared_hits} shared hits, {misses} misses, {outages} of them in outages; {stored} stored"
        )?;
        writeln!(f, "invalidations   {invalidations}, and {undelivered} that were tried in vain")?;
        writeln!(f, "slowest read    {slowest:?}: {}", self.tally.slowest_lookups)?;
        let total: u64 = self.faults.values().sum();
        write!(f, "faults          {total}:")?;
        self.faults.iter().try_for_each(|(fault, count)| write!(f, " {fault} {count};"))
    }
}
