//! `FROM`: tables, views, common table expressions and queries, and how they
//! are joined.

use std::rc::Rc;

use sqlparser::ast::{
    Expr, Join, JoinConstraint, JoinOperator, ObjectName, Query, TableAlias, TableFactor,
    TableWithJoins,
};

use super::condition::Place;
use super::tree::{JoinKind, Node};
use super::{Analyzer, Built, MOST_SOURCES, not_understood};
use crate::dialect::Dialect;
use crate::formula::{Atom, ColumnRef, Facts, Formula};
use crate::kind;
use crate::names::{folded, last_part, parts};
use crate::parse::parse;
use crate::refusal::{Refusal, RefusalKind};
use crate::schema::{Relation, Table, View};
use crate::scope::{Ctes, Env, Frame, Visible};

/// More views within views are taken for a circle.
const DEEPEST_VIEWS: usize = 16;

impl<'a> Analyzer<'a> {
    /// Reads a `FROM`; what it names is visible in `frame` afterwards.
    pub(super) fn from(
        &mut self,
        from: &[TableWithJoins],
        env: &Env<'_>,
        facts: &Facts,
        frame: &mut Frame,
    ) -> Result<Node, Refusal> {
        let mut node = None;
        for item in from {
            if self.dialect() == Dialect::Sqlite {
                // There a comma joins like JOIN, from left to right.
                let first = self.beside(&item.relation, env, facts, frame)?;
                let first = joined(node, first);
                node = Some(self.joins(first, &item.joins, env, facts, frame)?);
            } else {
                // What is joined sees nothing of what is before the comma.
                let around = Env::beside(frame, env);
                let mut part = Frame::default();
                let first = self.factor(&item.relation, &around, facts, &mut part)?;
                let next = self.joins(first, &item.joins, &around, facts, &mut part)?;
                frame.append(part);
                node = Some(joined(node, next));
            }
        }
        Ok(node.unwrap_or(Node::Closed))
    }

    /// Reads a source that may see those before it.
    fn beside(
        &mut self,
        factor: &TableFactor,
        env: &Env<'_>,
        facts: &Facts,
        frame: &mut Frame,
    ) -> Result<Node, Refusal> {
        let mut part = Frame::default();
        let around = Env::beside(frame, env);
        let node = self.factor(factor, &around, facts, &mut part)?;
        frame.append(part);
        Ok(node)
    }

    fn joins(
        &mut self,
        mut node: Node,
        joins: &[Join],
        env: &Env<'_>,
        facts: &Facts,
        frame: &mut Frame,
    ) -> Result<Node, Refusal> {
        for join in joins {
            let (kind, constraint) = kind_of(&join.join_operator)?;
            let mut part = Frame::default();
            let around = Env::beside(frame, env);
            let right = self.factor(&join.relation, &around, facts, &mut part)?;
            let mut padded = Vec::new();
            node.padded(&mut padded);
            right.padded(&mut padded);
            let on = match constraint {
                JoinConstraint::On(condition) => {
                    frame.append(part);
                    self.on(condition, env, facts, frame, &padded)?
                }
                JoinConstraint::Using(names) | JoinConstraint::UsingAlias(names, _) => {
                    let names = names.iter().map(last_part).collect::<Option<Vec<_>>>();
                    let names = names.ok_or_else(|| not_understood("a USING of this form"))?;
                    self.using(names, kind, frame, part)
                }
                JoinConstraint::Natural => {
                    let names = common(frame, &part);
                    self.using(names, kind, frame, part)
                }
                JoinConstraint::None => {
                    frame.append(part);
                    Formula::Open
                }
            };
            node = Node::Join(kind, Box::new(node), Box::new(right), Rc::new(on));
            if self.sources.len() > MOST_SOURCES {
                // A tree as deep as this is not walked.
                self.narrows = false;
                self.finish(&node, &Facts::new());
                node = Node::Closed;
            }
        }
        Ok(node)
    }

