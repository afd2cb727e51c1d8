//! What the database itself says of a query, which beats what its text says.

use crate::analysis::Reads;
use crate::functions::FunctionKind;
use crate::plan::Reach;
use crate::refusal::{Refusal, RefusalKind};
use crate::schema::Relation;
use crate::settings::Settings;

/// The tables and functions that a database names when it prepares a query:
/// SQLite's authorizer names them through views, common table expressions and
/// triggers.
///
/// ```
/// use cacheops_sql::{Dialect, Schema, Seen, Sql};
///
/// let sql = Sql::new(Dialect::Sqlite, Schema::new());
/// // The parser does not know this form of IS NULL; the database does.
/// let text = "SELECT * FROM articles WHERE author_id ISNULL";
/// assert!(sql.read(text).refusal().is_some());
/// let query = sql.statement_seen(text, || Some(Seen::new().table("articles")));
/// assert_eq!(query.tables().collect::<Vec<_>>(), ["articles"]);
/// ```
#[derive(Clone, Debug, Default)]
pub struct Seen {
    tables: Vec<String>,
    functions: Vec<String>,
}

impl Seen {
    /// Nothing was seen yet.
    #[must_use]
    pub fn new() -> Self {
        Seen::default()
    }

    /// Adds a table that is read. The names of views may be among them.
    #[must_use]
    pub fn table(mut self, name: &str) -> Self {
        self.tables.push(name.to_owned());
        self
    }

    /// Adds a function that is called.
    #[must_use]
    pub fn function(mut self, name: &str) -> Self {
        self.functions.push(name.to_owned());
        self
    }

    /// What a query reads, by its text and by what was seen: the text narrows,
    /// and says nothing about which tables there are.
    pub(crate) fn confirm(
        &self,
        reads: Result<Reads, Refusal>,
        settings: &Settings,
    ) -> Result<Reads, Refusal> {
        let is_read = reads.is_ok();
        let mut reads = match reads {
            Err(refusal) if may_be_kept(refusal.kind()) => Reads::default(),
            reads => reads?,
        };
        self.check_functions(is_read, settings)?;
        for table in &self.tables {
            let name = settings.schema.name_of(&table.split('.').collect::<Vec<_>>());
            match settings.schema.find(&name) {
                Some(Relation::View(_)) => continue,
                Some(Relation::Table(known)) => known.check(&name)?,
                None => settings.check_unknown(&name)?,
            }
            if !reads.reaches.iter().any(|reach| *reach.table == *name) {
                reads.reaches.push(Reach { table: name.into(), disjuncts: Vec::new() });
            }
        }
        if reads.reaches.is_empty() {
            return Err(Refusal::no_table());
        }
        Ok(reads)
    }

    fn check_functions(&self, is_read: bool, settings: &Settings) -> Result<(), Refusal> {
        for name in &self.functions {
            match settings.functions.get(name) {
                Some(FunctionKind::Volatile) | None => return Err(Refusal::volatile(name)),
                // Its arguments were looked at where the text was understood.
                Some(FunctionKind::Clock) if !is_read => return Err(Refusal::volatile(name)),
                Some(_) => {}
            }
        }
        Ok(())
    }
}

/// Whether a query that is refused for this may be kept by its tables.
fn may_be_kept(kind: RefusalKind) -> bool {
    matches!(kind, RefusalKind::Unparsed | RefusalKind::Construct)
}
