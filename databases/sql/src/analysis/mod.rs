//! What a query reads: each table as often as it is named, and what holds of
//! its rows where they can change the result.

mod check;
mod condition;
mod from;
mod tree;
mod uses;

use std::collections::HashMap;
use std::rc::Rc;

use sqlparser::ast::{
    Distinct, Expr, GroupByExpr, InTarget, LimitClause, ObjectName, Query, Select, SelectItem,
    SelectItemQualifiedWildcardKind, SetExpr, Statement, Visit, Visitor, WildcardAdditionalOptions,
};
use std::ops::ControlFlow;

pub(crate) use check::Checked;
use condition::{Place, bare};
use tree::Node;
use uses::Uses;

use crate::dialect::Dialect;
use crate::formula::{ColumnRef, Columns, Facts, Formula, project};
use crate::kind::{ColumnKind, Kinds};
use crate::names::{folded, last_part, parts, relations};
use crate::plan::Reach;
use crate::refusal::{Refusal, RefusalKind};
use crate::schema::Column;
use crate::scope::{Ctes, Env, Frame, resolve};
use crate::settings::Settings;

/// What the analysis of a query came to.
#[derive(Default)]
pub(crate) struct Reads {
    pub(crate) reaches: Vec<Reach>,
    pub(crate) clocks: Vec<usize>,
}

/// What a statement reads, or why it must not be kept.
pub(crate) fn reads(statement: &Statement, settings: &Settings) -> Result<Reads, Refusal> {
    let Statement::Query(query) = statement else {
        return Err(Refusal::new(RefusalKind::NotAQuery, "the statement is no query"));
    };
    let checked = Checked::of(statement, settings)?;
    let mut analyzer = Analyzer::new(settings);
    analyzer.learn(&checked, statement);
    let built = analyzer.query(query, &Env::EMPTY, &Facts::new())?;
    analyzer.finish(&built.node, &Facts::new());
    let reaches = analyzer.reaches();
    if reaches.is_empty() {
        return Err(Refusal::no_table());
    }
    Ok(Reads { reaches, clocks: checked.clocks })
}

/// More queries within one query, counting a common table expression as often
/// as it is named, are not looked into.
const MOST_QUERIES: usize = 500;

/// Above it, no table is narrowed.
const MOST_SOURCES: usize = 100;

struct Analyzer<'a> {
    settings: &'a Settings,
    sources: Vec<Source<'a>>,
    /// Which facts hold of the rows of a source.
    facts: Vec<(usize, Facts)>,
    /// Tables that are read in a way that narrows nothing.
    whole: Vec<String>,
    narrows: bool,
    /// Names as they are meant, where case tells them apart.
    exact: HashMap<String, String>,
    queries: usize,
    /// Common table expressions that are being read, by their address, and
    /// whether they named themselves.
    open: Vec<(usize, bool)>,
    /// How many views are within each other.
    views: usize,
}

/// A table under one of the names that it has in the query.
struct Source<'a> {
    table: String,
    columns: &'a [Column],
}

/// A query that was read.
struct Built {
    node: Node,
    columns: Vec<(String, Option<ColumnRef>)>,
    has_all: bool,
}

impl Columns for Analyzer<'_> {
    fn name(&self, column: ColumnRef) -> &str {
        self.column_of(column).map_or("", |column| &column.name)
    }

    fn add_kind(&self, column: ColumnRef, kinds: &mut Kinds) {
        kinds.add(self.kind(column));
    }
}

impl<'a> Analyzer<'a> {
    fn new(settings: &'a Settings) -> Self {
        Analyzer {
            settings,
            sources: Vec::new(),
            facts: Vec::new(),
            whole: Vec::new(),
            narrows: true,
            exact: HashMap::new(),
            queries: 0,
            open: Vec::new(),
            views: 0,
        }
    }

