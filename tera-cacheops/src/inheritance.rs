//! The templates that are rendered together because one extends another, and the
//! blocks that run in them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use cacheops::template::{Assignments, Loop};

use crate::source::{BlockFacts, ByName, Source};

/// The templates that a name may mean: the one with exactly this name, or else
/// all that a prefix could make it. Tera does not reveal its prefixes, so it is
/// unknown which one it uses.
pub(crate) fn resolve<'a>(sources: &'a ByName<Source>, name: &str) -> Vec<(&'a str, &'a Source)> {
    if let Some((name, source)) = sources.get_key_value(name) {
        return vec![(name, source)];
    }
    let ends = sources.iter().filter(|(other, _)| other.ends_with(name));
    ends.map(|(name, source)| (name.as_str(), source.as_ref())).collect()
}

/// Which templates extend which.
pub(crate) struct Inheritance<'a> {
    sources: &'a ByName<Source>,
    parents: BTreeMap<&'a str, Vec<&'a str>>,
    children: BTreeMap<&'a str, Vec<&'a str>>,
}

impl<'a> Inheritance<'a> {
    pub(crate) fn of(sources: &'a ByName<Source>) -> Self {
        let mut inheritance =
            Inheritance { sources, parents: BTreeMap::new(), children: BTreeMap::new() };
        for (name, source) in sources {
            for (parent, _) in source.extends.iter().flat_map(|parent| resolve(sources, parent)) {
                inheritance.parents.entry(name).or_default().push(parent);
                inheritance.children.entry(parent).or_default().push(name);
            }
        }
        inheritance
    }

    /// Each template that extends others, with these.
    pub(crate) fn parents(&self) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.parents.iter().flat_map(|(name, all)| all.iter().map(|parent| (*name, *parent)))
    }

    /// The templates that extend one that is missing here, and those that
    /// extend these.
    pub(crate) fn incomplete(&self) -> BTreeSet<&'a str> {
        let is_first = |(name, source): &(&String, &Arc<Source>)| {
            source.extends.is_some() && !self.parents.contains_key(name.as_str())
        };
        let first = self.sources.iter().filter(is_first).map(|(name, _)| name.as_str());
        follow(&self.children, first.collect())
    }

    /// The templates that may be rendered together with a template: those
    /// that it extends, and those that extend it.
    pub(crate) fn relatives(&self, name: &'a str) -> Relatives<'a> {
        let mut names = follow(&self.parents, vec![name]);
        names.extend(follow(&self.children, vec![name]));
        let members = names.into_iter().filter_map(|name| self.sources.get_key_value(name));
        Relatives::new(members.map(|(name, source)| (name.as_str(), source.as_ref())).collect())
    }
}

/// Some templates, and all that are reachable through the links.
pub(crate) fn follow<'a>(
    links: &BTreeMap<&'a str, Vec<&'a str>>,
    mut next: Vec<&'a str>,
) -> BTreeSet<&'a str> {
    let mut found = BTreeSet::new();
    while let Some(name) = next.pop() {
        if found.insert(name) {
            next.extend(links.get(name).into_iter().flatten());
        }
    }
    found
}

/// The templates that may be rendered together with a template.
pub(crate) struct Relatives<'a> {
    pub(crate) members: BTreeMap<&'a str, &'a Source>,
    /// All blocks that may run under a name.
    blocks: BTreeMap<&'a str, Vec<&'a BlockFacts>>,
}

impl<'a> Relatives<'a> {
    fn new(members: BTreeMap<&'a str, &'a Source>) -> Self {
        let mut blocks: BTreeMap<&str, Vec<&BlockFacts>> = BTreeMap::new();
        for source in members.values() {
            for (name, facts) in &source.blocks {
                blocks.entry(name).or_default().push(facts);
            }
        }
        Relatives { members, blocks }
    }

    /// All blocks that may run where some blocks run: these, and those inside
    /// them.
    pub(crate) fn runs<'n>(&self, blocks: impl IntoIterator<Item = &'n str>) -> BTreeSet<&'n str>
    where
        'a: 'n,
    {
        let mut runs = BTreeSet::new();
        let mut next: Vec<&str> = blocks.into_iter().collect();
        while let Some(block) = next.pop() {
            if runs.insert(block) {
                let held = self.blocks.get(block).into_iter().flatten();
                next.extend(held.flat_map(|facts| &facts.holds).map(String::as_str));
            }
        }
        runs
    }

    /// What blocks and their inner blocks set.
    pub(crate) fn assignments<'n>(
        &self,
        blocks: impl IntoIterator<Item = &'n str>,
    ) -> Assignments<'a>
    where
        'a: 'n,
    {
        let mut assignments = Assignments::new();
        for block in self.runs(blocks) {
            for facts in self.blocks.get(block).into_iter().flatten() {
                for (name, how) in &facts.assignments {
                    assignments.entry(name).or_default().add(*how);
                }
            }
        }
        assignments
    }

    /// The loops, around a `super()` in a block or in a block that contains
    /// it, in which the block may run.
    pub(crate) fn around_super(&self, block: &str) -> AroundSuper<'a> {
        let mut by_block: BTreeMap<&str, Vec<&Loop>> = BTreeMap::new();
        for source in self.members.values() {
            for (name, one) in source.loops.calling_super() {
                by_block.entry(name).or_default().push(one);
            }
        }
        let mut around = AroundSuper::default();
        for (called, loops) in by_block {
            if !self.runs([called]).contains(block) {
                continue;
            }
            for one in loops {
                around.own.extend(one.own_at_super());
                around.global_behind.extend(one.global_behind_super());
            }
            // What a block sets that is called in a loop is set in that loop.
            for (name, how) in self.assignments([called]) {
                around.own.extend(how.local.then_some(name));
                around.global_behind.extend(how.global.then_some(name));
            }
        }
        around
    }
}

/// The effect of the loops around a `super()` on names.
#[derive(Default)]
pub(crate) struct AroundSuper<'a> {
    pub(crate) own: BTreeSet<&'a str>,
    pub(crate) global_behind: BTreeSet<&'a str>,
}
