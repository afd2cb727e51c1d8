//! From condition trees to conjunctions: the disjunctive normal form, a table
//! at a time.
//!
//! The rules are those of django-cacheops: negations and opaque conditions
//! never narrow, contradictory conjunctions drop out, an empty conjunction
//! swallows the rest. Two are ours: a bound (a tree that would explode is
//! widened to what all its disjuncts have in common), and joins by equality
//! (a value on one side holds on the other).
//!
//! Every step may only widen: the one promise is that a changed row that
//! alters the result of the query meets one of the conjunctions.

use std::collections::BTreeMap;

use super::condition::{Condition, Node};
use super::{Join, QuerySet};
use crate::error::Error;
use crate::value::{Scalar, spell};

/// Bounds of the normal form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// The largest number of values in an `IN` that still narrows.
    pub(crate) in_values: usize,
    /// The largest number of conjunctions a table may get.
    pub(crate) conjunctions: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { in_values: 8, conjunctions: 64 }
    }
}

/// Fields and the spelling of their values, sorted by field: an AND of
/// equalities. Empty, it meets every row.
pub(crate) type Conjunction = Vec<(String, String)>;

/// The conjunctions of a table: an OR of ANDs. Empty, no row ever matters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TableDnf {
    pub(crate) table: String,
    pub(crate) conjunctions: Vec<Conjunction>,
}

/// The conjunctions of each table that `queryset` reads.
pub(crate) fn to_dnf(queryset: &QuerySet, limits: Limits) -> Result<Vec<TableDnf>, Error> {
    queryset.check()?;
    let mut normalizer = Normalizer::new(Scope::of(queryset)?, limits);
    let mut disjuncts = normalizer.all(queryset.conditions(), false);
    disjuncts.retain_mut(|terms| normalizer.propagate(terms));
    let mut tables: BTreeMap<&str, Vec<Conjunction>> = BTreeMap::new();
    for (source, table) in normalizer.scope.sources.iter().enumerate() {
        let conjunctions = tables.entry(table.table).or_default();
        for terms in &disjuncts {
            conjunctions.push(normalizer.conjunction(terms, source));
        }
    }
    for table in queryset.other_tables() {
        tables.entry(table).or_default().push(Conjunction::new());
    }
    Ok(tables
        .into_iter()
        .map(|(table, conjunctions)| TableDnf {
            table: table.to_owned(),
            conjunctions: absorb(conjunctions),
        })
        .collect())
}

/// Drops conjunctions that another one covers: the empty one covers all.
fn absorb(mut conjunctions: Vec<Conjunction>) -> Vec<Conjunction> {
    conjunctions.sort_by(|a, b| a.len().cmp(&b.len()).then_with(|| a.cmp(b)));
    let mut kept: Vec<Conjunction> = Vec::with_capacity(conjunctions.len());
    for conjunction in conjunctions {
        let covered = kept.iter().any(|wider| wider.iter().all(|term| conjunction.contains(term)));
        if !covered {
            kept.push(conjunction);
        }
    }
    kept
}

/// The tables of a queryset under the names that its fields use.
pub(super) struct Scope<'a> {
    sources: Vec<Source<'a>>,
    joins: Vec<Equality<'a>>,
}

struct Source<'a> {
    table: &'a str,
    alias: &'a str,
    left: bool,
}

/// Two columns that a join makes equal.
struct Equality<'a> {
    left: Column<'a>,
    right: Column<'a>,
}

/// A column: which source, and its name.
type Column<'a> = (usize, &'a str);

impl<'a> Scope<'a> {
    pub(super) fn of(queryset: &'a QuerySet) -> Result<Self, Error> {
        let table = queryset.table_name();
        let mut scope = Scope {
            sources: vec![Source { table, alias: table, left: false }],
            joins: Vec::with_capacity(queryset.joins().len()),
        };
        for join in queryset.joins() {
            scope.add(join)?;
        }
        Ok(scope)
    }

    fn add(&mut self, join: &'a Join) -> Result<(), Error> {
        if self.sources.iter().any(|source| source.alias == join.alias) {
            return Err(Error::invalid_queryset(format!(
                "`{}` is joined twice under one name: give one of them another by `join_as`",
                join.alias
            )));
        }
        let left = self.resolve(&join.field)?;
        let right = (self.sources.len(), join.column.as_str());
        self.sources.push(Source { table: &join.table, alias: &join.alias, left: join.left });
        self.joins.push(Equality { left, right });
        Ok(())
    }

    /// The column that a field names: `column` of the first table, or
    /// `alias.column`. The alias may have dots of its own (`blog.articles`).
    pub(super) fn resolve<'f>(&self, field: &'f str) -> Result<Column<'f>, Error> {
        let Some((alias, column)) = field.rsplit_once('.') else {
            return Ok((0, field));
        };
        match self.sources.iter().position(|source| source.alias == alias) {
            Some(source) => Ok((source, column)),
            None => Err(Error::invalid_queryset(format!(
                "`{field}` names a table `{alias}` that is not joined; known are: {}",
                self.sources.iter().map(|source| source.alias).collect::<Vec<_>>().join(", ")
            ))),
        }
    }
}

/// An equality `column = value`, both by number.
type Term = (u32, u32);

/// An AND of equalities, sorted by column.
type Terms = Vec<Term>;

struct Normalizer<'a> {
    scope: Scope<'a>,
    limits: Limits,
    columns: Vec<Column<'a>>,
    values: Vec<String>,
    /// The number of the value that stands for NULL.
    null: u32,
}