    /// Takes over what was found in a text. Where two names differ in case only,
    /// which of them a third one is, is not looked into.
    fn learn(&mut self, checked: &Checked, within: &impl Visit) {
        self.narrows &= checked.narrows && !checked.is_ambiguous;
        if checked.is_ambiguous {
            let tables = relations(within);
            let names = tables.iter().filter_map(parts).map(|parts| {
                let texts: Vec<&str> = parts.iter().map(|part| part.value.as_str()).collect();
                self.settings.schema.name_of(&texts)
            });
            self.whole.extend(names);
        }
        self.exact.extend(checked.exact.iter().map(|(name, exact)| (name.clone(), exact.clone())));
    }

    fn dialect(&self) -> Dialect {
        self.settings.dialect
    }

    fn column_of(&self, column: ColumnRef) -> Option<&Column> {
        self.sources.get(column.source)?.columns.get(column.column)
    }

    fn kind(&self, column: ColumnRef) -> ColumnKind {
        self.column_of(column).map_or(ColumnKind::Other, |column| column.kind)
    }

    /// One reach for each table, from those of its sources.
    fn reaches(&self) -> Vec<Reach> {
        let mut reaches: Vec<Reach> = Vec::new();
        let narrows = self.narrows && self.sources.len() <= MOST_SOURCES;
        for (source, facts) in &self.facts {
            let Some(table) = self.sources.get(*source).map(|source| &source.table) else {
                continue;
            };
            let disjuncts = match narrows {
                true => project(facts.iter().map(Rc::as_ref), *source, self),
                false => Vec::new(),
            };
            add_reach(&mut reaches, table, disjuncts);
        }
        self.whole.iter().for_each(|table| add_reach(&mut reaches, table, Vec::new()));
        reaches
    }

    fn query(&mut self, query: &Query, env: &Env<'_>, facts: &Facts) -> Result<Built, Refusal> {
        self.queries += 1;
        if self.queries > MOST_QUERIES {
            let why = format!("the query is made of more than {MOST_QUERIES}");
            return Err(Refusal::new(RefusalKind::Construct, why));
        }
        let Some(with) = &query.with else {
            return self.body_and_limit(query, env, facts);
        };
        let ctes = Ctes {
            list: &with.cte_tables,
            known: with.cte_tables.len(),
            // SQLite lets them name each other whatever it says.
            is_recursive: with.recursive || self.dialect() == Dialect::Sqlite,
            around: env,
        };
        let inner = Env { ctes: Some(&ctes), ..Env::within(None, env) };
        self.body_and_limit(query, &inner, facts)
    }

    fn body_and_limit(
        &mut self,
        query: &Query,
        env: &Env<'_>,
        facts: &Facts,
    ) -> Result<Built, Refusal> {
        let mut built = match &*query.body {
            SetExpr::Select(select) => self.select(select, query, env, facts)?,
            body => {
                let built = self.body(body, env, facts)?;
                self.subqueries(&query.order_by, env, facts)?;
                built
            }
        };
        if query.limit_clause.is_some() || query.fetch.is_some() {
            // Which rows are within the limit, others decide, too.
            let limits_nothing = matches!(
                &query.limit_clause,
                Some(LimitClause::LimitOffset { limit: None, offset: None, .. })
            );
            self.subqueries(&query.limit_clause, env, facts)?;
            if !limits_nothing || query.fetch.is_some() {
                self.close(&mut built, facts);
            }
        }
        Ok(built)
    }

    fn body(&mut self, body: &SetExpr, env: &Env<'_>, facts: &Facts) -> Result<Built, Refusal> {
        match body {
            SetExpr::Query(query) => self.query(query, env, facts),
            SetExpr::SetOperation { left, right, .. } => {
                let mut built = self.side(left, env, facts)?;
                let mut other = self.side(right, env, facts)?;
                self.close(&mut built, facts);
                self.close(&mut other, facts);
                Ok(built)
            }
            SetExpr::Values(_) => {
                self.subqueries(body, env, facts)?;
                Ok(Built { node: Node::Closed, columns: Vec::new(), has_all: false })
            }
            _ => Err(not_understood("a query of this form")),
        }
    }

