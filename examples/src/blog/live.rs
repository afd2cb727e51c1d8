//! Live events of the cache: `/cache` and `/cache.json`.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use minijinja_cacheops::cacheops::{CacheInvalidated, Cacheops, FragmentInfo, Scalar};
use serde::Serialize;

use super::bar::Summary;
use super::shared::{Asker, Held, Line};

/// How many invalidations are remembered.
const INVALIDATIONS: usize = 50;
/// How many requests are remembered.
const REQUESTS: usize = 20;
/// How many fragments the page lists.
const FRAGMENTS: usize = 300;

/// The last invalidations and requests; cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Entries>>);

struct Entries {
    began: Instant,
    numbered: u64,
    invalidations: VecDeque<Entry<Invalidation>>,
    requests: VecDeque<Entry<Summary>>,
}

impl Default for Entries {
    fn default() -> Self {
        Entries {
            began: Instant::now(),
            numbered: 0,
            invalidations: VecDeque::new(),
            requests: VecDeque::new(),
        }
    }
}

/// Something that happened, and when.
#[derive(Clone)]
struct Entry<T> {
    number: u64,
    at: Instant,
    what: T,
}

/// An invalidation, as the page tells it.
#[derive(Clone, Debug, Serialize)]
struct Invalidation {
    target: String,
    rows: usize,
    schemes: usize,
    dropped: usize,
    whole_table: bool,
}

impl Log {
    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes an invalidation; the cache calls it.
    pub(crate) fn note_invalidation(&self, event: &CacheInvalidated<'_>) {
        let what = Invalidation {
            target: target_of(event),
            rows: event.rows.len(),
            schemes: event.schemes,
            dropped: event.dropped,
            whole_table: event.whole_table,
        };
        let entries = &mut *self.lock();
        push(&mut entries.numbered, &mut entries.invalidations, what, INVALIDATIONS);
    }

    /// Notes a page that was made.
    pub(crate) fn note_request(&self, what: Summary) {
        let entries = &mut *self.lock();
        push(&mut entries.numbered, &mut entries.requests, what, REQUESTS);
    }
}

/// What was invalidated, and of which rows, as far as they fit on a line.
fn target_of(event: &CacheInvalidated<'_>) -> String {
    let mut ids: Vec<String> =
        event.rows.iter().filter_map(|row| row.get("id")).map(Scalar::spelling).collect();
    ids.dedup();
    if ids.is_empty() {
        return event.target.to_string();
    }
    let more = if ids.len() > 3 { ", …" } else { "" };
    ids.truncate(3);
    format!("{}, id {}{more}", event.target, ids.join(", "))
}

fn push<T>(numbered: &mut u64, to: &mut VecDeque<Entry<T>>, what: T, limit: usize) {
    *numbered += 1;
    to.push_front(Entry { number: *numbered, at: Instant::now(), what });
    to.truncate(limit);
}

/// Everything that the page shows.
#[derive(Debug, Serialize)]
pub(crate) struct Snapshot {
    /// The line to Redis, where there is one.
    line: Option<Line>,
    counters: Vec<Counter>,
    fragments: Vec<FragmentRow>,
    /// How many fragments there are beyond those listed.
    unlisted: usize,
    invalidations: Vec<Row<Invalidation>>,
    requests: Vec<Row<Summary>>,
}

#[derive(Debug, Serialize)]
struct Counter {
    name: &'static str,
    value: u64,
}

#[derive(Debug, Serialize)]
struct FragmentRow {
    key: String,
    name: String,
    bytes: usize,
    /// In seconds.
    age: u64,
    /// In milliseconds since the log began, a few more or less: another one
    /// means that the fragment was made anew.
    made: u64,
    /// In seconds, if it has a time limit.
    left: Option<u64>,
    current: bool,
    /// What Redis holds of it, where there is one.
    shared: Option<Held>,
    /// Just as the cache names them.
    depends_on: Vec<String>,
    /// The same by table, for reading.
    groups: Vec<Group>,
}

