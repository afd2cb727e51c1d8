//! What a statement writes, as far as its text and the schema tell: for
//! databases in which nothing else does.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use cacheops::WriteEvent;
use sqlparser::ast::{
    CopySource, Delete, Expr, FromTable, Function, Insert, ObjectName, ObjectType, OnInsert, Query,
    Statement as Tree, TableFactor, TableObject, TableWithJoins, Truncate, Update,
    UpdateTableFromKind, Visit, Visitor,
};

use crate::dialect::Dialect;
use crate::names::{function_name, parts, relations};
use crate::parse::{parse, parse_trigger};
use crate::schema::{Action, Relation, TriggerWrites};
use crate::settings::Settings;

/// What a statement writes: tables, those of triggers and cascades included, or
/// anything.
///
/// ```
/// use cacheops_sql::{Action, Dialect, Schema, Sql, Table, WriteKind};
///
/// let schema = Schema::new()
///     .table(Table::new("authors"))
///     .table(Table::new("articles").foreign_key("authors", Action::Cascade, Action::Nothing));
/// let sql = Sql::new(Dialect::Sqlite, schema);
///
/// let statement = sql.statement("DELETE FROM authors WHERE id = 7");
/// let written = statement.writes().tables();
/// assert!(written.iter().all(|write| write.kind() == WriteKind::Delete));
/// let tables: Vec<&str> = written.iter().map(|write| write.table()).collect();
/// assert_eq!(tables, ["authors", "articles"]);
///
/// let vague = sql.statement("CALL do_something()");
/// assert!(vague.writes().everything().is_some());
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Writes {
    tables: Vec<TableWrite>,
    everything: Option<String>,
}

/// A table that a statement writes, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableWrite {
    table: String,
    kind: WriteKind,
}

/// What is done to the rows of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WriteKind {
    /// Rows are added.
    Insert,
    /// Rows change.
    Update,
    /// Rows go, one by one or all of them.
    Delete,
    /// The table itself is made, changed, filled anew or dropped: what is known
    /// of the schema is old.
    Schema,
}

impl TableWrite {
    /// The name by which its writes are announced.
    #[must_use]
    pub fn table(&self) -> &str {
        &self.table
    }

    /// What is done to it. A table stands in [`Writes::tables`] once for each
    /// kind.
    #[must_use]
    pub fn kind(&self) -> WriteKind {
        self.kind
    }
}

impl Writes {
    /// The tables that are written.
    #[must_use]
    pub fn tables(&self) -> &[TableWrite] {
        &self.tables
    }

    /// Why anything may have been written, in words; nothing if the tables say
    /// it all.
    #[must_use]
    pub fn everything(&self) -> Option<&str> {
        self.everything.as_deref()
    }

    /// Whether nothing is written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tables.is_empty() && self.everything.is_none()
    }

    /// What to announce once it is committed: whole tables, or everything.
    #[must_use]
    pub fn events(&self) -> Vec<WriteEvent> {
        if self.everything.is_some() {
            return vec![WriteEvent::everything()];
        }
        let tables: BTreeSet<&str> = self.tables.iter().map(TableWrite::table).collect();
        tables.into_iter().map(WriteEvent::table).collect()
    }

    pub(crate) fn anything(why: impl Into<String>) -> Self {
        Writes { tables: Vec::new(), everything: Some(why.into()) }
    }

    /// What a statement writes, with what its triggers and cascades do.
    pub(crate) fn of(statement: &Tree, settings: &Settings) -> Self {
        let mut collector = Collector { settings, writes: Writes::default() };
        let _ = statement.visit(&mut collector);
        let mut at = 0;
        // What is added in the loop is followed, too.
        while let Some(write) = collector.writes.tables.get(at).cloned() {
            collector.follow(&write);
            at += 1;
        }
        collector.writes
    }

    /// What a text writes that the parser does not understand.
    pub(crate) fn of_unparsed(text: &str, dialect: Dialect, why: &str) -> Self {
        let mut words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let mut words = words.by_ref().filter(|word| !word.is_empty());
        let pragma = words.next().is_some_and(|word| word.eq_ignore_ascii_case("pragma"));
        let harmless = words.next().is_some_and(is_harmless_pragma);
        if dialect == Dialect::Sqlite
            && pragma
            && harmless
            && !text.trim_end_matches([';', ' ']).contains(';')
        {
            return Writes::default();
        }
        Writes::anything(why)
    }
}

