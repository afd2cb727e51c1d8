//! What a query reads, ready to be filled with values.

use cacheops::{Condition, QuerySet, Scalar, all, any, eq, is_in, is_null, opaque};

use crate::dialect::Dialect;
use crate::kind::{ColumnKind, Kinds};
use crate::refusal::{Refusal, RefusalKind};
use crate::value::{Value, write_number};

/// What a query reads, but for the values of its parameters.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) dialect: Dialect,
    /// The text, or what stands for it, and the session.
    pub(crate) identity: Box<str>,
    pub(crate) parameters: usize,
    /// Parameters that a function of the clock takes.
    pub(crate) clocks: Box<[usize]>,
    pub(crate) reaches: Box<[Reach]>,
}

/// Which rows of a table can change the result.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Reach {
    pub(crate) table: Box<str>,
    /// An OR of ANDs; nothing is the whole table.
    pub(crate) disjuncts: Vec<Vec<Term>>,
}

/// A condition on a column.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Term {
    pub(crate) column: Box<str>,
    /// The kinds of all columns that are compared on the way to this one.
    pub(crate) kinds: Kinds,
    pub(crate) test: Test,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Test {
    Is(Operand),
    /// `IS` and its kin: NULL is NULL.
    Same(Operand),
    In(Vec<Operand>),
    /// `= ANY` of a list.
    Any(Operand),
    Null,
}

/// A value in the text, or the number of the parameter that has it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Operand {
    Constant(Value),
    Parameter(usize),
    /// One of them as a value of a kind: itself, if it is of that kind already.
    Cast(Box<Operand>, ColumnKind),
}

/// Longer lists are not worth the stamps.
const LONGEST_LIST: usize = 1000;

/// What a term becomes once the values are known.
enum Filled {
    Holds(Condition),
    /// No value stands for what the column may hold.
    Opaque,
    /// It is true of no row.
    Never,
}

impl Plan {
    /// The querysets of the query with these values: one a table, the first of
    /// which is told from all others by text and values.
    pub(crate) fn fill(&self, values: &[Value]) -> Result<Vec<QuerySet>, Refusal> {
        self.check(values)?;
        let mut querysets: Vec<QuerySet> = Vec::with_capacity(self.reaches.len());
        for reach in &self.reaches {
            let queryset = QuerySet::table(&*reach.table);
            querysets.push(match reach.disjuncts.as_slice() {
                // Most queries: an AND is a filter after the other.
                [terms] => {
                    let terms = self.disjunct(terms, values).unwrap_or_default();
                    terms.into_iter().fold(queryset, QuerySet::filter)
                }
                _ => match self.condition(reach, values) {
                    Some(condition) => queryset.filter(condition),
                    None => queryset,
                },
            });
        }
        if let Some(first) = querysets.first_mut() {
            let told = std::mem::replace(first, QuerySet::table(""));
            *first = told.filter(opaque(self.identity(values)));
        }
        Ok(querysets)
    }

    fn check(&self, values: &[Value]) -> Result<(), Refusal> {
        if values.len() != self.parameters {
            let wrong = format!(
                "the query has {} parameters, and {} values are bound",
                self.parameters,
                values.len()
            );
            return Err(Refusal::new(RefusalKind::Parameters, wrong));
        }
        let now = self.clocks.iter().filter_map(|&clock| values.get(clock)).any(|value| {
            matches!(value, Value::Scalar(Scalar::Text(text)) if is_clock(text))
                || matches!(value, Value::Other(_) | Value::List(_))
        });
        let today = self.dialect == Dialect::Postgres
            && values.iter().any(
                |value| matches!(value, Value::Scalar(Scalar::Text(text)) if is_relative(text)),
            );
        if now || today {
            return Err(Refusal::new(RefusalKind::Function, "a value asks for the clock"));
        }
        Ok(())
    }

    /// What tells the query from all others.
    pub(crate) fn identity(&self, values: &[Value]) -> String {
        let mut identity = String::with_capacity(self.identity.len() + 24 * values.len() + 8);
        identity.push_str(&self.identity);
        identity.push('\u{1f}');
        write_number(values.len() as u64, &mut identity);
        identity.push(':');
        values.iter().for_each(|value| value.write_identity(&mut identity));
        identity
    }