/// What a fragment depends on of a table, or its names.
#[derive(Debug, PartialEq, Serialize)]
struct Group {
    of: String,
    what: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Row<T> {
    number: u64,
    /// In seconds.
    ago: u64,
    #[serde(flatten)]
    what: T,
}

impl Snapshot {
    /// How things stand. With Redis it takes a trip for each fragment.
    pub(crate) fn take(cache: &Cacheops, log: &Log) -> Self {
        let began = log.lock().began;
        let mut asker = Asker::new(cache);
        let all = cache.fragments();
        let unlisted = all.len().saturating_sub(FRAGMENTS);
        let mut fragments: Vec<FragmentRow> = all
            .into_iter()
            .take(FRAGMENTS)
            .map(|info| {
                let held = asker.as_mut().map(|asker| asker.ask(&info.key));
                FragmentRow::new(info, held, began)
            })
            .collect();
        fragments.sort_by(|a, b| {
            (&a.name, &a.depends_on, &a.key).cmp(&(&b.name, &b.depends_on, &b.key))
        });
        let entries = log.lock();
        Snapshot {
            line: Line::of(cache),
            counters: counters(cache),
            fragments,
            unlisted,
            invalidations: entries.invalidations.iter().map(Row::from).collect(),
            requests: entries.requests.iter().map(Row::from).collect(),
        }
    }
}

fn counters(cache: &Cacheops) -> Vec<Counter> {
    let (stats, usage) = (cache.stats(), cache.usage());
    let counter = |name, value| Counter { name, value };
    let mut counters = vec![
        counter("Hits", stats.hits),
        counter("Misses", stats.misses),
        counter("Missed: invalidated", stats.stamp_changed + stats.stamp_lost),
        counter("Missed: expired", stats.expired),
        counter("Invalidations", stats.invalidations),
        counter("Fragments kept", usage.fragments as u64),
        counter("Bytes kept", usage.bytes),
        counter("Stamps", usage.stamps as u64),
    ];
    if cache.shared_status().is_some() {
        counters.insert(1, counter("Of these in Redis", stats.shared_hits));
        let away = stats.unverified + stats.breaker_open;
        counters.insert(5, counter("Missed: Redis away", away));
        counters.insert(7, counter("Deliveries that failed", stats.failed_invalidations));
    }
    counters
}

impl FragmentRow {
    fn new(info: FragmentInfo, shared: Option<Held>, began: Instant) -> Self {
        let made = began.elapsed().saturating_sub(info.age);
        let mut depends_on = info.depends_on;
        depends_on.sort();
        FragmentRow {
            key: info.key.to_string(),
            name: info.name,
            bytes: info.len,
            age: info.age.as_secs(),
            made: u64::try_from(made.as_millis()).unwrap_or(u64::MAX),
            left: info.expires_in.map(|left| left.as_secs()),
            current: info.is_current,
            shared,
            groups: grouped(&depends_on),
            depends_on,
        }
    }
}

/// Brings `articles: id=1` and `articles: id=2` together; names, by which
/// fragments can be invalidated too, come last.
fn grouped(sorted: &[String]) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    let (tables, names): (Vec<_>, Vec<_>) =
        sorted.iter().partition(|label| label.split_once(": ").is_some());
    let tables = tables.into_iter().filter_map(|label| label.split_once(": "));
    let names =
        names.into_iter().filter_map(|label| Some(("names", label.strip_prefix("the name ")?)));
    for (of, what) in tables.chain(names) {
        match groups.last_mut() {
            Some(last) if last.of == of => last.what.push(what.to_owned()),
            _ => groups.push(Group { of: of.to_owned(), what: vec![what.to_owned()] }),
        }
    }
    groups
}

impl<T: Clone> From<&Entry<T>> for Row<T> {
    fn from(entry: &Entry<T>) -> Self {
        Row { number: entry.number, ago: entry.at.elapsed().as_secs(), what: entry.what.clone() }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by it")]
mod tests {
    use super::*;

    #[test]
    fn the_log_is_bounded() {
        let log = Log::default();
        let watched = log.clone();
        let cache = Cacheops::builder()
            .on_cache_invalidated(move |event| watched.note_invalidation(event))
            .build()
            .unwrap();
        (0..60).for_each(|_| cache.invalidate_all().unwrap());
        let snapshot = Snapshot::take(&cache, &log);
        assert_eq!(snapshot.invalidations.len(), INVALIDATIONS);
        assert_eq!(snapshot.invalidations[0].number, 60);
    }

    #[test]
    fn dependencies_are_grouped_by_table() {
        let labels = ["a: any row", "a: id=1", "b: id=2", "the name x", "a variant of x"];
        let groups = grouped(&labels.map(str::to_owned));
        let group = |of: &str, what: &[&str]| Group {
            of: of.to_owned(),
            what: what.iter().map(|text| (*text).to_owned()).collect(),
        };
        let expected =
            [group("a", &["any row", "id=1"]), group("b", &["id=2"]), group("names", &["x"])];
        assert_eq!(groups, expected);
    }
}
