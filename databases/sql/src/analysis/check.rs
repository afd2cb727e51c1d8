//! Reasons to refuse a query that can be anywhere in it: functions, the clock,
//! the session, locks, writes.

use std::collections::HashMap;
use std::ops::ControlFlow;

use sqlparser::ast::{
    BinaryOperator, DataType, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments,
    Ident, ObjectName, Query, Select, SetExpr, Statement, TableFactor, UnaryOperator,
    Value as Literal, ValueWithSpan, Visit, Visitor,
};

use super::condition::bare;
use super::not_understood;
use crate::dialect::Dialect;
use crate::functions::FunctionKind;
use crate::names::{exact, folded, function_name};
use crate::parse::parameter;
use crate::plan::{is_clock, is_relative};
use crate::refusal::{Refusal, RefusalKind};
use crate::settings::Settings;

/// What a query without a reason to refuse it is like.
pub(crate) struct Checked {
    /// Parameters that a function of the clock takes.
    pub(crate) clocks: Vec<usize>,
    /// Whether the parser's tree is that of the database for sure.
    pub(crate) narrows: bool,
    /// Where case tells names apart: names by their one spelling, as they are
    /// meant.
    pub(crate) exact: HashMap<String, String>,
    /// Whether two names differ in case only.
    pub(crate) is_ambiguous: bool,
}

impl Checked {
    pub(crate) fn of(statement: &Statement, settings: &Settings) -> Result<Self, Refusal> {
        let checked = Checked {
            clocks: Vec::new(),
            narrows: true,
            exact: HashMap::new(),
            is_ambiguous: false,
        };
        let mut checker = Checker { settings, checked };
        match statement.visit(&mut checker) {
            ControlFlow::Continue(()) => Ok(checker.checked),
            ControlFlow::Break(refusal) => Err(refusal),
        }
    }
}

struct Checker<'a> {
    settings: &'a Settings,
    checked: Checked,
}

type Flow = ControlFlow<Refusal>;

fn flow(result: Result<(), Refusal>) -> Flow {
    match result {
        Ok(()) => Flow::Continue(()),
        Err(refusal) => Flow::Break(refusal),
    }
}

impl Visitor for Checker<'_> {
    type Break = Refusal;

    fn pre_visit_query(&mut self, query: &Query) -> Flow {
        flow(check_query(query))
    }

    fn pre_visit_select(&mut self, select: &Select) -> Flow {
        flow(check_select(select))
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> Flow {
        flow(self.check_factor(factor))
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> Flow {
        flow(self.check_expr(expr))
    }

    fn pre_visit_ident(&mut self, name: &Ident) -> Flow {
        if let Some(exact) = exact(name, self.settings.dialect) {
            let known = self.checked.exact.entry(folded(name)).or_insert_with(|| exact.clone());
            self.checked.is_ambiguous |= *known != exact;
        }
        Flow::Continue(())
    }

    fn pre_visit_value(&mut self, value: &ValueWithSpan) -> Flow {
        flow(self.check_value(&value.value))
    }
}

fn check_query(query: &Query) -> Result<(), Refusal> {
    if !query.locks.is_empty() || query.for_clause.is_some() {
        let why = "the query locks rows, which a result that was kept would not do";
        return Err(Refusal::new(RefusalKind::Lock, why));
    }
    if query.settings.is_some() || query.format_clause.is_some() || !query.pipe_operators.is_empty()
    {
        return Err(not_understood("a query of this form"));
    }
    match &*query.body {
        SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_) => {
            Err(Refusal::new(RefusalKind::NotAQuery, "a part of the query writes"))
        }
        _ => Ok(()),
    }
}