/// Pragmas that change neither rows nor what a query results in.
fn is_harmless_pragma(name: &str) -> bool {
    const HARMLESS: &[&str] = &[
        "analysis_limit",
        "application_id",
        "auto_vacuum",
        "automatic_index",
        "busy_timeout",
        "cache_size",
        "cache_spill",
        "collation_list",
        "compile_options",
        "data_version",
        "database_list",
        "defer_foreign_keys",
        "foreign_key_check",
        "foreign_key_list",
        "foreign_keys",
        "freelist_count",
        "function_list",
        "hard_heap_limit",
        "index_info",
        "index_list",
        "index_xinfo",
        "integrity_check",
        "journal_mode",
        "journal_size_limit",
        "locking_mode",
        "max_page_count",
        "mmap_size",
        "module_list",
        "optimize",
        "page_count",
        "page_size",
        "pragma_list",
        "query_only",
        "quick_check",
        "read_uncommitted",
        "recursive_triggers",
        "secure_delete",
        "soft_heap_limit",
        "synchronous",
        "table_info",
        "table_list",
        "table_xinfo",
        "temp_store",
        "threads",
        "user_version",
        "wal_autocheckpoint",
        "wal_checkpoint",
    ];
    HARMLESS.iter().any(|known| known.eq_ignore_ascii_case(name))
}

struct Collector<'a> {
    settings: &'a Settings,
    writes: Writes,
}