    /// A side of a set operation.
    fn side(&mut self, side: &SetExpr, env: &Env<'_>, facts: &Facts) -> Result<Built, Refusal> {
        match side {
            SetExpr::Select(select) => self.select_alone(select, env, facts),
            side => self.body(side, env, facts),
        }
    }

    fn select_alone(
        &mut self,
        select: &Select,
        env: &Env<'_>,
        facts: &Facts,
    ) -> Result<Built, Refusal> {
        self.select_with(select, &None::<Expr>, env, facts)
    }

    fn select(
        &mut self,
        select: &Select,
        query: &Query,
        env: &Env<'_>,
        facts: &Facts,
    ) -> Result<Built, Refusal> {
        self.select_with(select, &query.order_by, env, facts)
    }

    fn select_with(
        &mut self,
        select: &Select,
        order_by: &impl Visit,
        env: &Env<'_>,
        facts: &Facts,
    ) -> Result<Built, Refusal> {
        let mut frame = Frame::default();
        let mut node = self.from(&select.from, env, facts, &mut frame)?;
        frame.aliases = aliases(&select.projection);
        let here = Env::within(Some(&frame), env);
        let uses = Uses::of(&select.projection, &select.having, order_by, &frame, self.settings);
        let group = self.grouping(select, &here, uses);
        let inner = match &select.selection {
            Some(condition) => self.filter(&mut node, condition, &here, facts)?,
            None => with_held(&node, facts),
        };
        // Without a group there is a row even where no row passed the filter.
        let inner = if matches!(group, Grouping::One) { facts } else { &inner };
        self.subqueries(&select.projection, &here, inner)?;
        self.subqueries(&select.group_by, &here, inner)?;
        self.subqueries(&select.having, &here, inner)?;
        self.subqueries(&select.distinct, &here, inner)?;
        self.subqueries(&select.named_window, &here, inner)?;
        self.subqueries(order_by, &here, inner)?;
        let (columns, has_all) = self.columns(&select.projection, &frame, &here);
        let mut built = Built { node, columns, has_all };
        match group {
            Grouping::None => {}
            Grouping::By(keys) => {
                for (_, column) in &mut built.columns {
                    *column = column.filter(|column| keys.contains(column));
                }
            }
            Grouping::One | Grouping::Unknown => self.close(&mut built, facts),
        }
        Ok(built)
    }

    /// Filters by a condition, and reads the queries in it. Answers what holds
    /// of the rows that are left.
    fn filter(
        &mut self,
        node: &mut Node,
        condition: &Expr,
        here: &Env<'_>,
        facts: &Facts,
    ) -> Result<Facts, Refusal> {
        let mut padded = Vec::new();
        node.padded(&mut padded);
        let mut conjuncts = Vec::new();
        split(condition, &mut conjuncts);
        let at = Place { env: here, padded: &padded };
        let held = with_held(node, facts);
        let formulas: Vec<Rc<Formula>> =
            conjuncts.iter().map(|part| Rc::new(self.formula(part, true, at))).collect();
        for (place, part) in conjuncts.iter().enumerate() {
            // What a query in one of them results in matters only where the
            // others are true.
            let others = formulas.iter().enumerate().filter(|(other, _)| *other != place);
            let facts: Facts =
                held.iter().chain(others.map(|(_, formula)| formula)).map(Rc::clone).collect();
            self.queries_in(part, here, &facts)?;
        }
        let mut all = held;
        for formula in formulas.into_iter().filter(|formula| !formula.is_open()) {
            let inner = std::mem::replace(node, Node::Closed);
            *node = Node::Filter(Box::new(inner), Rc::clone(&formula));
            all.push(formula);
        }
        Ok(all)
    }

