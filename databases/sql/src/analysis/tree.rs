//! Trees of joins, and what each source may take for granted in them.
//!
//! A row that is written can change a result only if rows of the other sources
//! could be found with which it passes all conditions on its way out of the
//! tree. Which conditions those are, an outer join decides: what it is joined
//! by does not filter the side that it preserves.

use std::rc::Rc;

use crate::formula::{Facts, Formula};

pub(super) enum Node {
    /// A table.
    Source(usize),
    /// What was made of tables in a way that lets no condition pass.
    Closed,
    /// The rows for which a condition is true.
    Filter(Box<Node>, Rc<Formula>),
    Join(JoinKind, Box<Node>, Box<Node>, Rc<Formula>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum JoinKind {
    Inner,
    Left,
    Right,
    Full,
}

impl Node {
    /// What holds of all rows that come out.
    pub(super) fn holds(&self, facts: &mut Facts) {
        match self {
            Node::Source(_) | Node::Closed => {}
            Node::Filter(node, condition) => {
                node.holds(facts);
                facts.push(Rc::clone(condition));
            }
            Node::Join(kind, left, right, on) => {
                if matches!(kind, JoinKind::Inner | JoinKind::Left) {
                    left.holds(facts);
                }
                if matches!(kind, JoinKind::Inner | JoinKind::Right) {
                    right.holds(facts);
                }
                if *kind == JoinKind::Inner {
                    facts.push(Rc::clone(on));
                }
            }
        }
    }

    /// Gives each source the facts that hold of its rows where they count, on
    /// top of `above`.
    pub(super) fn spread(&self, above: &Facts, each: &mut impl FnMut(usize, Facts)) {
        match self {
            Node::Source(source) => each(*source, above.clone()),
            Node::Closed => {}
            Node::Filter(node, condition) => {
                let mut above = above.clone();
                above.push(Rc::clone(condition));
                node.spread(&above, each);
            }
            Node::Join(kind, left, right, on) => {
                let beside = |other: &Node| {
                    let mut facts = above.clone();
                    facts.push(Rc::clone(on));
                    other.holds(&mut facts);
                    facts
                };
                match kind {
                    JoinKind::Inner | JoinKind::Right => left.spread(&beside(right), each),
                    JoinKind::Left | JoinKind::Full => left.spread(above, each),
                }
                match kind {
                    JoinKind::Inner | JoinKind::Left => right.spread(&beside(left), each),
                    JoinKind::Right | JoinKind::Full => right.spread(above, each),
                }
            }
        }
    }

    fn sources(&self, sources: &mut Vec<usize>) {
        match self {
            Node::Source(source) => sources.push(*source),
            Node::Closed => {}
            Node::Filter(node, _) => node.sources(sources),
            Node::Join(_, left, right, _) => {
                left.sources(sources);
                right.sources(sources);
            }
        }
    }

    /// The sources whose columns may be NULL since there is no row.
    pub(super) fn padded(&self, padded: &mut Vec<usize>) {
        match self {
            Node::Source(_) | Node::Closed => {}
            Node::Filter(node, _) => node.padded(padded),
            Node::Join(kind, left, right, _) => {
                match kind {
                    JoinKind::Inner | JoinKind::Left => left.padded(padded),
                    JoinKind::Right | JoinKind::Full => left.sources(padded),
                }
                match kind {
                    JoinKind::Inner | JoinKind::Right => right.padded(padded),
                    JoinKind::Left | JoinKind::Full => right.sources(padded),
                }
            }
        }
    }
}
