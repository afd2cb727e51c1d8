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

/// A step as it stands in the file.
#[derive(Debug)]
struct Step {
    line: usize,
    head: String,
    text: String,
}

fn steps(source: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut lines: Vec<&str> = Vec::new();
    for (at, line) in source.split('\n').enumerate() {
        if let Some(head) = line.strip_prefix("--- ") {
            end_step(&mut steps, &mut lines);
            let head = head.trim_end().to_owned();
            steps.push(Step { line: at + 1, head, text: String::new() });
        } else {
            lines.push(line);
        }
    }
    end_step(&mut steps, &mut lines);
    steps
}

/// Empty lines before the next step are for the eye.
fn end_step(steps: &mut [Step], lines: &mut Vec<&str>) {
    let text = lines.join("\n");
    lines.clear();
    if let Some(step) = steps.last_mut() {
        step.text = text.trim_end_matches('\n').to_owned();
    }
}

/// The source as one engine spells it.
pub fn spelled(source: &str, engine: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    while let Some((before, behind)) = rest.split_once('‹') {
        let (both, after) = behind.split_once('›').expect("‹ has no ›");
        let (first, second) = both.split_once('¦').expect("‹…› has no ¦");
        out.push_str(before);
        out.push_str(if engine == "minijinja" { first } else { second });
        rest = after;
    }
    out + rest
}

/// The steps that one engine takes.
fn of_engine(steps: Vec<Step>, engine: &str) -> Vec<Step> {
    let mut of = "any".to_owned();
    let mut kept = Vec::new();
    for step in steps {
        if let Some(name) = step.head.strip_prefix("engine ") {
            of = name.trim().to_owned();
        } else if of == "any" || of == engine {
            kept.push(step);
        }
    }
    kept
}

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
    let steps = of_engine(steps(&spelled(source, E::NAME)), E::NAME);
    if steps.is_empty() {
        return match source.contains("\n--- ") {
            true => Ok(()),
            false => Err(format!("{name}: a fixture without steps")),
        };
    }
    let mut run = Run::<E>::new::<B>(&steps, delimiters);
    for step in &steps {
        run.step(step).map_err(|why| {
            format!("{name}:{}, {delimiters:?} delimiters: `{}`:\n{why}", step.line, step.head)
        })?;
    }
    Ok(())
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
    fn new<B: Backend>(steps: &[Step], delimiters: Delimiters) -> Self {
        let (cache, clock) = cache_on_clock::<B>();
        let words = steps[0].head.strip_prefix("layout").unwrap_or_default();
        let has = |word: &str| words.split_whitespace().any(|other| other == word);
        let layout = Layout {
            trim_blocks: has("trim"),
            lstrip_blocks: has("lstrip"),
            line_statements: has("lines"),
        };
        Run {
            engine: E::new(&cache, delimiters, layout),
            cache,
            clock,
            delimiters,
            context: Context::default(),
            database: Arc::default(),
            queries: Arc::default(),
            before: (Stats::default(), 0),
        }
    }

    fn step(&mut self, step: &Step) -> Done {
        let (word, rest) = step.head.split_once(' ').unwrap_or((&step.head, ""));
        let (first, second) = rest.split_once(' ').unwrap_or((rest, ""));
        let text = self.delimiters.apply(&step.text);
        match word {
            "layout" | "note" => Ok(()),
            "template" => self.engine.add(first, &text),
            "bad" => match self.engine.add(second, &text_of(&text)) {
                Ok(()) => Err("it was taken".to_owned()),
                Err(error) => same(&error, &expected(&text)),
            },
            "queryset" => {
                self.context.querysets.push((first.to_owned(), queryset(second)?));
                Ok(())
            }
            "lazy" => self.lazy(first, second),
            "rows" => {
                self.database.lock().unwrap().insert(first.to_owned(), json(second)?);
                Ok(())
            }
            "render" => same(&self.engine.render(first, &self.with(second)?)?, &text),
            "error" => match self.engine.render(first, &self.with(second)?) {
                Ok(page) => Err(format!("it rendered:\n{page}")),
                Err(error) => same(&error, &text),
            },
            "explain" => same(self.engine.explain(first, &self.with(second)?).trim_end(), &text),
            "expect" => self.expect(rest),
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

    fn expect(&mut self, what: &str) -> Done {
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
        same(got.trim_end(), what)
    }
}

/// The source of a bad template: up to a line `...`.
fn text_of(text: &str) -> String {
    text.split("\n...\n").next().unwrap_or_default().to_owned()
}

/// What loading it gives: from a line `...` on.
fn expected(text: &str) -> String {
    text.split("\n...\n").nth(1).unwrap_or_default().to_owned()
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

fn same(got: &str, wanted: &str) -> Done {
    if got == wanted {
        return Ok(());
    }
    Err(format!("gave\n{got}\nand the fixture says\n{wanted}"))
}
