//! From condition trees to conjunctions: the disjunctive normal form, a table
//! at a time.
//!
//! The rules are those of django-cacheops: negations and opaque conditions never
//! narrow, contradictory conjunctions are removed, an empty conjunction absorbs
//! the others. Three rules are ours. Limits: a tree that would have too many
//! conjunctions is widened to what all of them have in common. Joins by equality:
//! a value on one side holds on the other. Contradictions: only values whose
//! equality is exact contradict each other, which are NULL, integers and
//! booleans. A collation may treat two texts as equal that we normalize
//! differently.
//!
//! Every step may only widen. The promise is: a changed row that alters the
//! result of the query matches one of the conjunctions.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;

use super::condition::{Condition, Node};
use super::{Join, QuerySet};
use crate::error::Error;
use crate::value::{Scalar, spell};

/// Limits of the normal form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// The largest number of values in an `IN` that still narrows.
    pub(crate) in_values: usize,
    /// The largest number of conjunctions of a table. If an `IN` with more
    /// values narrows, the limit is the number of its values.
    pub(crate) conjunctions: usize,
}

/// The largest number of equalities in a conjunction. Without the others it is
/// wider, and keys stay short.
const MOST_FIELDS: usize = 16;

/// Above this, a column may treat two whole numbers as equal: single precision
/// rounds them, and date columns accept numbers of 8 and 14 digits.
const EXACT: u128 = 1 << 24;

impl Default for Limits {
    fn default() -> Self {
        Limits { in_values: 8, conjunctions: 64 }
    }
}

/// Fields and the normalized forms of their values, sorted by field: an AND of
/// equalities. An empty one matches every row.
pub(crate) type Conjunction = Vec<(String, String)>;

/// The conjunctions of a table: an OR of ANDs. If it is empty, no row matters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TableDnf {
    pub(crate) table: String,
    pub(crate) conjunctions: Vec<Conjunction>,
}

/// The conjunctions of each table that `queryset` reads.
pub(crate) fn to_dnf(queryset: &QuerySet, limits: Limits) -> Result<Vec<TableDnf>, Error> {
    queryset.check()?;
    let mut normalizer = Normalizer::new(Scope::of(queryset)?, limits);
    let mut disjuncts = normalizer.all(queryset.conditions(), false).terms;
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

/// Removes conjunctions that another one covers. The empty one covers all.
fn absorb(mut conjunctions: Vec<Conjunction>) -> Vec<Conjunction> {
    conjunctions.sort_by(|a, b| a.len().cmp(&b.len()).then_with(|| a.cmp(b)));
    conjunctions.dedup();
    let mut kept: Vec<Conjunction> = Vec::with_capacity(conjunctions.len());
    // Of two that are equally long none covers the other: a long IN is mostly so.
    let (mut shorter, mut len) = (0, 0);
    for conjunction in conjunctions {
        if conjunction.len() > len {
            (shorter, len) = (kept.len(), conjunction.len());
        }
        let has = |term| conjunction.binary_search(term).is_ok();
        let covered = kept[..shorter].iter().any(|wider| wider.iter().all(has));
        if !covered {
            kept.push(conjunction);
        }
    }
    kept
}

/// The tables of a queryset, under the names that its fields use.
pub(super) struct Scope<'a> {
    sources: Vec<Source<'a>>,
    joins: Vec<Equality<'a>>,
}

struct Source<'a> {
    table: &'a str,
    alias: &'a str,
    left: bool,
}

/// Two columns that a join declares equal.
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
    /// `alias.column`. The alias may contain dots (`blog.articles`).
    pub(super) fn resolve<'f>(&self, field: &'f str) -> Result<Column<'f>, Error> {
        let (alias, column) = match field.rsplit_once('.') {
            Some((alias, column)) => (Some(alias), column),
            None => (None, field),
        };
        if column.is_empty() {
            return Err(Error::invalid_queryset(format!("{field:?} is not the name of a field")));
        }
        let Some(alias) = alias else {
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

/// An OR of ANDs.
struct Disjuncts {
    terms: Vec<Terms>,
    /// How many there may be.
    bound: usize,
}

struct Normalizer<'a> {
    scope: Scope<'a>,
    limits: Limits,
    columns: Numbers<Column<'a>>,
    values: Numbers<String>,
    /// By the number of a value, whether all that is spelled so is of a kind
    /// whose equality is exact.
    exact: Vec<bool>,
    /// The number of the value that stands for NULL.
    null: u32,
}

