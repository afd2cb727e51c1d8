//! What a worker reads: single values, nested ones, pages, and several at once.

use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use cacheops::{CacheRead, Cacheops, Error, Outcome};
use cacheops_tests::engines::MiniJinja;
use cacheops_tests::{Context, Delimiters, Engine, Layout, Query};
use futures_util::future::join_all;
use serde_json::json;

use super::database::{ROWS, Record, Row, Set, any_row};
use super::oracle::Served;
use super::rng::Rng;
use super::tenants::{self, TENANTS};
use super::worker::{Bug, WorkerProcess};

/// A list with a fragment for each row, and a part that many pages share.
const PAGE: &str = "\
{% cached_as rows, extra=[name, variant] %}<{{ name }}\
{% for r in rows %} {{ r.id }}@{{ r.version }} \
{% cached_as queryset(\"rows\", id=r.key), extra=variant %}\
<Row:{{ r.key }} {{ r.id }}@{{ r.version }}>{% endcached_as %}\
{% endfor %}>{% endcached_as %} {% include \"part.txt\" %}";

const PART: &str = "\
{% cached timeout=60, extra=one_name, name=\"part\" %}\
{% cached_as one, lock=false %}<{{ one_name }}{% for r in one %} {{ r.id }}@{{ r.version }}{% endfor %}>{% endcached_as %} \
<{{ other_name }}{% for r in other %} {{ r.id }}@{{ r.version }}{% endfor %}>{% endcached %}";

/// What came of a lookup.
pub struct Lookup {
    name: String,
    outcome: Outcome,
    time: Duration,
    age: Option<Duration>,
}

impl fmt::Debug for Lookup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Lookup { name, outcome, time, age } = self;
        write!(f, "{name}: {outcome} in {time:?}")?;
        age.map_or(Ok(()), |age| write!(f, ", {age:?} old"))
    }
}

thread_local! {
    /// The lookups of this thread since they were last asked for.
    static LOOKUPS: RefCell<Vec<Lookup>> = const { RefCell::new(Vec::new()) };
}

/// Notes a lookup.
pub fn note(read: &CacheRead<'_>) {
    let CacheRead { name, outcome, time, age, .. } = *read;
    let lookup = Lookup { name: name.to_owned(), outcome, time, age };
    LOOKUPS.with_borrow_mut(|lookups| lookups.push(lookup));
}

/// What was noted in this thread since the last call.
pub fn noted() -> Vec<Lookup> {
    LOOKUPS.take()
}

/// What took a good part of a time, in words.
pub fn slow_ones(lookups: &[Lookup], took: Duration) -> String {
    let slow: Vec<&Lookup> = lookups.iter().filter(|lookup| lookup.time > took / 10).collect();
    format!("{slow:?}")
}

/// What one reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    Anything,
    /// Single rows, many of them: they meet what is wrong for a moment.
    Rows,
}

/// The templates of a process.
pub fn pages(cache: &Cacheops) -> MiniJinja {
    let mut engine = MiniJinja::new(cache, Delimiters::Default, Layout::default());
    engine.add("page.txt", PAGE).unwrap();
    engine.add("part.txt", PART).unwrap();
    engine
}

/// One who reads.
pub struct Reader<'a> {
    worker: &'a WorkerProcess,
    style: Style,
    /// For whom the present reading is.
    tenant: u64,
    rng: Rng,
    /// How long a query takes, in milliseconds; mostly nothing.
    pause: u64,
    /// What the database held before the lookup: for a bug.
    early: Option<Vec<Record>>,
}