    fn on(
        &mut self,
        condition: &Expr,
        env: &Env<'_>,
        facts: &Facts,
        frame: &Frame,
        padded: &[usize],
    ) -> Result<Formula, Refusal> {
        let around = env.not_lateral();
        let here = Env::within(Some(frame), &around);
        self.subqueries(condition, &here, facts)?;
        Ok(self.formula(condition, true, Place { env: &here, padded }))
    }

    /// Columns of one name on both sides that are equal, and become one.
    fn using(
        &mut self,
        names: Vec<String>,
        kind: JoinKind,
        frame: &mut Frame,
        part: Frame,
    ) -> Formula {
        let mut equal = Vec::new();
        let mut merged = Vec::new();
        for name in names {
            let left = frame.column(&name);
            let right = part.column(&name);
            if let (Some(left), Some(right)) = (left, right)
                && kind::meet(self.dialect(), self.kind(left), self.kind(right))
            {
                equal.push(Formula::Atom(Atom::Equal(left, right)));
            }
            let column = match kind {
                JoinKind::Inner | JoinKind::Left => left,
                JoinKind::Right => right,
                JoinKind::Full => None,
            };
            merged.push((name, column));
        }
        frame.append(part);
        frame.merged.retain(|(name, _)| !merged.iter().any(|(other, _)| other == name));
        frame.merged.extend(merged);
        Formula::All(equal)
    }

    fn factor(
        &mut self,
        factor: &TableFactor,
        env: &Env<'_>,
        facts: &Facts,
        frame: &mut Frame,
    ) -> Result<Node, Refusal> {
        match factor {
            TableFactor::Table { name, alias, args: None, .. } => {
                self.named(name, alias.as_ref(), env, facts, frame)
            }
            TableFactor::Derived { lateral, subquery, alias, .. } => {
                // What is beside it, it sees only if it is lateral.
                let around = if *lateral { *env } else { env.not_lateral() };
                let built = self.query(subquery, &around, facts)?;
                Ok(show(built, alias.as_ref(), None, frame))
            }
            TableFactor::NestedJoin { table_with_joins, alias } => {
                let mut part = Frame::default();
                let first = self.factor(&table_with_joins.relation, env, facts, &mut part)?;
                let node = self.joins(first, &table_with_joins.joins, env, facts, &mut part)?;
                if alias.is_some() {
                    // They can be named by the alias only, which is not looked into.
                    part.visible.iter_mut().for_each(|visible| visible.alias = String::new());
                    part.visible.push(unknown(alias.as_ref()));
                }
                frame.append(part);
                Ok(node)
            }
            TableFactor::Table { alias, .. }
            | TableFactor::Function { alias, .. }
            | TableFactor::TableFunction { alias, .. }
            | TableFactor::UNNEST { alias, .. }
            | TableFactor::JsonTable { alias, .. } => {
                // A function that was found to be the same each time.
                self.subqueries(&Arguments(factor), env, facts)?;
                frame.visible.push(unknown(alias.as_ref()));
                Ok(Node::Closed)
            }
            _ => Err(not_understood("a FROM of this form")),
        }
    }

    /// A table, a view or a common table expression.
    fn named(
        &mut self,
        name: &ObjectName,
        alias: Option<&TableAlias>,
        env: &Env<'_>,
        facts: &Facts,
        frame: &mut Frame,
    ) -> Result<Node, Refusal> {
        let parts = parts(name).ok_or_else(|| not_understood("a name of this form"))?;
        let own = parts.last().map(|part| folded(part)).unwrap_or_default();
        if let [_] = parts.as_slice()
            && let Some(ctes) = env.ctes
            && let Some((cte, inner)) = ctes.find(&own)
        {
            let built = self.common(cte, &inner, facts)?;
            return Ok(show(built, alias, Some(own), frame));
        }
        let texts: Vec<&str> = parts.iter().map(|part| part.value.as_str()).collect();
        let table = self.settings.schema.name_of(&texts);
        let settings = self.settings;
        match settings.schema.find(&table) {
            Some(Relation::View(view)) => {
                let built = self.view(&table, view)?;
                Ok(show(built, alias, Some(own), frame))
            }
            Some(Relation::Table(known)) => {
                let built = self.table(table, Some(known))?;
                Ok(show(built, alias, Some(own), frame))
            }
            None => {
                settings.check_unknown(&table)?;
                let built = self.table(table, None)?;
                Ok(show(built, alias, Some(own), frame))
            }
        }
    }

