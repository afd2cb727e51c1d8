//! What is known to hold of the rows that can change a result, and what of it
//! speaks of the rows of one table.

use std::rc::Rc;

use crate::kind::Kinds;
use crate::plan::{Operand, Term, Test};

/// A column of one of the sources: the tables of a query, each as often as it
/// is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ColumnRef {
    pub(crate) source: usize,
    /// Its place in the table.
    pub(crate) column: usize,
}

/// A condition, as far as it is understood. What is not is [`Open`](Formula::Open):
/// it may be true or false.
#[derive(Clone, Debug)]
pub(crate) enum Formula {
    Open,
    Atom(Atom),
    All(Vec<Formula>),
    Any(Vec<Formula>),
}

#[derive(Clone, Debug)]
pub(crate) enum Atom {
    /// A column and what it is compared with.
    Column(ColumnRef, Test),
    /// Two columns that are equal, neither of them NULL.
    Equal(ColumnRef, ColumnRef),
}

impl Formula {
    pub(crate) fn is_open(&self) -> bool {
        match self {
            Formula::Open => true,
            Formula::Atom(_) => false,
            Formula::All(inner) => inner.iter().all(Formula::is_open),
            Formula::Any(inner) => inner.is_empty() || inner.iter().any(Formula::is_open),
        }
    }
}

/// Formulas that hold together, shared by those who are told of them.
pub(crate) type Facts = Vec<Rc<Formula>>;

/// The most disjuncts that are made of a condition, and the most atoms in all.
const MOST_DISJUNCTS: usize = 64;
const MOST_ATOMS: usize = 4096;

type Disjunct<'a> = Vec<&'a Atom>;

/// The facts as an OR of ANDs. What would be too much is left out, which widens.
fn disjuncts<'a>(facts: impl IntoIterator<Item = &'a Formula>) -> Vec<Disjunct<'a>> {
    let mut product: Vec<Disjunct<'a>> = vec![Vec::new()];
    // Those that cannot multiply come first, so that they are never left out.
    let (flat, branching): (Vec<_>, Vec<_>) =
        conjuncts(facts).into_iter().partition(|formula| matches!(formula, Formula::Atom(_)));
    for formula in flat.into_iter().chain(branching) {
        multiply(&mut product, formula);
    }
    product
}

fn conjuncts<'a>(facts: impl IntoIterator<Item = &'a Formula>) -> Vec<&'a Formula> {
    let mut conjuncts = Vec::new();
    for formula in facts {
        match formula {
            Formula::Open => {}
            Formula::All(inner) => conjuncts.extend(self::conjuncts(inner)),
            Formula::Atom(_) | Formula::Any(_) => conjuncts.push(formula),
        }
    }
    conjuncts
}

fn multiply<'a>(product: &mut Vec<Disjunct<'a>>, formula: &'a Formula) {
    let factor = match formula {
        Formula::Open => return,
        Formula::Atom(atom) => {
            product.iter_mut().for_each(|disjunct| disjunct.push(atom));
            return;
        }
        Formula::All(inner) => return inner.iter().for_each(|inner| multiply(product, inner)),
        Formula::Any(_) if formula.is_open() => return,
        Formula::Any(inner) => {
            inner.iter().flat_map(|inner| disjuncts([inner])).collect::<Vec<_>>()
        }
    };
    let atoms: usize = product.iter().chain(&factor).map(Vec::len).sum();
    if product.len() * factor.len() > MOST_DISJUNCTS || atoms * factor.len() > MOST_ATOMS {
        return;
    }
    let pairs = product.iter().flat_map(|left| factor.iter().map(move |right| (left, right)));
    *product = pairs.map(|(left, right)| [left.as_slice(), right.as_slice()].concat()).collect();
}

/// A column of the source that is asked for: its name, and its kind and those
/// of others, for what is compared by way of them.
pub(crate) trait Columns {
    /// The name of a column.
    fn name(&self, column: ColumnRef) -> &str;
    /// Adds the kind of a column.
    fn add_kind(&self, column: ColumnRef, kinds: &mut Kinds);
}

/// What the facts say of the rows of one source: an OR of ANDs; nothing where
/// all of its rows count.
pub(crate) fn project<'a>(
    facts: impl IntoIterator<Item = &'a Formula>,
    source: usize,
    columns: &impl Columns,
) -> Vec<Vec<Term>> {
    let mut reach: Vec<Vec<Term>> = Vec::new();
    for disjunct in disjuncts(facts) {
        let terms = of_source(&disjunct, source, columns);
        if terms.is_empty() {
            return Vec::new();
        }
        if !reach.contains(&terms) {
            reach.push(terms);
        }
    }
    reach
}

/// The terms of a disjunct on the columns of one source: what is said of them,
/// and of those that are equal to them.
fn of_source(disjunct: &[&Atom], source: usize, columns: &impl Columns) -> Vec<Term> {
    let equal: Vec<(ColumnRef, ColumnRef)> = disjunct
        .iter()
        .filter_map(|atom| match atom {
            Atom::Equal(one, other) => Some((*one, *other)),
            Atom::Column(..) => None,
        })
        .collect();
    let mut terms: Vec<Term> = Vec::new();
    for atom in disjunct {
        let Atom::Column(column, test) = atom else { continue };
        // NULL equals nothing: what is NULL says nothing of others.
        let carries = !matches!(test, Test::Null | Test::Same(_));
        let mut class = vec![*column];
        let mut kinds = Kinds::default();
        columns.add_kind(*column, &mut kinds);
        if carries {
            close(&mut class, &equal);
            class.iter().for_each(|column| columns.add_kind(*column, &mut kinds));
        }
        for column in class.into_iter().filter(|column| column.source == source) {
            let column = columns.name(column).into();
            let term = Term { column, kinds, test: test.clone() };
            if !terms.contains(&term) {
                terms.push(term);
            }
        }
    }
    terms
}

/// Adds the columns that are equal to one that is there.
fn close(class: &mut Vec<ColumnRef>, equal: &[(ColumnRef, ColumnRef)]) {
    let mut at = 0;
    while let Some(&column) = class.get(at) {
        for &(one, other) in equal {
            let next = match (one == column, other == column) {
                (true, false) => other,
                (false, true) => one,
                _ => continue,
            };
            if !class.contains(&next) {
                class.push(next);
            }
        }
        at += 1;
    }
}

/// `column = operand`.
pub(crate) fn is(column: ColumnRef, operand: Operand) -> Formula {
    Formula::Atom(Atom::Column(column, Test::Is(operand)))
}