impl Visitor for Collector<'_> {
    type Break = ();

    /// The statement, and those in its common table expressions.
    fn pre_visit_statement(&mut self, statement: &Tree) -> ControlFlow<()> {
        self.statement(statement);
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        if let Expr::Function(function) = expr {
            self.function(function);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
        if let TableFactor::Table { name, args: Some(_), .. } | TableFactor::Function { name, .. } =
            factor
        {
            self.called(name);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        if let sqlparser::ast::SetExpr::Select(select) = &*query.body
            && let Some(into) = &select.into
        {
            self.anything(format!("what `{into}` makes is not known"));
        }
        ControlFlow::Continue(())
    }
}

impl Collector<'_> {
    fn add(&mut self, name: &ObjectName, kind: WriteKind) {
        match parts(name) {
            Some(parts) => {
                let texts: Vec<&str> = parts.iter().map(|part| part.value.as_str()).collect();
                self.add_table(self.settings.schema.name_of(&texts), kind);
            }
            None => self.anything("the name of what is written is not understood"),
        }
    }

    fn add_table(&mut self, table: String, kind: WriteKind) {
        let write = TableWrite { table, kind };
        if !self.writes.tables.contains(&write) {
            self.writes.tables.push(write);
        }
    }

    fn anything(&mut self, why: impl Into<String>) {
        self.writes.everything.get_or_insert(why.into());
    }

    fn add_all<'n>(&mut self, names: impl IntoIterator<Item = &'n ObjectName>, kind: WriteKind) {
        names.into_iter().for_each(|name| self.add(name, kind));
    }

    fn statement(&mut self, statement: &Tree) {
        match statement {
            Tree::Query(_) => {}
            Tree::Insert(insert) => self.insert(insert),
            Tree::Update(update) => self.update(update),
            Tree::Delete(delete) => self.delete(delete),
            Tree::Merge(merge) => {
                for kind in [WriteKind::Insert, WriteKind::Update, WriteKind::Delete] {
                    self.factors(&merge.table, kind);
                }
            }
            Tree::Truncate(truncate) => self.truncate(truncate),
            Tree::Copy { source: CopySource::Table { table_name, .. }, to: false, .. } => {
                self.add(table_name, WriteKind::Insert);
            }
            Tree::Copy { to: true, .. } => {}
            Tree::LoadData { table_name, .. } => self.add(table_name, WriteKind::Insert),
            statement => self.definition(statement),
        }
    }

    /// Statements that change what there is.
    fn definition(&mut self, statement: &Tree) {
        match statement {
            Tree::CreateTable(table) => self.add(&table.name, WriteKind::Schema),
            Tree::CreateView(view) => self.add(&view.name, WriteKind::Schema),
            Tree::CreateVirtualTable { name, .. } => self.add(name, WriteKind::Schema),
            Tree::AlterTable(table) => self.add(&table.name, WriteKind::Schema),
            Tree::AlterView(view) => self.add(&view.name, WriteKind::Schema),
            Tree::RefreshMaterializedView(view) => self.add(&view.name, WriteKind::Schema),
            Tree::RenameTable(tables) => {
                for table in tables {
                    self.add_all([&table.old_name, &table.new_name], WriteKind::Schema);
                }
            }
            Tree::Drop { object_type, names, cascade: false, .. } if is_relation(object_type) => {
                self.add_all(names, WriteKind::Schema);
                // SQLite deletes the rows first, which may cascade.
                self.add_all(names, WriteKind::Delete);
            }
            Tree::Drop { object_type: ObjectType::Index, .. } => {}
            Tree::Pragma { name, .. } => {
                let known = name.0.last().and_then(|part| part.as_ident());
                if !known.is_some_and(|name| is_harmless_pragma(&name.value)) {
                    self.anything("the pragma may change what queries result in");
                }
            }
            // What is explained is not run, unless it is analyzed; then it is
            // visited as a statement of its own.
            Tree::Explain { .. } => {}
            statement if changes_nothing(statement) => {}
            _ => self.anything("what the statement changes is not known"),
        }
    }

    fn insert(&mut self, insert: &Insert) {
        let TableObject::TableName(name) = &insert.table else {
            return self.anything("what is inserted into is not understood");
        };
        self.add(name, WriteKind::Insert);
        let replaces = insert.replace_into
            || matches!(insert.or, Some(sqlparser::ast::SqliteOnConflict::Replace));
        if replaces {
            self.add(name, WriteKind::Delete);
        }
        let updates = match &insert.on {
            Some(OnInsert::OnConflict(conflict)) => {
                !matches!(conflict.action, sqlparser::ast::OnConflictAction::DoNothing)
            }
            Some(_) => true,
            None => false,
        };
        if updates {
            self.add(name, WriteKind::Update);
        }
    }

    fn update(&mut self, update: &Update) {
        self.joined(&update.table, WriteKind::Update);
        if matches!(update.or, Some(sqlparser::ast::SqliteOnConflict::Replace)) {
            self.joined(&update.table, WriteKind::Delete);
        }
        if let Some(UpdateTableFromKind::BeforeSet(tables)) = &update.from {
            tables.iter().for_each(|table| self.joined(table, WriteKind::Update));
        }
    }

    fn delete(&mut self, delete: &Delete) {
        let (FromTable::WithFromKeyword(from) | FromTable::WithoutKeyword(from)) = &delete.from;
        from.iter().for_each(|table| self.joined(table, WriteKind::Delete));
        // MySQL names the tables apart, by their aliases too.
        if !delete.tables.is_empty() || self.settings.dialect == Dialect::MySql {
            let using = delete.using.iter().flatten();
            using.for_each(|table| self.joined(table, WriteKind::Delete));
        }
    }

    fn truncate(&mut self, truncate: &Truncate) {
        for target in &truncate.table_names {
            self.add(&target.name, WriteKind::Delete);
        }
        if matches!(truncate.cascade, Some(sqlparser::ast::CascadeOption::Cascade)) {
            let mut at = 0;
            while let Some(parent) = self.writes.tables.get(at).map(|write| write.table.clone()) {
                for child in self.children(&parent) {
                    self.add_table(child, WriteKind::Delete);
                }
                at += 1;
            }
        }
    }

    fn children(&self, parent: &str) -> Vec<String> {
        let tables = self.settings.schema.tables();
        let refers =
            tables.filter(|(_, table)| table.foreign_keys.iter().any(|k| k.parent == parent));
        refers.map(|(name, _)| name.to_owned()).collect()
    }

    /// All tables of a join: which of them are written, MySQL tells by columns.
    fn joined(&mut self, tables: &TableWithJoins, kind: WriteKind) {
        self.factors(tables, kind);
    }

    fn factors(&mut self, tables: &impl Visit, kind: WriteKind) {
        let names = relations(tables);
        self.add_all(&names, kind);
    }

    fn function(&mut self, function: &Function) {
        self.called(&function.name);
    }

    /// A function of the database's own language may write.
    fn called(&mut self, name: &ObjectName) {
        let name = function_name(name, self.settings.dialect);
        if self.settings.dialect != Dialect::Sqlite && self.settings.functions.get(&name).is_none()
        {
            self.anything(format!("what the function `{name}` writes is not known"));
        }
    }

    /// What else is written since a table is.
    fn follow(&mut self, write: &TableWrite) {
        let settings = self.settings;
        for trigger in settings.schema.triggers.iter().filter(|t| t.table == write.table) {
            match &trigger.writes {
                TriggerWrites::Tables(tables) => {
                    for kind in [WriteKind::Insert, WriteKind::Update, WriteKind::Delete] {
                        tables.iter().for_each(|table| self.add_table(table.clone(), kind));
                    }
                }
                TriggerWrites::Sql(sql) => match parse_trigger(sql, settings.dialect) {
                    Ok(statements) => {
                        for statement in &statements {
                            let _ = statement.visit(self);
                        }
                    }
                    Err(why) => {
                        self.anything(format!("a trigger of `{}`: {why}", write.table));
                    }
                },
            }
        }
        for (name, table) in settings.schema.tables() {
            for key in table.foreign_keys.iter().filter(|key| key.parent == write.table) {
                let (action, gone) = match write.kind {
                    WriteKind::Delete => (key.on_delete, WriteKind::Delete),
                    WriteKind::Update => (key.on_update, WriteKind::Update),
                    WriteKind::Insert | WriteKind::Schema => continue,
                };
                match action {
                    Action::Nothing => {}
                    Action::Cascade => self.add_table(name.to_owned(), gone),
                    Action::Set => self.add_table(name.to_owned(), WriteKind::Update),
                }
            }
        }
        self.through_view(write);
    }

    /// A view is written by way of the tables that it shows.
    fn through_view(&mut self, write: &TableWrite) {
        let settings = self.settings;
        let Some(Relation::View(view)) = settings.schema.find(&write.table) else { return };
        if write.kind == WriteKind::Schema {
            return;
        }
        match parse(&view.sql, settings.dialect) {
            Ok(parsed) => self.factors(&parsed.statement, write.kind),
            Err(why) => self.anything(format!("the view `{}`: {why}", write.table)),
        }
    }
}