    /// A relation that is read whole, whatever holds around it.
    pub(super) fn whole_relation(
        &mut self,
        name: &ObjectName,
        env: &Env<'_>,
    ) -> Result<(), Refusal> {
        let mut frame = Frame::default();
        let node = self.named(name, None, env, &Facts::new(), &mut frame)?;
        self.finish(&node, &Facts::new());
        Ok(())
    }

    fn table(&mut self, name: String, table: Option<&'a Table>) -> Result<Built, Refusal> {
        if name.is_empty() || name.contains('*') {
            let why = format!("{name:?} is no name of a table that a write could be announced by");
            return Err(Refusal::new(RefusalKind::Table, why));
        }
        if let Some(table) = table {
            table.check(&name)?;
        }
        let source = self.sources.len();
        let columns = table.map_or(&[][..], |table| &table.columns);
        self.whole.extend(table.into_iter().flat_map(|table| table.read_along.iter().cloned()));
        self.sources.push(super::Source { table: name, columns });
        let visible = columns.iter().enumerate().map(|(place, column)| {
            let is_meant = self.dialect() != Dialect::Postgres
                || self.exact.get(&column.name).is_none_or(|exact| *exact == column.exact);
            let is_field = is_meant && !column.name.is_empty() && !column.name.contains('.');
            let known = is_field && table.is_some_and(|t| t.place(&column.name) == Some(place));
            (column.name.clone(), known.then_some(ColumnRef { source, column: place }))
        });
        Ok(Built {
            node: Node::Source(source),
            columns: visible.collect(),
            has_all: table.is_some_and(|table| table.has_all_columns),
        })
    }

    fn common(
        &mut self,
        cte: &sqlparser::ast::Cte,
        ctes: &Ctes<'_>,
        facts: &Facts,
    ) -> Result<Built, Refusal> {
        let address = std::ptr::from_ref(cte).addr();
        if let Some((_, named_itself)) = self.open.iter_mut().find(|(open, _)| *open == address) {
            *named_itself = true;
            return Ok(Built { node: Node::Closed, columns: Vec::new(), has_all: false });
        }
        self.open.push((address, false));
        let env = Env { ctes: Some(ctes), ..Env::within(None, ctes.around) };
        let built = self.query(&cte.query, &env, facts);
        let named_itself = self.open.pop().is_some_and(|(_, named_itself)| named_itself);
        let mut built = built?;
        if named_itself {
            self.close(&mut built, facts);
        }
        rename(&mut built, &cte.alias);
        Ok(built)
    }

    fn view(&mut self, name: &str, view: &View) -> Result<Built, Refusal> {
        if self.views >= DEEPEST_VIEWS {
            let why = format!("the view `{name}` is too deep in others, or in itself");
            return Err(Refusal::new(RefusalKind::Table, why));
        }
        let query = self.query_of(name, view)?;
        self.views += 1;
        let built = self.query(&query, &Env::EMPTY, &Facts::new());
        self.views -= 1;
        let mut built = built?;
        if view.columns.is_empty() {
            return Ok(built);
        }
        built.has_all &= built.columns.len() == view.columns.len();
        let columns = built.columns.iter_mut();
        columns.zip(&view.columns).for_each(|((name, _), other)| name.clone_from(other));
        Ok(built)
    }

    fn query_of(&mut self, name: &str, view: &View) -> Result<Box<Query>, Refusal> {
        use sqlparser::ast::Statement;
        let in_view = |refusal: Refusal| {
            Refusal::new(refusal.kind(), format!("in the view `{name}`: {refusal}"))
        };
        let parsed = parse(&view.sql, self.dialect()).map_err(in_view)?;
        let checked = super::Checked::of(&parsed.statement, self.settings).map_err(in_view)?;
        self.learn(&checked, &parsed.statement);
        match parsed.statement {
            Statement::Query(query) => Ok(query),
            Statement::CreateView(view) => Ok(view.query),
            _ => Err(in_view(not_understood("what it stands for"))),
        }
    }
}

