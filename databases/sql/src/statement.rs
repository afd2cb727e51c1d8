//! Statements that were read, kept by their text.

use std::sync::Arc;

use cacheops::QuerySet;
use foldhash::fast::RandomState;
use quick_cache::UnitWeighter;
use quick_cache::sync::{Cache, DefaultLifecycle};

use crate::analysis;
use crate::dialect::Dialect;
use crate::functions::Functions;
use crate::parse::{on_large_stack, parameters, parse};
use crate::plan::Plan;
use crate::refusal::{Refusal, RefusalKind};
use crate::schema::Schema;
use crate::seen::Seen;
use crate::settings::Settings;
use crate::value::Value;
use crate::writes::Writes;

/// Reads SQL: a dialect, what is known of the database, and the statements that
/// were read before.
///
/// Make one for each database and keep it; after a change of the schema make a
/// new one. A clone shares what the first one has read.
#[derive(Clone, Debug)]
pub struct Sql {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    settings: Settings,
    statements: Cache<Box<str>, Arc<Statement>, UnitWeighter, RandomState>,
}

/// How many statements are kept by default.
const KEPT: usize = 1000;

/// Longer texts are read each time, in bytes.
const LONGEST_KEPT: usize = 64 * 1024;

impl Sql {
    /// Reads the SQL of a dialect, with the functions that the database comes
    /// with, and keeps up to 1,000 statements.
    #[must_use]
    pub fn new(dialect: Dialect, schema: Schema) -> Self {
        Sql::with(Settings {
            dialect,
            schema,
            functions: Functions::of(dialect),
            session: String::new(),
        })
    }

    fn with(settings: Settings) -> Self {
        let statements = Cache::with(
            KEPT,
            KEPT as u64,
            UnitWeighter,
            RandomState::default(),
            DefaultLifecycle::default(),
        );
        Sql { inner: Arc::new(Inner { settings, statements }) }
    }

    /// The same with another list of functions. What was read is read anew.
    #[must_use]
    pub fn functions(&self, functions: Functions) -> Self {
        Sql::with(Settings { functions, ..self.inner.settings.clone() })
    }

    /// The same for a session in which a text means something else: a search
    /// path, a role, a time zone. It is part of what identifies a query. What was
    /// read is read anew.
    #[must_use]
    pub fn session(&self, session: &str) -> Self {
        Sql::with(Settings { session: session.to_owned(), ..self.inner.settings.clone() })
    }

    /// Reads a statement, or finds what it was read as before. That never
    /// fails: a text that is not understood is a statement that is refused.
    #[must_use]
    pub fn statement(&self, text: &str) -> Arc<Statement> {
        if let Some(known) = self.inner.statements.get(text) {
            return known;
        }
        self.keep(text, self.read(text))
    }

    /// [`statement`](Self::statement) for a query that the database is asked
    /// about as well, the first time that it comes. What the database names
    /// counts, whatever the text says; and a query whose text is not understood
    /// is kept by whole tables. Ask only about statements that write nothing
    /// (`sqlite3_stmt_readonly`); without an answer the text decides.
    #[must_use]
    pub fn statement_seen(
        &self,
        text: &str,
        seen: impl FnOnce() -> Option<Seen>,
    ) -> Arc<Statement> {
        if let Some(known) = self.inner.statements.get(text) {
            return known;
        }
        self.keep(text, Statement::read(text, &self.inner.settings, seen().as_ref()))
    }

    fn keep(&self, text: &str, statement: Statement) -> Arc<Statement> {
        let statement = Arc::new(statement);
        if text.len() <= LONGEST_KEPT {
            self.inner.statements.insert(text.into(), Arc::clone(&statement));
        }
        statement
    }

    /// Reads a statement without keeping what it was read as: one that comes once.
    #[must_use]
    pub fn read(&self, text: &str) -> Statement {
        Statement::read(text, &self.inner.settings, None)
    }
}

/// A statement that was read: what it reads, or why its result must not be
/// kept.
#[derive(Debug)]
pub struct Statement {
    reads: Result<Plan, Refusal>,
    writes: Writes,
    parameters: Box<[Option<String>]>,
}

impl Statement {
    fn read(text: &str, settings: &Settings, seen: Option<&Seen>) -> Self {
        let read = || Statement::read_here(text, settings, seen);
        on_large_stack(text, settings.dialect, read).unwrap_or_else(|| {
            let refusal = Refusal::new(RefusalKind::Construct, "the query nests too deep");
            let writes = Writes::anything(refusal.to_string());
            Statement { reads: Err(refusal), writes, parameters: Box::default() }
        })
    }

    fn read_here(text: &str, settings: &Settings, seen: Option<&Seen>) -> Self {
        let (reads, writes, parameters) = match parse(text, settings.dialect) {
            Ok(parsed) => {
                let reads = analysis::reads(&parsed.statement, settings);
                (reads, Writes::of(&parsed.statement, settings), parsed.parameters)
            }
            Err(refusal) => {
                let writes = Writes::of_unparsed(text, settings.dialect, &refusal.to_string());
                let parameters = parameters(text, settings.dialect).unwrap_or_default();
                (Err(refusal), writes, parameters)
            }
        };
        let reads = match seen {
            Some(seen) => seen.confirm(reads, settings),
            None => reads,
        };
        let reads = reads.map(|reads| Plan {
            dialect: settings.dialect,
            identity: identity(text, settings).into(),
            parameters: parameters.len(),
            clocks: reads.clocks.into(),
            reaches: reads.reaches.into(),
        });
        Statement { reads, writes, parameters: parameters.into() }
    }

    /// What the query reads with these values: one queryset for each table.
    /// The first one tells text and values from all others, so that the
    /// querysets identify the query as well.
    ///
    /// # Errors
    ///
    /// Why the result must not be kept: see [`Refusal`]. Besides what
    /// [`refusal`](Self::refusal) says, values can be a reason: another number
    /// of them than of parameters, and words that ask for the clock.
    pub fn querysets(&self, values: &[Value]) -> Result<Vec<QuerySet>, Refusal> {
        match &self.reads {
            Ok(plan) => plan.fill(values),
            Err(refusal) => Err(refusal.clone()),
        }
    }

    /// Why the result must not be kept, whatever the values are.
    #[must_use]
    pub fn refusal(&self) -> Option<&Refusal> {
        self.reads.as_ref().err()
    }

    /// The tables that the query reads, each once, by the names by which their
    /// writes are announced; none for a statement that is refused.
    pub fn tables(&self) -> impl Iterator<Item = &str> {
        self.reads.iter().flat_map(|plan| plan.reaches.iter().map(|reach| &*reach.table))
    }

    /// What the statement writes. A query mostly writes nothing; what is not
    /// understood may write anything.
    #[must_use]
    pub fn writes(&self) -> &Writes {
        &self.writes
    }

    /// The parameters in the order in which values are bound, by their names
    /// where they have some.
    #[must_use]
    pub fn parameters(&self) -> &[Option<String>] {
        &self.parameters
    }
}

/// What tells a text from all others.
fn identity(text: &str, settings: &Settings) -> String {
    format!("{:?}\u{1f}{}\u{1f}{text}", settings.dialect, settings.session)
}