    /// The queries in a part of a condition that has to be true.
    fn queries_in(&mut self, part: &Expr, here: &Env<'_>, facts: &Facts) -> Result<(), Refusal> {
        let Expr::In { expr, target: InTarget::Subquery(query), negated: false, .. } = bare(part)
        else {
            return self.subqueries(part, here, facts);
        };
        self.subqueries(&**expr, here, facts)?;
        let built = self.query(query, here, facts)?;
        let outer: &[Expr] = match bare(expr) {
            Expr::Tuple(parts) => parts,
            expr => std::slice::from_ref(expr),
        };
        let mut facts = facts.clone();
        if built.has_all && built.columns.len() == outer.len() {
            for (outer, (_, inner)) in outer.iter().zip(&built.columns) {
                if let (Some(outer), Some(inner)) = (self.column(outer, here), *inner) {
                    facts.push(Rc::new(self.columns_equal(outer, inner)));
                }
            }
        }
        self.finish(&built.node, &facts);
        Ok(())
    }

    /// Reads all queries that are anywhere in what is given.
    fn subqueries(
        &mut self,
        within: &impl Visit,
        env: &Env<'_>,
        facts: &Facts,
    ) -> Result<(), Refusal> {
        let mut queries = Queries { analyzer: self, env, facts, depth: 0 };
        match within.visit(&mut queries) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(refusal) => Err(refusal),
        }
    }

    /// What a query is made of counts by its own conditions only.
    fn close(&mut self, built: &mut Built, facts: &Facts) {
        let node = std::mem::replace(&mut built.node, Node::Closed);
        self.finish(&node, facts);
        built.columns.iter_mut().for_each(|(_, column)| *column = None);
    }

    /// Notes what holds of the rows of all sources in a tree.
    fn finish(&mut self, node: &Node, facts: &Facts) {
        node.spread(facts, &mut |source, facts| self.facts.push((source, facts)));
    }

    fn grouping(&self, select: &Select, here: &Env<'_>, uses: Uses) -> Grouping {
        if uses.window || !select.named_window.is_empty() || select.qualify.is_some() {
            return Grouping::Unknown;
        }
        if matches!(select.distinct, Some(Distinct::On(_))) || select.top.is_some() {
            return Grouping::Unknown;
        }
        match &select.group_by {
            GroupByExpr::Expressions(keys, modifiers) if !keys.is_empty() => {
                let sets = |key: &Expr| {
                    matches!(key, Expr::GroupingSets(_) | Expr::Cube(_) | Expr::Rollup(_))
                };
                if !modifiers.is_empty() || keys.iter().any(sets) {
                    return Grouping::Unknown;
                }
                Grouping::By(keys.iter().filter_map(|key| self.column(key, here)).collect())
            }
            GroupByExpr::Expressions(..) if uses.aggregate || select.having.is_some() => {
                Grouping::One
            }
            GroupByExpr::Expressions(..) => Grouping::None,
            GroupByExpr::All(_) => Grouping::Unknown,
        }
    }

    /// The columns that a query results in.
    fn columns(
        &self,
        projection: &[SelectItem],
        frame: &Frame,
        here: &Env<'_>,
    ) -> (Vec<(String, Option<ColumnRef>)>, bool) {
        let (mut columns, mut has_all) = (Vec::new(), true);
        for item in projection {
            match item {
                SelectItem::UnnamedExpr(expr) => match bare(expr) {
                    Expr::Identifier(name) => {
                        columns.push((folded(name), self.column(expr, here)));
                    }
                    Expr::CompoundIdentifier(parts) => {
                        let name = parts.last().map(folded).unwrap_or_default();
                        columns.push((name, resolve(parts, here)));
                    }
                    // What it is called, each database decides by itself.
                    _ => has_all = false,
                },
                SelectItem::ExprWithAlias { expr, alias } => {
                    columns.push((folded(alias), self.column(expr, here)));
                }
                SelectItem::Wildcard(options) if is_plain(options) => {
                    for visible in &frame.visible {
                        has_all &= visible.has_all;
                        columns.extend(visible.columns.iter().cloned());
                    }
                    // A column that `USING` merged stands there once.
                    for (merged, column) in &frame.merged {
                        columns.retain(|(name, _)| name != merged);
                        columns.push((merged.clone(), *column));
                    }
                }
                SelectItem::QualifiedWildcard(
                    SelectItemQualifiedWildcardKind::ObjectName(name),
                    options,
                ) if is_plain(options) => {
                    let alias = last_part(name).unwrap_or_default();
                    let mut named = frame.visible.iter().filter(|v| v.alias == alias);
                    match (named.next(), named.next()) {
                        (Some(visible), None) => {
                            has_all &= visible.has_all;
                            columns.extend(visible.columns.iter().cloned());
                        }
                        _ => has_all = false,
                    }
                }
                _ => has_all = false,
            }
        }
        (columns, has_all)
    }
}