fn check_select(select: &Select) -> Result<(), Refusal> {
    if select.into.is_some() {
        return Err(Refusal::new(RefusalKind::NotAQuery, "the query writes what it finds"));
    }
    let modifiers = select.select_modifiers.as_ref();
    if modifiers.is_some_and(|modifiers| modifiers.sql_calc_found_rows) {
        let why = "the query leaves its number of rows in the session";
        return Err(Refusal::new(RefusalKind::Session, why));
    }
    let unknown = !select.lateral_views.is_empty()
        || select.exclude.is_some()
        || select.prewhere.is_some()
        || !select.connect_by.is_empty()
        || !select.cluster_by.is_empty()
        || !select.distribute_by.is_empty()
        || !select.sort_by.is_empty()
        || select.qualify.is_some()
        || select.value_table_mode.is_some();
    if unknown { Err(not_understood("a query of this form")) } else { Ok(()) }
}

impl Checker<'_> {
    fn check_factor(&self, factor: &TableFactor) -> Result<(), Refusal> {
        match factor {
            TableFactor::Table { sample: Some(_), .. }
            | TableFactor::Derived { sample: Some(_), .. } => {
                Err(Refusal::new(RefusalKind::Function, "the query takes a sample of rows"))
            }
            TableFactor::Table { version: Some(_), .. }
            | TableFactor::Table { json_path: Some(_), .. } => {
                Err(not_understood("a FROM of this form"))
            }
            TableFactor::Table { name, args: Some(_), .. } | TableFactor::Function { name, .. } => {
                self.check_table_function(name)
            }
            TableFactor::TableFunction { expr, .. } => match bare(expr) {
                Expr::Function(function) => self.check_table_function(&function.name),
                _ => Err(not_understood("a FROM of this form")),
            },
            TableFactor::Table { .. }
            | TableFactor::Derived { .. }
            | TableFactor::UNNEST { .. }
            | TableFactor::JsonTable { .. }
            | TableFactor::NestedJoin { .. } => Ok(()),
            _ => Err(not_understood("a FROM of this form")),
        }
    }

    fn check_table_function(&self, name: &ObjectName) -> Result<(), Refusal> {
        let name = function_name(name, self.settings.dialect);
        match self.settings.functions.get(&name) {
            Some(FunctionKind::Table) => Ok(()),
            _ => {
                let why = format!("what the function `{name}` in FROM reads is not known");
                Err(Refusal::new(RefusalKind::Table, why))
            }
        }
    }

    fn check_expr(&mut self, expr: &Expr) -> Result<(), Refusal> {
        match expr {
            Expr::Function(function) => self.check_function(function),
            Expr::Identifier(name) => self.check_name(name),
            Expr::CompoundIdentifier(parts) => match parts.last() {
                Some(last) => self.check_system_column(last),
                None => Ok(()),
            },
            Expr::BinaryOp { op, .. } => self.check_operator(op),
            Expr::UnaryOp { op: UnaryOperator::BangNot, .. } => {
                // It binds tighter than the parser has it.
                self.checked.narrows = false;
                Ok(())
            }
            Expr::Cast { data_type, .. } => check_type(data_type),
            Expr::Prior(_) | Expr::Lambda(_) | Expr::Dictionary(_) | Expr::Map(_) => {
                Err(not_understood("an expression of this form"))
            }
            _ => Ok(()),
        }
    }

    fn check_operator(&mut self, op: &BinaryOperator) -> Result<(), Refusal> {
        match op {
            BinaryOperator::Assignment => {
                Err(Refusal::new(RefusalKind::Session, "the query sets a variable"))
            }
            BinaryOperator::PGCustomBinaryOperator(_) | BinaryOperator::Custom(_) => {
                Err(not_understood("an operator of one's own"))
            }
            // OR, or text put together, as a setting says; and an OR that binds
            // weaker than AND, unlike the parser's.
            BinaryOperator::StringConcat | BinaryOperator::Xor | BinaryOperator::PGOverlap
                if self.settings.dialect == Dialect::MySql =>
            {
                self.checked.narrows = false;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Words that look like columns.
    fn check_name(&self, name: &Ident) -> Result<(), Refusal> {
        if name.quote_style.is_none() {
            let is_one_of =
                |words: &[&str]| words.iter().any(|w| w.eq_ignore_ascii_case(&name.value));
            if is_one_of(CLOCK) {
                return Err(Refusal::volatile(&name.value));
            }
            let is_variable = name.value.starts_with('@');
            if is_variable || (self.settings.dialect != Dialect::Sqlite && is_one_of(SESSION)) {
                let why = format!("`{}` depends on the session", name.value);
                return Err(Refusal::new(RefusalKind::Session, why));
            }
        }
        self.check_system_column(name)
    }

    /// Columns that change without any write of the row.
    fn check_system_column(&self, name: &Ident) -> Result<(), Refusal> {
        let system = ["ctid", "xmin", "xmax", "cmin", "cmax", "tableoid"];
        if self.settings.dialect == Dialect::Postgres && system.contains(&name.value.as_str()) {
            let why = format!("no write announces changes of the system column `{}`", name.value);
            return Err(Refusal::new(RefusalKind::Table, why));
        }
        Ok(())
    }

    fn check_value(&self, value: &Literal) -> Result<(), Refusal> {
        match value {
            Literal::Placeholder(name) if parameter(name).is_none() => {
                let why = format!("`{name}` is a variable of the session");
                Err(Refusal::new(RefusalKind::Session, why))
            }
            Literal::SingleQuotedString(text) | Literal::EscapedStringLiteral(text)
                if self.settings.dialect == Dialect::Postgres && is_relative(text) =>
            {
                let why = format!("the text '{text}' may be a date that counts from today");
                Err(Refusal::new(RefusalKind::Function, why))
            }
            _ => Ok(()),
        }
    }

    fn check_function(&mut self, function: &Function) -> Result<(), Refusal> {
        let name = function_name(&function.name, self.settings.dialect);
        match self.settings.functions.get(&name) {
            Some(FunctionKind::Scalar | FunctionKind::Aggregate) => Ok(()),
            Some(FunctionKind::Clock) => self.check_clock(&name, &function.args),
            Some(FunctionKind::Table) if self.settings.dialect == Dialect::Postgres => Ok(()),
            _ => Err(Refusal::volatile(&name)),
        }
    }

    /// A function that is the same each time unless it is asked for the clock.
    fn check_clock(&mut self, name: &str, args: &FunctionArguments) -> Result<(), Refusal> {
        let FunctionArguments::List(list) = args else {
            return Err(Refusal::volatile(name));
        };
        let least = if matches!(name, "strftime" | "timediff") { 2 } else { 1 };
        if list.args.len() < least {
            return Err(Refusal::volatile(name));
        }
        for arg in &list.args {
            let FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) = arg else {
                return Err(Refusal::volatile(name));
            };
            match bare(expr) {
                Expr::Value(value) => match &value.value {
                    Literal::Number(..) | Literal::Null => {}
                    Literal::SingleQuotedString(text) if !is_clock(text) => {}
                    Literal::Placeholder(placeholder) => {
                        self.checked.clocks.extend(parameter(placeholder));
                    }
                    _ => return Err(Refusal::volatile(name)),
                },
                Expr::UnaryOp { op: UnaryOperator::Minus, .. } => {}
                _ => return Err(Refusal::volatile(name)),
            }
        }
        Ok(())
    }
}

fn check_type(data_type: &DataType) -> Result<(), Refusal> {
    let name = data_type.to_string().to_ascii_lowercase();
    if name.starts_with("reg") {
        let why = format!("the type `{name}` looks up what the database is made of");
        return Err(Refusal::new(RefusalKind::Table, why));
    }
    Ok(())
}

const CLOCK: &[&str] =
    &["current_date", "current_time", "current_timestamp", "localtime", "localtimestamp"];

const SESSION: &[&str] = &[
    "current_user",
    "session_user",
    "current_role",
    "current_catalog",
    "current_schema",
    "user",
    "system_user",
];
