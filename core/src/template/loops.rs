//! Loops and names, in a language where a loop is a scope: loops separate what is
//! set inside from the variables outside.

use std::collections::BTreeMap;

/// A position among the loops of a source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// The innermost loop around it.
    pub(super) in_loop: Option<usize>,
    pub(super) start: usize,
    pub(super) end: usize,
}

/// The loops of a source. Their data is stored once for everything inside them. A
/// copy for each tag would grow with the square of the source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loops(Vec<Loop>);

/// A loop, with the names that are set in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loop {
    around: Option<usize>,
    block: Option<String>,
    /// The names of its own variables, and from where on.
    own: BTreeMap<String, usize>,
    /// The names that are set outside of its scope, and the last position of
    /// each.
    global: BTreeMap<String, usize>,
    /// The first and the last position at which it calls `super`.
    supers: Option<(usize, usize)>,
}

impl Loops {
    pub(super) fn begin(&mut self, around: Option<usize>, block: Option<&str>) -> usize {
        self.0.push(Loop { around, block: block.map(str::to_owned), ..Loop::default() });
        self.0.len() - 1
    }

    pub(super) fn at(&mut self, index: usize) -> Option<&mut Loop> {
        self.0.get_mut(index)
    }

    /// Whether a loop around a position has its own variable of the name
    /// there.
    #[must_use]
    pub fn is_own(&self, position: &Position, name: &str) -> bool {
        let mut next = position.in_loop;
        while let Some(around) = next.and_then(|index| self.0.get(index)) {
            if around.own.get(name).is_some_and(|at| *at < position.start) {
                return true;
            }
            next = around.around;
        }
        false
    }

    /// Whether a name is set outside of the scope of the innermost loop,
    /// later in the loop.
    #[must_use]
    pub fn is_global_behind(&self, position: &Position, name: &str) -> bool {
        let around = position.in_loop.and_then(|index| self.0.get(index));
        around.and_then(|around| around.global.get(name)).is_some_and(|at| *at >= position.end)
    }

    /// The loops in which `super` is called, each with the block around it.
    pub fn calling_super(&self) -> impl Iterator<Item = (&str, &Loop)> {
        let calling = self.0.iter().filter(|one| one.supers.is_some());
        calling.filter_map(|one| Some((one.block.as_deref()?, one)))
    }
}

impl Loop {
    pub(super) fn set(&mut self, name: &str, at: usize) {
        if !self.own.contains_key(name) {
            self.own.insert(name.to_owned(), at);
        }
    }

    pub(super) fn set_global(&mut self, name: &str, at: usize) {
        match self.global.get_mut(name) {
            Some(last) => *last = at,
            None => drop(self.global.insert(name.to_owned(), at)),
        }
    }

    pub(super) fn call_super(&mut self, at: usize) {
        let first = self.supers.map_or(at, |(first, _)| first);
        self.supers = Some((first, at));
    }

    /// The names of its own variables where it calls `super`.
    pub fn own_at_super(&self) -> impl Iterator<Item = &str> {
        let last = self.supers.map_or(0, |(_, last)| last);
        self.own.iter().filter(move |(_, at)| **at < last).map(|(name, _)| name.as_str())
    }

    /// The names that are set outside of its scope after a call of `super`.
    pub fn global_behind_super(&self) -> impl Iterator<Item = &str> {
        let first = self.supers.map_or(usize::MAX, |(first, _)| first);
        self.global.iter().filter(move |(_, at)| **at >= first).map(|(name, _)| name.as_str())
    }
}
