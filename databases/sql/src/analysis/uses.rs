//! Which functions of many rows a query calls.

use std::ops::ControlFlow;

use sqlparser::ast::{Expr, Function, Query, SelectItem, Visit, Visitor};

use crate::functions::FunctionKind;
use crate::names::{folded, function_name};
use crate::scope::Frame;
use crate::settings::Settings;

/// Which kinds of functions are called.
#[derive(Clone, Copy, Default)]
pub(super) struct Uses {
    pub(super) aggregate: bool,
    pub(super) window: bool,
}

impl Uses {
    pub(super) fn of(
        projection: &Vec<SelectItem>,
        having: &Option<Expr>,
        order_by: &impl Visit,
        frame: &Frame,
        settings: &Settings,
    ) -> Self {
        let mut calls = Calls { uses: Uses::default(), depth: 0, frame, settings };
        let _ = projection.visit(&mut calls);
        let _ = having.visit(&mut calls);
        let _ = order_by.visit(&mut calls);
        calls.uses
    }
}

struct Calls<'a> {
    uses: Uses,
    /// How many queries are around, within the one that is asked about.
    depth: usize,
    frame: &'a Frame,
    settings: &'a Settings,
}

impl Visitor for Calls<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        if let Expr::Function(function) = expr
            // One in a query within counts rows of this one if it is given its columns.
            && (self.depth == 0 || self.may_be_given_columns(function))
        {
            let name = function_name(&function.name, self.settings.dialect);
            self.uses.window |= function.over.is_some();
            self.uses.aggregate |=
                self.settings.functions.get(&name) == Some(FunctionKind::Aggregate);
        }
        ControlFlow::Continue(())
    }
}

impl Calls<'_> {
    fn may_be_given_columns(&self, function: &Function) -> bool {
        function.visit(&mut ColumnsOf(self.frame)).is_break()
    }
}

/// Finds a column that may be one of a frame.
struct ColumnsOf<'a>(&'a Frame);

impl Visitor for ColumnsOf<'_> {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        let may_be = match expr {
            Expr::Identifier(name) => self.0.may_have(&folded(name)),
            Expr::CompoundIdentifier(parts) => match parts.as_slice() {
                [.., table, _] => self.0.has_alias(&folded(table)),
                _ => true,
            },
            _ => false,
        };
        if may_be { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}