    /// The condition on the rows of a table; nothing if all of them count.
    fn condition(&self, reach: &Reach, values: &[Value]) -> Option<Condition> {
        let mut conditions = Vec::with_capacity(reach.disjuncts.len());
        for disjunct in &reach.disjuncts {
            let Some(mut terms) = self.disjunct(disjunct, values) else { continue };
            match terms.pop()? {
                last if terms.is_empty() => conditions.push(last),
                last => conditions.push(all(terms.into_iter().chain([last]))),
            }
        }
        // A query that no row can meet is kept by the table: it costs nothing.
        match conditions.pop()? {
            last if conditions.is_empty() => Some(last),
            last => Some(any(conditions.into_iter().chain([last]))),
        }
    }

    /// The terms that narrow; nothing if they are true of no row.
    fn disjunct(&self, terms: &[Term], values: &[Value]) -> Option<Vec<Condition>> {
        let mut conditions = Vec::with_capacity(terms.len());
        for term in terms {
            match self.term(term, values) {
                Filled::Holds(condition) => conditions.push(condition),
                Filled::Opaque => {}
                Filled::Never => return None,
            }
        }
        Some(conditions)
    }

    fn term(&self, term: &Term, values: &[Value]) -> Filled {
        let field = &*term.column;
        match &term.test {
            Test::Null => Filled::Holds(is_null(field)),
            Test::Is(operand) => match self.scalar(operand, values) {
                Some(Scalar::Null) => Filled::Never,
                value => self.equals(term, value),
            },
            Test::Same(operand) => match self.scalar(operand, values) {
                Some(Scalar::Null) => Filled::Holds(is_null(field)),
                value => self.equals(term, value),
            },
            Test::In(operands) => {
                let scalars = operands.iter().map(|operand| self.scalar(operand, values));
                self.one_of(term, scalars)
            }
            Test::Any(operand) => match value(operand, values) {
                Some(Value::List(scalars)) => self.one_of(term, scalars.iter().map(Some)),
                Some(Value::Scalar(Scalar::Null)) => Filled::Never,
                _ => Filled::Opaque,
            },
        }
    }

    fn scalar<'v>(&self, operand: &'v Operand, values: &'v [Value]) -> Option<&'v Scalar> {
        match operand {
            Operand::Cast(operand, kind) => {
                let scalar = self.scalar(operand, values)?;
                let is_itself =
                    *scalar == Scalar::Null || Kinds::from(*kind).are_exact(self.dialect, scalar);
                is_itself.then_some(scalar)
            }
            operand => match value(operand, values)? {
                Value::Scalar(scalar) => Some(scalar),
                Value::List(_) | Value::Other(_) => None,
            },
        }
    }

    fn equals(&self, term: &Term, value: Option<&Scalar>) -> Filled {
        match value {
            Some(value) if term.kinds.are_exact(self.dialect, value) => {
                Filled::Holds(eq(&*term.column, value))
            }
            _ => Filled::Opaque,
        }
    }

    fn one_of<'v>(
        &self,
        term: &Term,
        values: impl ExactSizeIterator<Item = Option<&'v Scalar>>,
    ) -> Filled {
        if values.len() > LONGEST_LIST {
            return Filled::Opaque;
        }
        let mut exact = Vec::with_capacity(values.len());
        for value in values {
            match value {
                // Nothing equals NULL.
                Some(Scalar::Null) => {}
                Some(value) if term.kinds.are_exact(self.dialect, value) => exact.push(value),
                _ => return Filled::Opaque,
            }
        }
        match exact.as_slice() {
            [] => Filled::Never,
            [one] => Filled::Holds(eq(&*term.column, one)),
            _ => Filled::Holds(is_in(&*term.column, exact)),
        }
    }
}

fn value<'v>(operand: &'v Operand, values: &'v [Value]) -> Option<&'v Value> {
    match operand {
        Operand::Constant(value) => Some(value),
        Operand::Parameter(number) => values.get(*number),
        Operand::Cast(..) => None,
    }
}

/// Whether a function of SQLite takes a text for the clock, or for local time.
pub(crate) fn is_clock(text: &str) -> bool {
    let text = text.trim();
    ["now", "localtime", "utc", "subsec", "subsecond"]
        .iter()
        .any(|word| text.eq_ignore_ascii_case(word))
}

/// Whether a text is a date that PostgreSQL counts from today.
pub(crate) fn is_relative(text: &str) -> bool {
    let word = text.trim().split(|c: char| !c.is_ascii_alphabetic()).next().unwrap_or_default();
    ["now", "today", "tomorrow", "yesterday"].iter().any(|known| word.eq_ignore_ascii_case(known))
}
