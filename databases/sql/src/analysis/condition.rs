//! Conditions: what an expression that is true says of columns.

use cacheops::Scalar;
use sqlparser::ast::{
    BinaryOperator, DataType, Expr, InTarget, SetExpr, UnaryOperator, Value as Literal,
};

use super::Analyzer;
use crate::dialect::Dialect;
use crate::formula::{Atom, ColumnRef, Formula, is};
use crate::kind::{self, ColumnKind};
use crate::parse::parameter;
use crate::plan::{Operand, Test};
use crate::scope::{Env, resolve};
use crate::value::Value;

/// Where a condition stands.
#[derive(Clone, Copy)]
pub(super) struct Place<'p> {
    pub(super) env: &'p Env<'p>,
    /// Sources that an outer join may have padded with NULLs there.
    pub(super) padded: &'p [usize],
}

impl Analyzer<'_> {
    /// What follows from `expr` being true, or from its being false.
    ///
    /// It may say less than does follow, never more: unknown is neither.
    pub(super) fn formula(&self, expr: &Expr, truth: bool, at: Place<'_>) -> Formula {
        match expr {
            Expr::Nested(inner) => self.formula(inner, truth, at),
            Expr::UnaryOp { op: UnaryOperator::Not, expr } => self.formula(expr, !truth, at),
            Expr::BinaryOp { left, op, right } => self.binary(left, op, right, truth, at),
            Expr::IsNull(inner) if truth => self.is_null(inner, at),
            Expr::IsNotNull(inner) if !truth => self.is_null(inner, at),
            Expr::IsTrue(inner) if truth => self.formula(inner, true, at),
            Expr::IsFalse(inner) if truth => self.formula(inner, false, at),
            Expr::IsNotTrue(inner) if !truth => self.formula(inner, true, at),
            Expr::IsNotFalse(inner) if !truth => self.formula(inner, false, at),
            Expr::In { expr, target, negated, .. } if *negated != truth => {
                self.is_in(expr, target, at)
            }
            Expr::IsNotDistinctFrom(left, right) if truth => self.same(left, right, at),
            Expr::IsDistinctFrom(left, right) if !truth => self.same(left, right, at),
            Expr::AnyOp { left, compare_op: BinaryOperator::Eq, right, .. } if truth => {
                self.any_of(left, right, at)
            }
            Expr::Identifier(_) | Expr::CompoundIdentifier(_) => self.boolean(expr, truth, at),
            _ => Formula::Open,
        }
    }

    fn binary(
        &self,
        left: &Expr,
        op: &BinaryOperator,
        right: &Expr,
        truth: bool,
        at: Place<'_>,
    ) -> Formula {
        match (op, truth) {
            (BinaryOperator::And, true) | (BinaryOperator::Or, false) => {
                let mut parts = Vec::new();
                self.chain(left, op, truth, at, &mut parts);
                parts.push(self.formula(right, truth, at));
                Formula::All(parts)
            }
            (BinaryOperator::Or, true) | (BinaryOperator::And, false) => {
                let mut parts = Vec::new();
                self.chain(left, op, truth, at, &mut parts);
                parts.push(self.formula(right, truth, at));
                Formula::Any(parts)
            }
            (BinaryOperator::Eq, true) | (BinaryOperator::NotEq, false) => {
                self.equal(left, right, at)
            }
            (BinaryOperator::Spaceship | BinaryOperator::Is, true)
            | (BinaryOperator::IsNot, false) => self.same(left, right, at),
            _ => Formula::Open,
        }
    }

    /// The parts of a chain of one operator.
    fn chain(
        &self,
        expr: &Expr,
        chain: &BinaryOperator,
        truth: bool,
        at: Place<'_>,
        parts: &mut Vec<Formula>,
    ) {
        match expr {
            Expr::BinaryOp { left, op, right } if op == chain => {
                self.chain(left, chain, truth, at, parts);
                parts.push(self.formula(right, truth, at));
            }
            expr => parts.push(self.formula(expr, truth, at)),
        }
    }

    /// `left = right`: of a column and a value, of two columns, of rows.
    fn equal(&self, left: &Expr, right: &Expr, at: Place<'_>) -> Formula {
        if let (Some(lefts), Some(rights)) = (parts_of_row(left), parts_of_row(right)) {
            if lefts.len() != rights.len() {
                return Formula::Open;
            }
            let pairs = lefts.iter().zip(rights);
            return Formula::All(pairs.map(|(left, right)| self.equal(left, right, at)).collect());
        }
        match (self.column(left, at.env), self.column(right, at.env)) {
            (Some(one), Some(other)) => self.columns_equal(one, other),
            (Some(column), None) => self.equals_value(column, right),
            (None, Some(column)) => self.equals_value(column, left),
            (None, None) => Formula::Open,
        }
    }

    pub(super) fn columns_equal(&self, one: ColumnRef, other: ColumnRef) -> Formula {
        if one != other && kind::meet(self.dialect(), self.kind(one), self.kind(other)) {
            Formula::Atom(Atom::Equal(one, other))
        } else {
            Formula::Open
        }
    }

    fn equals_value(&self, column: ColumnRef, value: &Expr) -> Formula {
        match self.operand(value) {
            Some(operand) => is(column, operand),
            None => Formula::Open,
        }
    }

    /// An equality in which NULL is NULL. Where an outer join may have padded
    /// the column, that may say that there is no row.
    fn same(&self, left: &Expr, right: &Expr, at: Place<'_>) -> Formula {
        let is_padded = |column: ColumnRef| at.padded.contains(&column.source);
        let (column, value) = match (self.column(left, at.env), self.column(right, at.env)) {
            (Some(one), Some(other)) if is_padded(one) || is_padded(other) => return Formula::Open,
            (Some(one), Some(other)) => return self.columns_equal(one, other),
            (Some(column), None) => (column, right),
            (None, Some(column)) => (column, left),
            (None, None) => return Formula::Open,
        };
        match self.operand(value) {
            Some(operand) if !is_padded(column) => {
                Formula::Atom(Atom::Column(column, Test::Same(operand)))
            }
            _ => Formula::Open,
        }
    }

    fn is_null(&self, expr: &Expr, at: Place<'_>) -> Formula {
        match self.column(expr, at.env) {
            Some(column) if !at.padded.contains(&column.source) => {
                Formula::Atom(Atom::Column(column, Test::Null))
            }
            _ => Formula::Open,
        }
    }

    fn is_in(&self, expr: &Expr, target: &InTarget, at: Place<'_>) -> Formula {
        match target {
            InTarget::List(items) => self.one_of(expr, items, at),
            InTarget::Subquery(query) => match &*query.body {
                // Rows that are written down, as in `IN (VALUES (1, 2), …)`.
                SetExpr::Values(values) if query.with.is_none() && query.limit_clause.is_none() => {
                    let rows = values.rows.iter().map(|row| {
                        let row = Expr::Tuple(row.content.clone());
                        self.equal(&as_row(expr), &row, at)
                    });
                    Formula::Any(rows.collect())
                }
                _ => Formula::Open,
            },
            InTarget::Unnest(_) | InTarget::Table { .. } => Formula::Open,
        }
    }

    fn one_of(&self, expr: &Expr, items: &[Expr], at: Place<'_>) -> Formula {
        if let Some(column) = self.column(expr, at.env) {
            let operands: Option<Vec<Operand>> =
                items.iter().map(|item| self.operand(item)).collect();
            if let Some(operands) = operands {
                return Formula::Atom(Atom::Column(column, Test::In(operands)));
            }
        }
        Formula::Any(items.iter().map(|item| self.equal(expr, item, at)).collect())
    }

    /// `left = ANY (right)`, of an array.
    fn any_of(&self, left: &Expr, right: &Expr, at: Place<'_>) -> Formula {
        match bare(right) {
            Expr::Array(array) => self.one_of(left, &array.elem, at),
            list => match (self.column(left, at.env), self.list(list)) {
                (Some(column), Some(operand)) => {
                    Formula::Atom(Atom::Column(column, Test::Any(operand)))
                }
                _ => Formula::Open,
            },
        }
    }

    /// A parameter that holds a list, with a cast to an array or without.
    fn list(&self, expr: &Expr) -> Option<Operand> {
        match bare(expr) {
            Expr::Value(literal) => match &literal.value {
                Literal::Placeholder(name) => parameter(name).map(Operand::Parameter),
                _ => None,
            },
            Expr::Cast { expr, data_type: DataType::Array(_), .. } => self.list(expr),
            _ => None,
        }
    }

    /// A column by itself, as PostgreSQL's type boolean allows it.
    fn boolean(&self, expr: &Expr, truth: bool, at: Place<'_>) -> Formula {
        match self.column(expr, at.env) {
            Some(column)
                if self.dialect() == Dialect::Postgres
                    && self.kind(column) == ColumnKind::Boolean =>
            {
                is(column, Operand::Constant(Value::Scalar(Scalar::Bool(truth))))
            }
            _ => Formula::Open,
        }
    }

    /// The column that an expression is.
    pub(super) fn column(&self, expr: &Expr, env: &Env<'_>) -> Option<ColumnRef> {
        match bare(expr) {
            Expr::Identifier(name) => resolve(std::slice::from_ref(name), env),
            Expr::CompoundIdentifier(parts) => resolve(parts, env),
            _ => None,
        }
    }

    /// The value that an expression is: a literal or a parameter.
    fn operand(&self, expr: &Expr) -> Option<Operand> {
        match bare(expr) {
            Expr::Value(literal) => self.literal(&literal.value),
            Expr::UnaryOp { op: UnaryOperator::Minus, expr } => match bare(expr) {
                Expr::Value(literal) => match &literal.value {
                    Literal::Number(digits, _) => number(&format!("-{digits}")),
                    _ => None,
                },
                _ => None,
            },
            Expr::Cast { expr, data_type, format: None, .. }
                if self.dialect() == Dialect::Postgres =>
            {
                let kind = kind_of_cast(data_type)?;
                Some(Operand::Cast(Box::new(self.operand(expr)?), kind))
            }
            _ => None,
        }
    }

    fn literal(&self, literal: &Literal) -> Option<Operand> {
        let scalar = match literal {
            Literal::Placeholder(name) => return parameter(name).map(Operand::Parameter),
            Literal::Number(digits, _) => return number(digits),
            Literal::SingleQuotedString(text) => {
                // Whether a backslash escapes is a setting there.
                if self.dialect() == Dialect::MySql && text.contains('\\') {
                    return None;
                }
                Scalar::Text(text.clone())
            }
            Literal::Boolean(value) => Scalar::Bool(*value),
            Literal::Null => Scalar::Null,
            Literal::HexStringLiteral(digits) if self.dialect() == Dialect::Sqlite => {
                Scalar::Bytes(bytes(digits)?)
            }
            _ => return None,
        };
        Some(Operand::Constant(Value::Scalar(scalar)))
    }
}

