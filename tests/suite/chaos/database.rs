//! The database of all processes: a file with a record for each row.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Mutex;

use cacheops::{QuerySet, eq, is_in};
use serde::{Deserialize, Serialize};

use super::rng::{Rng, mix};
use super::tenants::TENANTS;

/// How many rows each tenant has; the first ones change most.
pub const ROWS: u64 = 48;

/// The rows of all tenants, one tenant's after the other's.
pub const ALL_ROWS: u64 = ROWS * TENANTS;

const CATEGORIES: u64 = 4;

/// Four words and their complements: a record that is torn is read again.
const RECORD: usize = 64;

/// A row of a tenant to read or write: one of the first every other time.
pub fn any_row(rng: &mut Rng) -> u64 {
    let limit = if rng.once_in(2) { ROWS } else { 4 };
    rng.below(limit)
}

/// A row as it was at one version. What it is, follows from that: the oracle
/// knows all versions of a row without a history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// Among the rows of all tenants: an answer shows whose it is.
    pub id: u64,
    pub version: u64,
}

impl Row {
    pub fn tenant(self) -> u64 {
        self.id / ROWS
    }

    /// Among those of its tenant, as the cache is told.
    pub fn key(self) -> u64 {
        self.id % ROWS
    }

    /// It moves every few versions.
    pub fn category(self) -> u64 {
        mix(self.id, self.version / 3) % CATEGORIES
    }

    pub fn flag(self) -> u64 {
        mix(self.id + 1_000, self.version / 2) % 2
    }

    /// It is deleted at times, and comes back.
    pub fn is_alive(self) -> bool {
        !mix(self.id + 2_000, self.version / 2).is_multiple_of(8)
    }

    /// What the cache is told of it.
    pub fn fields(self) -> serde_json::Value {
        serde_json::json!({
            "id": self.key(),
            "category": self.category(),
            "flag": self.flag(),
        })
    }
}

/// Rows of a tenant that a fragment is made from, by their keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Set {
    Row(u64),
    Category(u64),
    Both(u64, u64),
    Either(u64, u64),
    All,
}

impl Set {
    /// Any but a single row.
    pub fn random(rng: &mut Rng) -> Set {
        let category = rng.below(CATEGORIES);
        match rng.below(8) {
            0 => Set::All,
            1 | 2 => Set::Either(category, (category + 1) % CATEGORIES),
            3 | 4 => Set::Both(category, rng.below(2)),
            _ => Set::Category(category),
        }
    }

    pub fn queryset(self) -> QuerySet {
        let rows = QuerySet::table(TABLE);
        match self {
            Set::Row(id) => rows.filter(eq("id", id)),
            Set::Category(category) => rows.filter(eq("category", category)),
            Set::Both(category, flag) => {
                rows.filter(eq("category", category)).filter(eq("flag", flag))
            }
            Set::Either(one, other) => rows.filter(is_in("category", [one, other])),
            Set::All => rows,
        }
    }

    pub fn has(self, row: Row) -> bool {
        row.is_alive()
            && match self {
                Set::Row(key) => key == row.key(),
                Set::Category(category) => category == row.category(),
                Set::Both(category, flag) => category == row.category() && flag == row.flag(),
                Set::Either(one, other) => [one, other].contains(&row.category()),
                Set::All => true,
            }
    }

    /// Those that a tenant has, among all.
    pub fn of(self, tenant: u64, records: &[Record]) -> Vec<Row> {
        let rows = (0..).zip(records).map(|(id, record)| Row { id, version: record.version });
        rows.filter(|row| row.tenant() == tenant && self.has(*row)).collect()
    }
}

/// The table of the rows.
pub const TABLE: &str = "rows";

/// How far a row is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// What is committed.
    pub version: u64,
    /// What nothing older than may be served any more.
    pub announced: u64,
    /// How it was announced last.
    pub how: How,
}

/// Who told of a change, and in which way; for the reader of a report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct How {
    pub worker: u64,
    pub way: u64,
}

