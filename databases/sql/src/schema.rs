//! What is known of a database: tables, columns and their types, views,
//! triggers, foreign keys. Adapters fill it from the database's catalogue.

use std::collections::HashMap;

use crate::kind::ColumnKind;
use crate::refusal::{Refusal, RefusalKind};

/// What is known of a database.
///
/// It need not be complete: a table that it does not know is taken for a base
/// table and never narrowed. With [`complete`](Self::complete) such a name is a
/// reason to refuse, which is what an adapter wants that has read the whole
/// catalogue.
///
/// ```
/// use cacheops_sql::{ColumnKind, Schema, Table};
///
/// let schema = Schema::new()
///     .table(
///         Table::new("articles")
///             .column("id", ColumnKind::Integer)
///             .column("category", ColumnKind::Integer)
///             .column("title", ColumnKind::Text),
///     )
///     .view("fresh", "SELECT id, title FROM articles WHERE category = 3");
/// # let _ = schema;
/// ```
#[derive(Clone, Debug, Default)]
pub struct Schema {
    tables: HashMap<String, Table>,
    views: HashMap<String, View>,
    pub(crate) triggers: Vec<Trigger>,
    pub(crate) default_schemas: Vec<String>,
    pub(crate) complete: bool,
}

/// A table, or what is announced as one.
#[derive(Clone, Debug)]
pub struct Table {
    pub(crate) name: String,
    pub(crate) columns: Vec<Column>,
    pub(crate) has_all_columns: bool,
    pub(crate) read_along: Vec<String>,
    pub(crate) refused: Option<String>,
    pub(crate) foreign_keys: Vec<ForeignKey>,
}

/// A column of a table.
#[derive(Clone, Debug)]
pub struct Column {
    pub(crate) name: String,
    /// As the database has it.
    pub(crate) exact: String,
    pub(crate) kind: ColumnKind,
}

#[derive(Clone, Debug)]
pub(crate) struct View {
    pub(crate) columns: Vec<String>,
    pub(crate) sql: String,
}

/// A foreign key of a table: what becomes of its rows when rows of the parent
/// go or change.
#[derive(Clone, Debug)]
pub(crate) struct ForeignKey {
    pub(crate) parent: String,
    pub(crate) on_delete: Action,
    pub(crate) on_update: Action,
}

/// What a foreign key does to the rows that refer to one that goes or changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Action {
    /// `NO ACTION` and `RESTRICT`: nothing is written.
    Nothing,
    /// `CASCADE`: they go, or change as well.
    Cascade,
    /// `SET NULL` and `SET DEFAULT`: they change.
    Set,
}

/// A trigger of a table or view, and what it writes.
#[derive(Clone, Debug)]
pub(crate) struct Trigger {
    pub(crate) table: String,
    pub(crate) writes: TriggerWrites,
}

#[derive(Clone, Debug)]
pub(crate) enum TriggerWrites {
    /// The statement that made it, or those of its body.
    Sql(String),
    Tables(Vec<String>),
}