impl Frame {
    fn append(&mut self, part: Frame) {
        self.visible.extend(part.visible);
        self.merged.extend(part.merged);
    }

    /// The column of a name, if it is one of a table for sure.
    fn column(&self, name: &str) -> Option<ColumnRef> {
        if let Some((_, column)) = self.merged.iter().find(|(merged, _)| merged == name) {
            return *column;
        }
        if self.visible.iter().any(|visible| !visible.has_all) {
            return None;
        }
        let mut named = self.visible.iter().filter_map(|visible| visible.find(name));
        match (named.next(), named.next()) {
            (Some(column), None) => column,
            _ => None,
        }
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        let columns = self.visible.iter().flat_map(|visible| &visible.columns);
        columns.map(|(name, _)| name.as_str())
    }
}

/// The arguments of a function in `FROM`: all of it but its name, which is no
/// table.
struct Arguments<'f>(&'f TableFactor);

impl sqlparser::ast::Visit for Arguments<'_> {
    fn visit<V: sqlparser::ast::Visitor>(
        &self,
        visitor: &mut V,
    ) -> std::ops::ControlFlow<V::Break> {
        match self.0 {
            TableFactor::Table { args: Some(args), .. } => args.args.visit(visitor),
            TableFactor::Function { args, .. } => args.visit(visitor),
            TableFactor::TableFunction { expr, .. } => expr.visit(visitor),
            TableFactor::UNNEST { array_exprs, .. } => array_exprs.visit(visitor),
            TableFactor::JsonTable { json_expr, .. } => json_expr.visit(visitor),
            _ => std::ops::ControlFlow::Continue(()),
        }
    }
}

fn joined(node: Option<Node>, next: Node) -> Node {
    match node {
        Some(node) => {
            Node::Join(JoinKind::Inner, Box::new(node), Box::new(next), Rc::new(Formula::Open))
        }
        None => next,
    }
}

fn kind_of(operator: &JoinOperator) -> Result<(JoinKind, &JoinConstraint), Refusal> {
    Ok(match operator {
        JoinOperator::Join(constraint)
        | JoinOperator::Inner(constraint)
        | JoinOperator::CrossJoin(constraint)
        | JoinOperator::StraightJoin(constraint) => (JoinKind::Inner, constraint),
        JoinOperator::Left(constraint) | JoinOperator::LeftOuter(constraint) => {
            (JoinKind::Left, constraint)
        }
        JoinOperator::Right(constraint) | JoinOperator::RightOuter(constraint) => {
            (JoinKind::Right, constraint)
        }
        JoinOperator::FullOuter(constraint) => (JoinKind::Full, constraint),
        _ => return Err(not_understood("a join of this form")),
    })
}

/// Makes what a query results in visible under a name.
fn show(
    mut built: Built,
    alias: Option<&TableAlias>,
    own: Option<String>,
    frame: &mut Frame,
) -> Node {
    if let Some(alias) = alias {
        rename(&mut built, alias);
    }
    let alias = alias.map(|alias| folded(&alias.name)).or(own).unwrap_or_default();
    frame.visible.push(Visible { alias, columns: built.columns, has_all: built.has_all });
    built.node
}

/// The names that an alias gives to the columns, from the first one on.
fn rename(built: &mut Built, alias: &TableAlias) {
    if alias.columns.is_empty() {
        return;
    }
    if !built.has_all || alias.columns.len() > built.columns.len() {
        built.columns.clear();
        built.has_all = false;
        return;
    }
    let columns = built.columns.iter_mut();
    columns.zip(&alias.columns).for_each(|((name, _), other)| *name = folded(&other.name));
}

fn unknown(alias: Option<&TableAlias>) -> Visible {
    let alias = alias.map(|alias| folded(&alias.name)).unwrap_or_default();
    Visible { alias, columns: Vec::new(), has_all: false }
}

/// The names that both sides have.
fn common(left: &Frame, right: &Frame) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for name in right.names().filter(|name| left.names().any(|other| other == *name)) {
        if !names.iter().any(|known| known == name) {
            names.push(name.to_owned());
        }
    }
    names
}