/// How a query makes one row of many.
enum Grouping {
    None,
    By(Vec<ColumnRef>),
    /// One row of all.
    One,
    /// In a way in which rows decide about each other.
    Unknown,
}

/// Finds the queries in a tree, and has each read, but not those within them.
struct Queries<'v, 'a, 'e> {
    analyzer: &'v mut Analyzer<'a>,
    env: &'v Env<'e>,
    facts: &'v Facts,
    depth: usize,
}

impl Visitor for Queries<'_, '_, '_> {
    type Break = Refusal;

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<Refusal> {
        self.depth += 1;
        if self.depth > 1 {
            return ControlFlow::Continue(());
        }
        match self.analyzer.query(query, self.env, self.facts) {
            Ok(built) => {
                self.analyzer.finish(&built.node, self.facts);
                ControlFlow::Continue(())
            }
            Err(refusal) => ControlFlow::Break(refusal),
        }
    }

    fn post_visit_query(&mut self, _: &Query) -> ControlFlow<Refusal> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    /// A table by its name alone, as in `x IN t`.
    fn pre_visit_relation(&mut self, name: &ObjectName) -> ControlFlow<Refusal> {
        if self.depth > 0 {
            return ControlFlow::Continue(());
        }
        match self.analyzer.whole_relation(name, self.env) {
            Ok(()) => ControlFlow::Continue(()),
            Err(refusal) => ControlFlow::Break(refusal),
        }
    }
}

fn with_held(node: &Node, facts: &Facts) -> Facts {
    let mut facts = facts.clone();
    node.holds(&mut facts);
    facts
}

fn add_reach(reaches: &mut Vec<Reach>, table: &str, disjuncts: Vec<Vec<crate::plan::Term>>) {
    let Some(reach) = reaches.iter_mut().find(|reach| &*reach.table == table) else {
        reaches.push(Reach { table: table.into(), disjuncts });
        return;
    };
    if reach.disjuncts.is_empty() || disjuncts.is_empty() {
        reach.disjuncts = Vec::new();
        return;
    }
    for disjunct in disjuncts {
        if !reach.disjuncts.contains(&disjunct) {
            reach.disjuncts.push(disjunct);
        }
    }
}

/// The parts of a condition that all have to be true.
fn split<'e>(condition: &'e Expr, conjuncts: &mut Vec<&'e Expr>) {
    match bare(condition) {
        Expr::BinaryOp { left, op: sqlparser::ast::BinaryOperator::And, right } => {
            split(left, conjuncts);
            split(right, conjuncts);
        }
        other => conjuncts.push(other),
    }
}

fn aliases(projection: &[SelectItem]) -> Vec<String> {
    let named = projection.iter().filter_map(|item| match item {
        SelectItem::ExprWithAlias { alias, .. } => Some(folded(alias)),
        _ => None,
    });
    named.collect()
}

fn is_plain(options: &WildcardAdditionalOptions) -> bool {
    options.opt_ilike.is_none()
        && options.opt_exclude.is_none()
        && options.opt_except.is_none()
        && options.opt_replace.is_none()
        && options.opt_rename.is_none()
        && options.opt_alias.is_none()
}

fn not_understood(what: &str) -> Refusal {
    Refusal::new(RefusalKind::Construct, format!("{what} is not understood"))
}