impl<'a> Normalizer<'a> {
    fn new(scope: Scope<'a>, limits: Limits) -> Self {
        let mut normalizer =
            Normalizer { scope, limits, columns: Vec::new(), values: Vec::new(), null: 0 };
        normalizer.null = normalizer.value(&Scalar::Null);
        normalizer
    }

    fn column(&mut self, column: Column<'a>) -> u32 {
        number(&mut self.columns, column)
    }

    fn value(&mut self, value: &Scalar) -> u32 {
        let mut spelling = String::new();
        spell(value, &mut spelling);
        number(&mut self.values, spelling)
    }

    /// The disjuncts of a tree, below an odd number of negations or not.
    fn disjuncts(&mut self, condition: &'a Condition, negated: bool) -> Vec<Terms> {
        match (&condition.0, negated) {
            (Node::Not(inner), _) => self.disjuncts(inner, !negated),
            (Node::All(inner), false) | (Node::Any(inner), true) => self.all(inner, negated),
            (Node::Any(inner), false) | (Node::All(inner), true) => self.any(inner, negated),
            (Node::Eq(field, value), false) => self.term(field, value),
            (Node::IsNull(field), false) => self.term(field, &Scalar::Null),
            (Node::In(field, values), false) if values.len() <= self.limits.in_values => {
                let disjuncts = values.iter().flat_map(|value| self.term(field, value)).collect();
                self.bounded(disjuncts)
            }
            // A negation or an opaque condition: narrows nothing.
            _ => vec![Terms::new()],
        }
    }

    fn term(&mut self, field: &'a str, value: &Scalar) -> Vec<Terms> {
        let Ok(column) = self.scope.resolve(field) else {
            return vec![Terms::new()];
        };
        // NULL on the outer side of a left join may mean "no such row".
        if *value == Scalar::Null && self.scope.sources[column.0].left {
            return vec![Terms::new()];
        }
        let term = (self.column(column), self.value(value));
        vec![vec![term]]
    }

    fn any(&mut self, conditions: &'a [Condition], negated: bool) -> Vec<Terms> {
        let mut disjuncts = Vec::new();
        for condition in conditions {
            disjuncts.extend(self.disjuncts(condition, negated));
            disjuncts = self.bounded(disjuncts);
        }
        disjuncts
    }

    fn all(&mut self, conditions: &'a [Condition], negated: bool) -> Vec<Terms> {
        let mut product = vec![Terms::new()];
        for condition in conditions {
            let mut factor = self.disjuncts(condition, negated);
            if product.len() * factor.len() > self.limits.conjunctions {
                factor = common(&factor);
            }
            product = product
                .iter()
                .flat_map(|left| factor.iter().filter_map(move |right| merge(left, right)))
                .collect();
            product = self.bounded(product);
        }
        product
    }

    /// Sorts, drops doubles, and widens what is beyond the bound.
    fn bounded(&self, mut disjuncts: Vec<Terms>) -> Vec<Terms> {
        disjuncts.sort_unstable();
        disjuncts.dedup();
        if disjuncts.len() > self.limits.conjunctions { common(&disjuncts) } else { disjuncts }
    }

    /// Adds what the joins imply; false when that is contradictory.
    fn propagate(&mut self, terms: &mut Terms) -> bool {
        loop {
            let before = terms.len();
            for join in 0..self.scope.joins.len() {
                let Equality { left, right } = &self.scope.joins[join];
                let (left, right) = (*left, *right);
                if !(self.imply(terms, left, right) && self.imply(terms, right, left)) {
                    return false;
                }
            }
            if terms.len() == before {
                return true;
            }
        }
    }

    fn imply(&mut self, terms: &mut Terms, from: Column<'a>, to: Column<'a>) -> bool {
        let (from, to) = (self.column(from), self.column(to));
        let Some(&(_, value)) = terms.iter().find(|(column, _)| *column == from) else {
            return true;
        };
        // NULL equals nothing, not even NULL: nothing follows from it.
        if value == self.null {
            return true;
        }
        match merge(terms, &vec![(to, value)]) {
            Some(merged) => {
                *terms = merged;
                true
            }
            None => false,
        }
    }

    fn conjunction(&self, terms: &Terms, source: usize) -> Conjunction {
        let mut conjunction: Conjunction = terms
            .iter()
            .map(|&(column, value)| (self.columns[column as usize], value))
            .filter(|((of, _), _)| *of == source)
            .map(|((_, name), value)| (name.to_owned(), self.values[value as usize].clone()))
            .collect();
        conjunction.sort_unstable();
        conjunction
    }
}

/// The place of `item` in `known`, where it is put if it is new. Querysets
/// have few columns and values: a search through them beats hashing.
fn number<T: PartialEq>(known: &mut Vec<T>, item: T) -> u32 {
    let place = known.iter().position(|other| *other == item).unwrap_or_else(|| {
        known.push(item);
        known.len() - 1
    });
    u32::try_from(place).unwrap_or(u32::MAX)
}

/// Both sides at once; `None` when they contradict each other.
fn merge(left: &Terms, right: &Terms) -> Option<Terms> {
    let mut merged = left.clone();
    for &(column, value) in right {
        match merged.binary_search_by_key(&column, |term| term.0) {
            Ok(at) if merged[at].1 == value => {}
            Ok(_) => return None,
            Err(at) => merged.insert(at, (column, value)),
        }
    }
    Some(merged)
}

/// The one conjunction that covers all: what they have in common.
fn common(disjuncts: &[Terms]) -> Vec<Terms> {
    let Some((first, rest)) = disjuncts.split_first() else {
        return Vec::new();
    };
    let shared = first.iter().filter(|term| rest.iter().all(|other| other.contains(term))).copied();
    vec![shared.collect()]
}

#[cfg(test)]
#[path = "dnf_tests.rs"]
mod tests;