impl Schema {
    /// Knows nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Schema::default()
    }

    /// Adds a table, or replaces the one of its name.
    #[must_use]
    pub fn table(mut self, table: Table) -> Self {
        let name = canonical(&table.name);
        self.views.remove(&name);
        self.tables.insert(name, table);
        self
    }

    /// Adds a view by the query that it stands for.
    #[must_use]
    pub fn view(self, name: &str, query: &str) -> Self {
        self.view_with_columns(name, query, &[])
    }

    /// Adds a view whose columns have names of their own.
    #[must_use]
    pub fn view_with_columns(mut self, name: &str, query: &str, columns: &[&str]) -> Self {
        let name = canonical(name);
        self.tables.remove(&name);
        let columns = columns.iter().map(|&column| canonical(column)).collect();
        self.views.insert(name, View { columns, sql: query.to_owned() });
        self
    }

    /// Adds a trigger of a table or view, by the statement that made it or by
    /// those of its body. If it cannot be read, it may write anything.
    #[must_use]
    pub fn trigger(mut self, table: &str, sql: &str) -> Self {
        let writes = TriggerWrites::Sql(sql.to_owned());
        self.triggers.push(Trigger { table: canonical(table), writes });
        self
    }

    /// Adds a trigger of a table or view by the tables that it writes: for
    /// databases in which it calls a function.
    #[must_use]
    pub fn trigger_writing(mut self, table: &str, written: &[&str]) -> Self {
        let writes = TriggerWrites::Tables(written.iter().map(|&name| canonical(name)).collect());
        self.triggers.push(Trigger { table: canonical(table), writes });
        self
    }

    /// Says that `schema` need not be written in front of a table's name:
    /// `main` for SQLite, those of the search path for PostgreSQL. Tables are
    /// then announced without it.
    #[must_use]
    pub fn default_schema(mut self, schema: &str) -> Self {
        self.default_schemas.push(canonical(schema));
        self
    }

    /// Says that this is all there is: a query of an unknown table is refused.
    #[must_use]
    pub fn complete(mut self) -> Self {
        self.complete = true;
        self
    }

    pub(crate) fn find(&self, name: &str) -> Option<Relation<'_>> {
        match self.tables.get(name) {
            Some(table) => Some(Relation::Table(table)),
            None => self.views.get(name).map(Relation::View),
        }
    }

    pub(crate) fn tables(&self) -> impl Iterator<Item = (&str, &Table)> {
        self.tables.iter().map(|(name, table)| (name.as_str(), table))
    }

    /// The name under which a table is known and announced, from the parts of
    /// the name in the text.
    pub(crate) fn name_of(&self, parts: &[&str]) -> String {
        let full = canonical(&parts.join("."));
        match parts {
            [_] => full,
            _ if self.tables.contains_key(&full) || self.views.contains_key(&full) => full,
            [schemas @ .., last] => {
                let schema = canonical(&schemas.join("."));
                if self.default_schemas.contains(&schema) { canonical(last) } else { full }
            }
            [] => full,
        }
    }
}

pub(crate) enum Relation<'a> {
    Table(&'a Table),
    View(&'a View),
}

impl Table {
    /// A table without columns yet, under the name by which its writes are
    /// announced.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Table {
            name: name.to_owned(),
            columns: Vec::new(),
            has_all_columns: true,
            read_along: Vec::new(),
            refused: None,
            foreign_keys: Vec::new(),
        }
    }

    /// Adds a column, in the order of the table. Only a column that the rows
    /// of announced writes hold can narrow: give a virtual generated one
    /// [`ColumnKind::Other`].
    #[must_use]
    pub fn column(mut self, name: &str, kind: ColumnKind) -> Self {
        self.columns.push(Column { name: canonical(name), exact: name.to_owned(), kind });
        self
    }

    /// Says that the table may have more columns than are given.
    #[must_use]
    pub fn and_more(mut self) -> Self {
        self.has_all_columns = false;
        self
    }

    /// Says that whoever reads the table reads `other` as well: the children of
    /// inheritance, the tables of a row security policy, the shadow tables of a
    /// virtual one.
    #[must_use]
    pub fn read_along(mut self, other: &str) -> Self {
        self.read_along.push(canonical(other));
        self
    }

    /// Refuses all queries of the table, for a reason that can be read: a
    /// virtual or a foreign table, whose changes nobody announces.
    #[must_use]
    pub fn refused(mut self, reason: &str) -> Self {
        self.refused = Some(reason.to_owned());
        self
    }

    /// Adds a foreign key to `parent`: what is done to the rows here when rows
    /// there go, and when they change.
    #[must_use]
    pub fn foreign_key(mut self, parent: &str, on_delete: Action, on_update: Action) -> Self {
        self.foreign_keys.push(ForeignKey { parent: canonical(parent), on_delete, on_update });
        self
    }

    /// Refuses what nobody announces the writes of.
    pub(crate) fn check(&self, name: &str) -> Result<(), Refusal> {
        match &self.refused {
            Some(why) => {
                Err(Refusal::new(RefusalKind::Table, format!("the table `{name}`: {why}")))
            }
            None => Ok(()),
        }
    }

    /// The place of a column; nothing if there is none, or two that differ in
    /// case only.
    pub(crate) fn place(&self, column: &str) -> Option<usize> {
        let mut places = self.columns.iter().enumerate().filter(|(_, c)| c.name == column);
        let (place, _) = places.next()?;
        places.next().is_none().then_some(place)
    }
}

/// The one spelling of a name, as the core has it.
pub(crate) fn canonical(name: &str) -> String {
    if name.bytes().all(|b| b.is_ascii_graphic() && !b.is_ascii_uppercase()) {
        return name.to_owned();
    }
    cacheops::QuerySet::table(name).table_name().to_owned()
}
