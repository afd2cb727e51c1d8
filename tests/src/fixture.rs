//! Fixtures: a behaviour in a text file.
//!
//! A line `--- word arguments` begins a step, and the lines up to the next one
//! are its text. What stands before the first step says what the fixture is
//! about. The steps:
//!
//! | step | meaning |
//! |---|---|
//! | `note` | its text is for the reader |
//! | `engine NAME` | the steps up to the next of these are for this engine; `engine any` ends that |
//! | `layout trim lstrip lines` | how the engine treats white space; the first step |
//! | `template NAME` | adds the template of this text, or replaces it |
//! | `bad template NAME` | the same, and it fails with this text |
//! | `queryset NAME JSON` | a queryset in the context |
//! | `lazy NAME JSON` | a lazy queryset in the context; reads the rows of its name |
//! | `rows NAME JSON` | what the database holds for it; `"fail"` makes it fail |
//! | `render NAME [JSON]` | renders with these values, and gives this text |
//! | `error NAME [JSON]` | renders, and fails with this text |
//! | `explain NAME [JSON]` | the same, as the plugin explains it |
//! | `expect WHAT=N …` | hits, misses, stored or queries since the last time |
//! | `invalidate_obj TABLE JSON` | and its kin, by their names |
//! | `advance SECONDS` | lets time pass |
//! | `enabled true` or `false` | switches the cache |
//!
//! A fixture is one test on each store and engine, by its name:
//! `cargo test -p cacheops-tests --test suite fixtures::in_memory_tera::inheritance`.
//! With the environment variable `BLESS` set, the tests in memory write what the
//! steps give into the files; look at the difference before you commit it.
//!
//! Where engines spell the same thing in two ways, a step holds both:
//! `‹x is divisibleby 3¦x is divisible_by(divisor=3)›`, MiniJinja's first.

use std::collections::HashMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cacheops::{Cacheops, ManualClock, QuerySet, Stats};
use serde_json::{Map, Value as Json};

use crate::{Backend, Context, Delimiters, Engine, Layout, Query, cache_on_clock};
use steps::Step;

mod steps;

pub use steps::spelled;

/// Runs a fixture on a store and an engine.
///
/// # Errors
///
/// The first step that does not give what the fixture says.
pub fn run<B: Backend, E: Engine>(
    name: &str,
    source: &str,
    delimiters: Delimiters,
) -> Result<(), String> {
    let fail = |step: &Step, why: &str| {
        let Step { line, head, .. } = step;
        format!("{name}:{line}, {delimiters:?} delimiters: `{head}`:\n{why}")
    };
    let steps = steps_of::<E>(source);
    if steps.is_empty() && !source.contains("\n--- ") {
        return Err(format!("{name}: a fixture without steps"));
    }
    let Some(mut run) = Run::<E>::new::<B>(&steps, delimiters) else { return Ok(()) };
    for step in &steps {
        let got = run.step(step).map_err(|why| fail(step, &why))?;
        let wanted = delimiters.apply(wanted(step));
        if let Some(got) = got.filter(|got| *got != wanted) {
            return Err(fail(step, &format!("gave\n{got}\nand the fixture says\n{wanted}")));
        }
    }
    Ok(())
}

/// The fixture with what its steps give on a store and an engine in place of
/// what it says.
///
/// # Errors
///
/// A step that fails where it should not, or the other way round.
pub fn bless<B: Backend, E: Engine>(source: &str) -> Result<String, String> {
    let (intro, mut all) = steps::parse(source);
    let steps = steps_of::<E>(source);
    let run = Run::<E>::new::<B>(&steps, Delimiters::Default);
    if let Some(mut run) = run {
        for step in &steps {
            let got = run.step(step).map_err(|why| format!("`{}`:\n{why}", step.head))?;
            if let Some(got) = got.filter(|got| *got != wanted(step)) {
                bless_step(&mut all[step.index], &got, E::NAME);
            }
        }
    }
    Ok(steps::write(&intro, &all))
}

fn steps_of<E: Engine>(source: &str) -> Vec<Step> {
    steps::of_engine(steps::parse(&spelled(source, E::NAME)).1, E::NAME)
}

/// What a step says that it gives.
fn wanted(step: &Step) -> &str {
    match step.head.split_once(' ') {
        Some(("expect", counts)) => counts,
        Some(("bad", _)) => steps::bad_template(&step.text).1,
        _ => &step.text,
    }
}

/// Puts what one engine gives into a step, and leaves what the other gives.
fn bless_step(step: &mut Step, got: &str, engine: &str) {
    let is_shared = step.engine == "any";
    let both = |old: &str| {
        if !is_shared {
            return got.to_owned();
        }
        let is_first = engine == "minijinja";
        let other = spelled(old, if is_first { "tera" } else { "minijinja" });
        let (first, second) = if is_first { (got, &*other) } else { (&*other, got) };
        if first == second { first.to_owned() } else { format!("‹{first}¦{second}›") }
    };
    match step.head.split_once(' ') {
        Some(("expect", counts)) => step.head = format!("expect {}", both(counts)),
        Some(("bad", _)) => {
            let (source, old) = steps::bad_template(&step.text);
            step.text = format!("{source}\n...\n{}", both(old));
        }
        _ => step.text = both(&step.text),
    }
}

struct Run<E> {
    engine: E,
    cache: Cacheops,
    clock: Arc<ManualClock>,
    delimiters: Delimiters,
    context: Context,
    database: Arc<Mutex<HashMap<String, Json>>>,
    queries: Arc<AtomicU64>,
    before: (Stats, u64),
}

type Done = Result<(), String>;