impl<'a> Normalizer<'a> {
    fn new(scope: Scope<'a>, limits: Limits) -> Self {
        let mut normalizer = Normalizer {
            scope,
            limits,
            columns: Numbers::default(),
            values: Numbers::default(),
            exact: Vec::new(),
            null: 0,
        };
        normalizer.null = normalizer.value(&Scalar::Null).unwrap_or_default();
        normalizer
    }

    /// The number of a value; nothing if no spelling stands for it.
    fn value(&mut self, value: &Scalar) -> Option<u32> {
        let mut spelling = String::new();
        if !spell(value, &mut spelling) {
            return None;
        }
        let number = self.values.of(spelling);
        let is_exact = match value {
            Scalar::Null | Scalar::Bool(_) => true,
            Scalar::Int(value) => value.unsigned_abs() <= EXACT,
            _ => false,
        };
        match self.exact.get_mut(number as usize) {
            Some(exact) => *exact &= is_exact,
            None => self.exact.push(is_exact),
        }
        Some(number)
    }

    fn one(&self, terms: Terms) -> Disjuncts {
        Disjuncts { terms: vec![terms], bound: self.limits.conjunctions }
    }

    /// The disjuncts of a tree, below an odd number of negations or not.
    fn disjuncts(&mut self, condition: &'a Condition, negated: bool) -> Disjuncts {
        match (&condition.0, negated) {
            (Node::Not(inner), _) => self.disjuncts(inner, !negated),
            (Node::All(inner), false) | (Node::Any(inner), true) => self.all(inner, negated),
            (Node::Any(inner), false) | (Node::All(inner), true) => self.any(inner, negated),
            (Node::Eq(field, value), false) => self.term(field, value),
            (Node::IsNull(field), false) => self.term(field, &Scalar::Null),
            (Node::In(field, values), false) if values.len() <= self.limits.in_values => {
                let bound = self.limits.conjunctions.max(values.len());
                let terms = values.iter().flat_map(|value| self.term(field, value).terms);
                bounded(Disjuncts { terms: terms.collect(), bound })
            }
            // A negation or an opaque condition: narrows nothing.
            _ => self.one(Terms::new()),
        }
    }

    fn term(&mut self, field: &'a str, value: &Scalar) -> Disjuncts {
        let Ok(column) = self.scope.resolve(field) else {
            return self.one(Terms::new());
        };
        // NULL on the outer side of a left join may mean "no such row".
        if *value == Scalar::Null && self.scope.sources[column.0].left {
            return self.one(Terms::new());
        }
        match self.value(value) {
            Some(value) => {
                let column = self.columns.of(column);
                self.one(vec![(column, value)])
            }
            None => self.one(Terms::new()),
        }
    }

    fn any(&mut self, conditions: &'a [Condition], negated: bool) -> Disjuncts {
        let mut sum = Disjuncts { terms: Vec::new(), bound: self.limits.conjunctions };
        for condition in conditions {
            let next = self.disjuncts(condition, negated);
            sum.bound = sum.bound.max(next.bound);
            sum.terms.extend(next.terms);
            sum = bounded(sum);
            // The empty conjunction, which sorts first, swallows all others.
            if sum.terms.first().is_some_and(Vec::is_empty) {
                return self.one(Terms::new());
            }
        }
        sum
    }

    fn all(&mut self, conditions: &'a [Condition], negated: bool) -> Disjuncts {
        let mut product = self.one(Terms::new());
        for condition in conditions {
            let mut factor = self.disjuncts(condition, negated);
            product.bound = product.bound.max(factor.bound);
            if product.terms.len() * factor.terms.len() > product.bound {
                factor.terms = common(&factor.terms);
            }
            product = self.product(product, &factor.terms);
        }
        product
    }