/// The kind that a cast makes, where it leaves a value of that kind as it is.
fn kind_of_cast(data_type: &DataType) -> Option<ColumnKind> {
    match data_type {
        DataType::SmallInt(_)
        | DataType::Int(_)
        | DataType::Integer(_)
        | DataType::BigInt(_)
        | DataType::Int2(_)
        | DataType::Int4(_)
        | DataType::Int8(_) => Some(ColumnKind::Integer),
        DataType::Text | DataType::Varchar(None) | DataType::CharacterVarying(None) => {
            Some(ColumnKind::Text)
        }
        DataType::Uuid => Some(ColumnKind::Uuid),
        DataType::Boolean | DataType::Bool => Some(ColumnKind::Boolean),
        _ => None,
    }
}

/// Without the parentheses around it.
pub(super) fn bare(mut expr: &Expr) -> &Expr {
    while let Expr::Nested(inner) = expr {
        expr = inner;
    }
    expr
}

fn parts_of_row(expr: &Expr) -> Option<&[Expr]> {
    match expr {
        Expr::Tuple(parts) => Some(parts),
        _ => None,
    }
}

fn as_row(expr: &Expr) -> Expr {
    match expr {
        Expr::Tuple(_) => expr.clone(),
        expr => Expr::Tuple(vec![bare(expr).clone()]),
    }
}

fn number(digits: &str) -> Option<Operand> {
    let scalar = match digits.parse::<i128>() {
        Ok(whole) => Scalar::Int(whole),
        Err(_) => Scalar::Float(digits.parse::<f64>().ok().filter(|float| float.is_finite())?),
    };
    Some(Operand::Constant(Value::Scalar(scalar)))
}

fn bytes(digits: &str) -> Option<Vec<u8>> {
    let pairs = digits.as_bytes().chunks(2);
    pairs
        .map(|pair| {
            let pair = std::str::from_utf8(pair).ok().filter(|pair| pair.len() == 2)?;
            u8::from_str_radix(pair, 16).ok()
        })
        .collect()
}