impl<E: Engine> Run<E> {
    /// None where the engine has no steps here.
    fn new<B: Backend>(steps: &[Step], delimiters: Delimiters) -> Option<Self> {
        let words = steps.first()?.head.strip_prefix("layout").unwrap_or_default();
        let (cache, clock) = cache_on_clock::<B>();
        let has = |word: &str| words.split_whitespace().any(|other| other == word);
        let layout = Layout {
            trim_blocks: has("trim"),
            lstrip_blocks: has("lstrip"),
            line_statements: has("lines"),
        };
        Some(Run {
            engine: E::new(&cache, delimiters, layout),
            cache,
            clock,
            delimiters,
            context: Context::default(),
            database: Arc::default(),
            queries: Arc::default(),
            before: (Stats::default(), 0),
        })
    }

    /// Takes a step: what it gives, if the fixture says something of that.
    fn step(&mut self, step: &Step) -> Result<Option<String>, String> {
        let (word, rest) = step.head.split_once(' ').unwrap_or((&step.head, ""));
        let (first, second) = rest.split_once(' ').unwrap_or((rest, ""));
        let given = match word {
            "bad" => {
                let source = self.delimiters.apply(steps::bad_template(&step.text).0);
                self.engine.add(second, &source).err().ok_or("it was taken")?
            }
            "render" => self.engine.render(first, &self.with(second)?)?,
            "error" => match self.engine.render(first, &self.with(second)?) {
                Ok(page) => return Err(format!("it rendered:\n{page}")),
                Err(error) => error,
            },
            "explain" => self.engine.explain(first, &self.with(second)?).trim_end().to_owned(),
            "expect" => self.count(rest)?,
            _ => return self.act(word, (first, second), &step.text).map(|()| None),
        };
        Ok(Some(given))
    }

    /// A step that gives nothing.
    fn act(&mut self, word: &str, (first, second): (&str, &str), text: &str) -> Done {
        match word {
            "layout" | "note" => Ok(()),
            "template" => self.engine.add(first, &self.delimiters.apply(text)),
            "queryset" => {
                self.context.querysets.push((first.to_owned(), queryset(second)?));
                Ok(())
            }
            "lazy" => self.lazy(first, second),
            "rows" => {
                self.database.lock().unwrap().insert(first.to_owned(), json(second)?);
                Ok(())
            }
            "advance" => {
                let seconds: f64 = first.parse().map_err(|_| "not a number".to_owned())?;
                self.clock.advance(Duration::from_secs_f64(seconds));
                Ok(())
            }
            "enabled" => {
                self.cache.set_enabled(first == "true");
                Ok(())
            }
            _ => self.invalidate(word, first, second),
        }
    }

    fn invalidate(&self, word: &str, first: &str, second: &str) -> Done {
        match word {
            "invalidate_obj" => self.cache.invalidate_obj(first, &json(second)?),
            "invalidate_change" => {
                let both = json(second)?;
                self.cache.invalidate_change(first, &both[0], &both[1])
            }
            "invalidate_model" => {
                self.cache.invalidate_model(first).unwrap();
                Ok(())
            }
            "invalidate_fragment" if second.is_empty() => {
                self.cache.invalidate_fragment(first).unwrap();
                Ok(())
            }
            "invalidate_fragment" => self.cache.invalidate_fragment_extra(first, &json(second)?),
            "invalidate_all" => {
                self.cache.invalidate_all().unwrap();
                Ok(())
            }
            _ => return Err("no such step".to_owned()),
        }
        .map_err(|error| error.to_string())
    }

    fn lazy(&mut self, name: &str, set: &str) -> Done {
        let set = queryset(set)?;
        let (database, queries, of) =
            (self.database.clone(), self.queries.clone(), name.to_owned());
        let query: Query = Arc::new(move || {
            queries.fetch_add(1, Ordering::SeqCst);
            match database.lock().unwrap().get(&of) {
                Some(Json::Array(rows)) => Ok(rows.clone()),
                Some(why) => Err(format!("the database says {why}")),
                None => Ok(Vec::new()),
            }
        });
        self.context.lazies.push((name.to_owned(), set, query));
        Ok(())
    }

    fn with(&self, values: &str) -> Result<Context, String> {
        let mut context = self.context.clone();
        if !values.is_empty() {
            let values: Map<String, Json> =
                serde_json::from_str(values).map_err(|e| e.to_string())?;
            context.values = values;
        }
        Ok(context)
    }

    /// The counts that a step asks for, since the last time.
    fn count(&mut self, what: &str) -> Result<String, String> {
        let now = (self.cache.stats(), self.queries.load(Ordering::SeqCst));
        let (before, queries) = std::mem::replace(&mut self.before, now);
        let counts = [
            ("hits", now.0.hits - before.hits),
            ("misses", now.0.misses - before.misses),
            ("stored", now.0.stored - before.stored),
            ("queries", now.1 - queries),
        ];
        let mut got = String::new();
        for pair in what.split_whitespace() {
            let (name, _) = pair.split_once('=').ok_or("expect takes name=number")?;
            let count = counts.iter().find(|(other, _)| *other == name).ok_or("no such count")?;
            let _ = write!(got, "{name}={} ", count.1);
        }
        Ok(got.trim_end().to_owned())
    }
}

fn queryset(text: &str) -> Result<QuerySet, String> {
    match json(text)? {
        Json::String(table) => Ok(QuerySet::table(table)),
        other => serde_json::from_value(other).map_err(|error| error.to_string()),
    }
}

fn json(text: &str) -> Result<Json, String> {
    serde_json::from_str(text).map_err(|error| format!("{error} in {text}"))
}