/// A version that was committed, and the one that was announced by then: what
/// the row was in between is to be invalidated too, since those who committed
/// that may be dead.
#[derive(Clone, Copy, Debug)]
pub struct Change {
    pub id: u64,
    pub announced: u64,
    pub version: u64,
    pub how: How,
}

impl Change {
    /// The row as it was and as it is.
    pub fn rows(self) -> impl Iterator<Item = Row> {
        (self.announced..=self.version).map(move |version| Row { id: self.id, version })
    }
}

/// The file. What one process has written, all others read from then on.
pub struct Database {
    file: File,
    /// Opened once more: the lock of a process that dies is released.
    commits: Mutex<File>,
}

impl Database {
    /// Makes the file, with all rows at their first version.
    pub fn create(path: &Path) {
        let first = Record { version: 1, announced: 1, how: How::default() };
        std::fs::write(path, first.bytes().repeat(ALL_ROWS as usize)).unwrap();
    }

    pub fn open(path: &Path) -> Database {
        let open = || File::options().read(true).write(true).open(path).unwrap();
        Database { file: open(), commits: Mutex::new(open()) }
    }

    /// All rows. One that is committed before the call is not seen older.
    pub fn all(&self) -> Vec<Record> {
        let mut bytes = vec![0; ALL_ROWS as usize * RECORD];
        self.file.read_exact_at(&mut bytes, 0).unwrap();
        let records = (0..).zip(bytes.chunks_exact(RECORD));
        records.map(|(id, bytes)| Record::parse(bytes).unwrap_or_else(|| self.record(id))).collect()
    }

    fn record(&self, id: u64) -> Record {
        loop {
            let mut bytes = [0; RECORD];
            self.file.read_exact_at(&mut bytes, id * RECORD as u64).unwrap();
            if let Some(record) = Record::parse(&bytes) {
                return record;
            }
        }
    }

    fn write(&self, id: u64, record: Record) {
        self.file.write_all_at(&record.bytes(), id * RECORD as u64).unwrap();
    }

    /// Commits the next version of each of some rows.
    pub fn commit(&self, ids: &[u64]) -> Vec<Change> {
        self.alone(|| ids.iter().map(|id| self.commit_one(*id)).collect())
    }

    fn commit_one(&self, id: u64) -> Change {
        let record = self.record(id);
        let (version, announced) = (record.version + 1, record.announced);
        self.write(id, Record { version, ..record });
        Change { id, announced, version, how: How::default() }
    }

    /// Notes that the invalidations of changes have returned.
    pub fn announce(&self, changes: &[Change]) {
        self.alone(|| changes.iter().for_each(|change| self.announce_one(change)));
    }

    fn announce_one(&self, change: &Change) {
        let record = self.record(change.id);
        if record.announced < change.version {
            let announced = change.version;
            self.write(change.id, Record { announced, how: change.how, ..record });
        }
    }

    /// Nobody else writes meanwhile, in no process.
    fn alone<T>(&self, work: impl FnOnce() -> T) -> T {
        let file = self.commits.lock().unwrap();
        file.lock().unwrap();
        let done = work();
        file.unlock().unwrap();
        done
    }
}

impl Record {
    fn bytes(self) -> [u8; RECORD] {
        let words = [self.version, self.announced, self.how.worker, self.how.way];
        let mut bytes = [0; RECORD];
        for (place, word) in bytes.chunks_exact_mut(16).zip(words) {
            let (word, complement) = (word.to_le_bytes(), (!word).to_le_bytes());
            place.copy_from_slice(&[word, complement].concat());
        }
        bytes
    }

    fn parse(bytes: &[u8]) -> Option<Record> {
        let word = |n: usize| u64::from_le_bytes(bytes[n * 8..n * 8 + 8].try_into().unwrap());
        let is_whole = (0..8).step_by(2).all(|n| word(n) == !word(n + 1));
        let how = How { worker: word(4), way: word(6) };
        is_whole.then(|| Record { version: word(0), announced: word(2), how })
    }
}
