//! The bar at the bottom of every page: what the request cost, and which
//! fragments the page consists of.
//!
//! A page is rendered on one thread, so a thread-local record can count what
//! happens meanwhile.

use std::cell::RefCell;
use std::collections::HashMap;
use std::time::{Duration, Instant};

use minijinja_cacheops::cacheops::{CacheRead, Cacheops, FragmentInfo, Outcome};
use serde::Serialize;

use super::shared::{Asker, Held};

thread_local! {
    static RECORD: RefCell<Option<Record>> = const { RefCell::new(None) };
}

/// What a request has done so far.
#[derive(Debug)]
pub(crate) struct Record {
    began: Instant,
    queries: u32,
    reads: Vec<Read>,
}

/// A fragment that was asked for.
#[derive(Clone, Debug)]
struct Read {
    key: String,
    name: String,
    outcome: Outcome,
    age: Option<Duration>,
}

/// What the bar says, and what `/cache` keeps of the last requests.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Summary {
    /// What was asked for.
    pub(crate) path: String,
    /// Queries that ran.
    pub(crate) queries: u32,
    /// Fragments that were found; what is inside them is not asked for.
    pub(crate) hits: Vec<String>,
    /// Of these, how many were found by asking Redis.
    pub(crate) shared: usize,
    /// Fragments that had to be made.
    pub(crate) missed: Vec<String>,
    /// How long the page took, in milliseconds.
    pub(crate) milliseconds: f64,
}

/// Begins the record of a request in this thread.
pub(crate) fn begin() {
    let record = Record { began: Instant::now(), queries: 0, reads: Vec::new() };
    RECORD.set(Some(record));
}

/// Ends the record of this thread.
pub(crate) fn end() -> Option<Record> {
    RECORD.take()
}

fn with_record(f: impl FnOnce(&mut Record)) {
    RECORD.with_borrow_mut(|record| record.as_mut().map(f));
}

/// Counts a query.
pub(crate) fn count_query() {
    with_record(|record| record.queries += 1);
}

/// Notes a fragment that was asked for; the cache calls it.
pub(crate) fn note_read(read: &CacheRead<'_>) {
    with_record(|record| {
        record.reads.push(Read {
            key: read.key.to_string(),
            name: read.name.to_owned(),
            outcome: read.outcome,
            age: read.age,
        });
    });
}

impl Record {
    /// What it comes to.
    pub(crate) fn summary(&self, path: &str) -> Summary {
        let names = |is_hit: bool| {
            let reads = self.reads.iter().filter(|read| read.outcome.is_hit() == is_hit);
            reads.map(|read| read.name.clone()).collect()
        };
        Summary {
            path: path.to_owned(),
            queries: self.queries,
            hits: names(true),
            shared: self.reads.iter().filter(|read| read.outcome == Outcome::SharedHit).count(),
            missed: names(false),
            milliseconds: self.began.elapsed().as_secs_f64() * 1000.0,
        }
    }

    /// What the page's script shows of the fragments that are marked in
    /// `html`, as JSON by their keys.
    pub(crate) fn outlines(&self, html: &str, cache: &Cacheops) -> String {
        let read: HashMap<&str, &Read> =
            self.reads.iter().map(|read| (read.key.as_str(), read)).collect();
        let kept = |key: &str| cache.fragment(&key.parse().ok()?);
        let mut asker = Asker::new(cache);
        let mut held = |key: &str| Some(asker.as_mut()?.ask(&key.parse().ok()?));
        let outlines: HashMap<&str, Outline> = marked_keys(html)
            .map(|key| (key, Outline::new(read.get(key).copied(), kept(key).as_ref(), held(key))))
            .collect();
        script_json(&outlines)
    }
}

/// What is told of a fragment.
#[derive(Debug, Serialize)]
struct Outline {
    name: String,
    hit: bool,
    outcome: String,
    /// In seconds.
    age: f64,
    depends_on: Vec<String>,
    /// What Redis holds of it, where there is one.
    shared: Option<Held>,
}

impl Outline {
    /// A fragment that was not asked for came as a part of one that was found.
    /// Where it is not in memory, Redis knows of it.
    fn new(read: Option<&Read>, kept: Option<&FragmentInfo>, shared: Option<Held>) -> Self {
        let kept = kept.or(shared.as_ref().and_then(|held| held.info.as_ref()));
        let name = read.map(|read| &read.name).or(kept.map(|info| &info.name));
        let age = read.and_then(|read| read.age).or(kept.map(|info| info.age));
        Outline {
            name: name.cloned().unwrap_or_default(),
            hit: read.is_none_or(|read| read.outcome.is_hit()),
            outcome: match read {
                Some(read) if read.outcome.is_hit() => read.outcome.to_string(),
                Some(read) => format!("miss: {}", read.outcome),
                None => "hit, inside another".to_owned(),
            },
            age: age.unwrap_or_default().as_secs_f64(),
            depends_on: kept.map(|info| info.depends_on.clone()).unwrap_or_default(),
            shared,
        }
    }
}

/// The keys in the comments around fragments. What users write is escaped, so
/// that no other comment looks like this.
fn marked_keys(html: &str) -> impl Iterator<Item = &str> {
    html.split("<!--cacheops ")
        .skip(1)
        .filter_map(|rest| rest.split_once("-->"))
        .map(|(key, _)| key)
}

/// JSON that can stand in a `<script>`: nothing in it ends the element.
pub(crate) fn script_json<T: Serialize>(value: &T) -> String {
    let json = serde_json::to_string(value).unwrap_or_else(|_| "null".to_owned());
    json.replace('<', "\\u003c")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_cannot_end_its_script() {
        assert_eq!(script_json(&"</script>"), "\"\\u003c/script>\"");
    }

    #[test]
    fn keys_are_read_from_the_comments() {
        let html = "<!--cacheops a-->x<!--cacheops b-->y<!--/cacheops b--><!--/cacheops a-->";
        assert_eq!(marked_keys(html).collect::<Vec<_>>(), ["a", "b"]);
    }
}
