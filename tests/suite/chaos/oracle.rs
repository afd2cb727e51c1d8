//! What may be served: the rule, for one process.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::database::{ALL_ROWS, Change, Database, ROWS, Record, Row, Set};

/// A fragment as it was served: of which rows, and at which versions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Served {
    /// Who asked for it. That is never read out of an answer.
    #[serde(skip)]
    pub tenant: u64,
    pub set: Set,
    pub rows: Vec<Row>,
}

/// Knows which versions a lookup may not find any more.
///
/// Nothing here compares the clocks of two processes. Strictly, what is
/// announced in the file before a lookup begins counts for it. Within a bound,
/// this process notes by its own clock when it has seen it there, which is
/// later than it was announced; and its own changes count at once.
pub struct Oracle {
    database: Arc<Database>,
    bound: Option<Duration>,
    own: Vec<AtomicU64>,
    /// Announced versions of each row that have been seen, and since when. The
    /// first of them counts.
    seen: Mutex<Vec<VecDeque<(Instant, u64)>>>,
}

/// What counts for a lookup that begins now.
pub struct View {
    began: Instant,
    /// The least version of each row.
    floors: Vec<u64>,
}

impl View {
    pub fn age(&self) -> Duration {
        self.began.elapsed()
    }
}

impl Oracle {
    /// Without a bound, strict.
    pub fn new(database: Arc<Database>, bound: Option<Duration>) -> Oracle {
        let own = (0..ALL_ROWS).map(|_| AtomicU64::new(0)).collect();
        let seen = Mutex::new((0..ALL_ROWS).map(|_| VecDeque::new()).collect());
        Oracle { database, bound, own, seen }
    }

    /// An invalidation has returned in this process.
    pub fn announced_here(&self, change: &Change) {
        self.own[change.id as usize].fetch_max(change.version, Ordering::SeqCst);
    }

    /// To be asked for before the lookup.
    pub fn view(&self) -> View {
        let own: Vec<u64> = self.own.iter().map(|own| own.load(Ordering::SeqCst)).collect();
        let announced: Vec<u64> = self.database.all().iter().map(|row| row.announced).collect();
        let began = Instant::now();
        let others = match self.bound {
            None => announced,
            Some(bound) => self.past(bound, began, &announced),
        };
        let floors = own.into_iter().zip(others).map(|(own, others)| own.max(others)).collect();
        View { began, floors }
    }

    /// What has been seen for the time of the bound.
    fn past(&self, bound: Duration, now: Instant, announced: &[u64]) -> Vec<u64> {
        let mut seen = self.seen.lock().unwrap();
        let rows = seen.iter_mut().zip(announced);
        rows.map(|(seen, announced)| {
            if seen.back().is_none_or(|(_, last)| last < announced) {
                seen.push_back((now, *announced));
            }
            let counts = |at: Option<&(Instant, u64)>| at.is_some_and(|(at, _)| *at + bound <= now);
            while counts(seen.get(1)) {
                seen.pop_front();
            }
            if counts(seen.front()) { seen[0].1 } else { 0 }
        })
        .collect()
    }

    /// What is wrong with what a lookup served that began at `view`, in words.
    pub fn judge(&self, view: &View, served: &[Served]) -> Option<String> {
        let latest = self.database.all();
        let mut wrong = String::new();
        for one in served {
            if let Some(row) = one.rows.iter().find(|row| row.tenant() != one.tenant) {
                let _ = write!(wrong, "{:?}: {row:?} reached tenant {}; ", one.set, one.tenant);
            }
            for id in (0..ROWS).map(|key| one.tenant * ROWS + key) {
                if let Some(why) = judge_row(view, one, id, latest[id as usize]) {
                    let own = self.own[id as usize].load(Ordering::SeqCst);
                    let _ = write!(wrong, "{:?}: {why}, own {own}; ", one.set);
                }
            }
        }
        (!wrong.is_empty()).then_some(wrong)
    }
}

fn judge_row(view: &View, served: &Served, id: u64, latest: Record) -> Option<String> {
    let floor = view.floors[id as usize].max(1);
    let mut shown = served.rows.iter().filter(|row| row.id == id);
    let wrong = match (shown.next(), shown.next()) {
        (None, _) => {
            let mut versions = floor..=latest.version;
            let may_lack = versions.any(|version| !served.set.has(Row { id, version }));
            (!may_lack).then(|| "is missing".to_owned())
        }
        (Some(row), None) if row.version < floor => Some(format!("is at {}", row.version)),
        (Some(row), None) if row.version <= latest.version && served.set.has(*row) => None,
        _ => Some("cannot be".to_owned()),
    };
    wrong.map(|wrong| format!("row {id} {wrong}, least {floor}, latest {latest:?}"))
}