fn is_relation(object: &ObjectType) -> bool {
    matches!(
        object,
        ObjectType::Table
            | ObjectType::ForeignTable
            | ObjectType::View
            | ObjectType::MaterializedView
    )
}

fn changes_nothing(statement: &Tree) -> bool {
    matches!(
        statement,
        Tree::Set(_)
            | Tree::StartTransaction { .. }
            | Tree::Commit { .. }
            | Tree::Rollback { .. }
            | Tree::Savepoint { .. }
            | Tree::ReleaseSavepoint { .. }
            | Tree::ShowFunctions { .. }
            | Tree::ShowVariable { .. }
            | Tree::ShowVariables { .. }
            | Tree::ShowStatus { .. }
            | Tree::ShowCreate { .. }
            | Tree::ShowColumns { .. }
            | Tree::ShowTables { .. }
            | Tree::ShowDatabases { .. }
            | Tree::ShowSchemas { .. }
            | Tree::ShowCollation { .. }
            | Tree::ShowProcessList { .. }
            | Tree::ExplainTable { .. }
            | Tree::CreateIndex(_)
            | Tree::CreateSequence { .. }
            | Tree::Analyze(_)
            | Tree::Comment { .. }
            | Tree::LISTEN { .. }
            | Tree::UNLISTEN { .. }
            | Tree::NOTIFY { .. }
            | Tree::Lock(_)
            | Tree::LockTables { .. }
            | Tree::UnlockTables
            | Tree::Deallocate { .. }
            | Tree::Close { .. }
    )
}