    fn product(&self, mut left: Disjuncts, right: &[Terms]) -> Disjuncts {
        if let [right] = right {
            // In place, so that a long AND costs what it is long.
            left.terms.retain_mut(|left| self.merge(left, right));
        } else {
            let merged = |left: &Terms, right: &Terms| {
                let mut both = left.clone();
                self.merge(&mut both, right).then_some(both)
            };
            let pairs = left.terms.iter().flat_map(|left| right.iter().map(move |r| (left, r)));
            left.terms = pairs.filter_map(|(left, right)| merged(left, right)).collect();
        }
        bounded(left)
    }

    /// Both sides at once; false when they contradict each other.
    fn merge(&self, left: &mut Terms, right: &[Term]) -> bool {
        for &(column, value) in right {
            match left.binary_search_by_key(&column, |term| term.0) {
                Ok(at) if left[at].1 == value => {}
                Ok(at) if self.contradict(left[at].1, value) => return false,
                // Each holds by itself, and one of them is enough.
                Ok(_) => {}
                Err(at) => left.insert(at, (column, value)),
            }
        }
        true
    }

    /// Whether nothing equals both values.
    fn contradict(&self, one: u32, other: u32) -> bool {
        let is_exact = |value: u32| self.exact.get(value as usize).is_some_and(|exact| *exact);
        one == self.null || other == self.null || (is_exact(one) && is_exact(other))
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
        let (from, to) = (self.columns.of(from), self.columns.of(to));
        let Ok(at) = terms.binary_search_by_key(&from, |term| term.0) else {
            return true;
        };
        let value = terms[at].1;
        // NULL equals nothing, not even NULL: nothing follows from it.
        value == self.null || self.merge(terms, &[(to, value)])
    }

    fn conjunction(&self, terms: &Terms, source: usize) -> Conjunction {
        let mut conjunction: Conjunction = terms
            .iter()
            .map(|&(column, value)| (self.columns.known[column as usize], value))
            .filter(|((of, _), _)| *of == source)
            .map(|((_, name), value)| (name.to_owned(), self.values.known[value as usize].clone()))
            .collect();
        conjunction.sort_unstable();
        conjunction.truncate(MOST_FIELDS);
        conjunction
    }
}

/// Numbers things in the order in which they come.
struct Numbers<T> {
    known: Vec<T>,
    places: HashMap<T, u32>,
}

impl<T> Default for Numbers<T> {
    fn default() -> Self {
        Numbers { known: Vec::new(), places: HashMap::new() }
    }
}

/// Up to so many a search through all beats hashing: querysets have few
/// columns and values.
const FEW: usize = 16;

impl<T: Clone + Eq + Hash> Numbers<T> {
    fn of(&mut self, item: T) -> u32 {
        let place = if self.known.len() <= FEW {
            self.known.iter().position(|known| *known == item).map(|place| place as u32)
        } else {
            self.places.get(&item).copied()
        };
        place.unwrap_or_else(|| self.add(item))
    }

    fn add(&mut self, item: T) -> u32 {
        self.known.push(item);
        let unhashed = if self.known.len() == FEW + 1 { 0 } else { self.known.len() - 1 };
        if self.known.len() > FEW {
            for (place, item) in self.known.iter().enumerate().skip(unhashed) {
                self.places.insert(item.clone(), place as u32);
            }
        }
        u32::try_from(self.known.len() - 1).unwrap_or(u32::MAX)
    }
}

/// Sorts, drops doubles, and widens what is beyond the bound.
fn bounded(mut disjuncts: Disjuncts) -> Disjuncts {
    disjuncts.terms.sort_unstable();
    disjuncts.terms.dedup();
    if disjuncts.terms.len() > disjuncts.bound {
        disjuncts.terms = common(&disjuncts.terms);
    }
    disjuncts
}

/// The one conjunction that covers all: what they have in common.
fn common(disjuncts: &[Terms]) -> Vec<Terms> {
    let Some((first, rest)) = disjuncts.split_first() else {
        return Vec::new();
    };
    let in_all = |term: &&Term| rest.iter().all(|other| other.binary_search(term).is_ok());
    let shared = first.iter().filter(in_all).copied();
    vec![shared.collect()]
}

#[cfg(test)]
#[path = "dnf_tests.rs"]
mod tests;