impl<'a> Reader<'a> {
    pub fn new(worker: &'a WorkerProcess, seed: u64, style: Style) -> Reader<'a> {
        Reader { worker, style, tenant: 0, rng: Rng::new(seed), pause: 0, early: None }
    }

    fn cache(&self) -> &Cacheops {
        &self.worker.cache
    }

    /// Reads something, any way, for anyone.
    pub fn read(&mut self) -> Vec<Served> {
        self.tenant = tenants::any(&mut self.rng);
        tenants::be(self.tenant);
        self.early = (self.worker.job.bug == Some(Bug::Early)).then(|| self.worker.database.all());
        self.pause = if self.rng.once_in(8) { self.rng.within(1, 8) } else { 0 };
        let (set, id) = (Set::random(&mut self.rng), any_row(&mut self.rng));
        if self.style == Style::Rows {
            return self.asked(vec![self.row(id)]);
        }
        let read = match self.rng.below(16) {
            0..5 => vec![self.row(id)],
            5..8 => vec![self.list(set)],
            8 => vec![self.long_list(set)],
            9..11 => self.nested(set, id % 4 * 5),
            11..14 => self.page(set),
            _ => return self.at_once(set, id),
        };
        self.asked(read)
    }

    /// Whose these are to be.
    fn asked(&self, mut read: Vec<Served>) -> Vec<Served> {
        read.iter_mut().for_each(|one| one.tenant = self.tenant);
        read
    }

    /// The rows of a set that a tenant has, as the database has them. A query
    /// may take long, and so may what is made of it.
    fn load(&self, tenant: u64, set: Set) -> Vec<Row> {
        let pause = Duration::from_millis(self.pause);
        let is_slow_to_find = self.pause.is_multiple_of(2);
        if is_slow_to_find {
            thread::sleep(pause);
        }
        let rows = match &self.early {
            Some(records) => set.of(tenant, records),
            None => set.of(tenant, &self.worker.database.all()),
        };
        if !is_slow_to_find {
            thread::sleep(pause);
        }
        rows
    }

    fn row(&self, id: u64) -> Served {
        self.list(Set::Row(id))
    }

    /// One place in the source for all processes.
    fn list(&self, set: Set) -> Served {
        let fill = || Ok::<_, Error>(self.load(self.tenant, set));
        let rows = self.cache().cached_as(set.queryset()).name("list").get_or_fill(fill);
        Served { tenant: self.tenant, set, rows: rows.unwrap() }
    }

    /// Long enough to be compressed, and to fill a small memory.
    fn long_list(&mut self, set: Set) -> Served {
        let (variant, len) = (self.rng.below(4), self.rng.within(1_000, 20_000));
        let mut noise = self.rng.clone();
        let mut text = || (0..len / 8).map(|_| format!("{:08x}", noise.next() as u32)).collect();
        let rows =
            self.worker.cache.cached_as(set.queryset()).extra(&variant).name("long").get_or_fill(
                || Ok::<(Vec<Row>, String), Error>((self.load(self.tenant, set), text())),
            );
        Served { tenant: self.tenant, set, rows: rows.unwrap().0 }
    }

    /// Fragments in a fragment that is made from nothing else.
    fn nested(&self, set: Set, first: u64) -> Vec<Served> {
        let fill = || {
            let mut all: Vec<Served> = (0..4).map(|n| self.row((first + n) % ROWS)).collect();
            all.push(self.list(set));
            Ok::<_, Error>(all)
        };
        self.cache().cached().extra(&(set, first)).name("nested").get_or_fill(fill).unwrap()
    }

    fn page(&mut self, rows: Set) -> Vec<Served> {
        let one = Set::random(&mut self.rng);
        let other = partner(one);
        let mut context = Context::default();
        for (name, set) in [("rows", rows), ("one", one), ("other", other)] {
            let (database, early) = (self.worker.database.clone(), self.early.clone());
            let tenant = self.tenant;
            let query: Query = Arc::new(move || {
                let rows = set.of(tenant, early.as_ref().unwrap_or(&database.all()));
                let shown =
                    |row: &Row| json!({"id": row.id, "key": row.key(), "version": row.version});
                Ok(rows.iter().map(shown).collect())
            });
            context.lazies.push((name.to_owned(), set.queryset(), query));
        }
        context.values.insert("name".to_owned(), json!(write_set(rows)));
        context.values.insert("one_name".to_owned(), json!(write_set(one)));
        context.values.insert("other_name".to_owned(), json!(write_set(other)));
        context.values.insert("variant".to_owned(), json!(self.rng.below(3)));
        parse(&self.worker.pages.render("page.txt", &context).unwrap())
    }

    /// Several futures on this thread, of all tenants: each is of the one for
    /// whom it was begun, whoever the thread works for as it goes on.
    fn at_once(&self, set: Set, first: u64) -> Vec<Served> {
        let mut sets: Vec<Set> = (0..2).map(|n| Set::Row((first + n) % ROWS)).collect();
        sets.push(set);
        let asked = (0..TENANTS).flat_map(|tenant| sets.iter().map(move |set| (tenant, *set)));
        let reads = asked.map(|(tenant, set)| self.list_async(tenant, set));
        let reads: Vec<_> = reads.collect();
        futures_executor::block_on(join_all(reads))
    }

    fn list_async(&self, tenant: u64, set: Set) -> impl Future<Output = Served> {
        let asked = self.cache().cached_as(set.queryset()).name("async");
        let fill = move || async move { Ok::<_, Error>(self.load(tenant, set)) };
        let rows = tenants::begin(tenant, || asked.get_or_fill_async(fill));
        async move { Served { tenant, set, rows: rows.await.unwrap() } }
    }
}

/// What stands beside a set in the part: it follows from the set, as the part
/// varies by nothing else.
fn partner(set: Set) -> Set {
    match set {
        Set::Category(category) => Set::Row(category),
        Set::Both(category, flag) => Set::Row(10 + 2 * category + flag),
        _ => Set::Row(40),
    }
}

/// A set as a page names it.
fn write_set(set: Set) -> String {
    match set {
        Set::Row(id) => format!("Row:{id}"),
        Set::Category(category) => format!("Category:{category}"),
        Set::Both(category, flag) => format!("Both:{category}:{flag}"),
        Set::Either(one, other) => format!("Either:{one}:{other}"),
        Set::All => "All".to_owned(),
    }
}

fn read_set(text: &str) -> Set {
    let parts: Vec<&str> = text.split(':').collect();
    let number = |n: usize| parts[n].parse().unwrap();
    match parts[0] {
        "Row" => Set::Row(number(1)),
        "Category" => Set::Category(number(1)),
        "Both" => Set::Both(number(1), number(2)),
        "Either" => Set::Either(number(1), number(2)),
        _ => Set::All,
    }
}

/// The fragments on a page: `<Category:3 7@12 <Row:7 7@12>>`.
fn parse(page: &str) -> Vec<Served> {
    let (mut open, mut done): (Vec<Served>, Vec<Served>) = (Vec::new(), Vec::new());
    for word in page.replace('>', " > ").split_whitespace() {
        if let Some(set) = word.strip_prefix('<') {
            open.push(Served { tenant: 0, set: read_set(set), rows: Vec::new() });
        } else if word == ">" {
            done.extend(open.pop());
        } else if let Some((id, version)) = word.split_once('@') {
            let row = Row { id: id.parse().unwrap(), version: version.parse().unwrap() };
            open.last_mut().expect("rows are in fragments").rows.push(row);
        }
    }
    assert!(open.is_empty(), "{page}");
    done
}
