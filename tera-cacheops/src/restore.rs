//! What the tags of a template have to restore, and where this is impossible.

use std::collections::BTreeMap;

use cacheops::template::Assignments;

use crate::inheritance::{AroundSuper, Inheritance, Relatives};
use crate::source::{Source, TagFacts};

/// What is known about the tags of a template from all templates that may be
/// rendered with it.
pub(crate) struct RestorePlan<'a> {
    /// The places where a tag is in a block, or runs one.
    relatives: Option<Relatives<'a>>,
    /// By the numbers of the tags.
    pub(crate) assignments: Vec<Assignments<'a>>,
}

impl<'a> RestorePlan<'a> {
    pub(crate) fn of(name: &'a str, source: &'a Source, inheritance: &Inheritance<'a>) -> Self {
        let in_blocks = |tag: &TagFacts| tag.in_block.is_some() || !tag.blocks.is_empty();
        let relatives = source.tags.iter().any(in_blocks).then(|| inheritance.relatives(name));
        let assignments = source.tags.iter().map(|tag| {
            let mut assignments = own_sets(tag);
            let of_blocks =
                relatives.as_ref().map(|relatives| relatives.assignments(names(&tag.blocks)));
            for (name, how) in of_blocks.into_iter().flatten() {
                assignments.entry(name).or_default().add(how);
            }
            assignments
        });
        RestorePlan { assignments: assignments.collect(), relatives }
    }

    /// The data of a template that is only rendered alone.
    pub(crate) fn alone(source: &'a Source) -> Self {
        RestorePlan { relatives: None, assignments: source.tags.iter().map(own_sets).collect() }
    }

    /// The templates whose blocks run in a tag.
    pub(crate) fn members(&self, tag: &TagFacts) -> impl Iterator<Item = (&'a str, &'a Source)> {
        let relatives = self.relatives.as_ref().filter(|_| !tag.blocks.is_empty());
        relatives
            .into_iter()
            .flat_map(|relatives| relatives.members.iter().map(|(name, it)| (*name, *it)))
    }

    /// Checks all tags. Returns the first one that is wrong, and why.
    pub(crate) fn fault(&self, source: &'a Source) -> Option<(&'a TagFacts, String)> {
        let mut by_block: BTreeMap<&str, AroundSuper<'_>> = BTreeMap::new();
        for (tag, assignments) in source
            .tags
            .iter()
            .zip(&self.assignments)
            .filter(|(_, assignments)| !assignments.is_empty())
        {
            let block = tag.in_block.as_deref().zip(self.relatives.as_ref());
            let around = block.map(|(block, relatives)| {
                &*by_block.entry(block).or_insert_with(|| relatives.around_super(block))
            });
            if let Some(why) = scope_fault(source, tag, assignments, around) {
                return Some((tag, why));
            }
        }
        None
    }
}

fn names(blocks: &[String]) -> impl Iterator<Item = &str> {
    blocks.iter().map(String::as_str)
}

fn own_sets(tag: &TagFacts) -> Assignments<'_> {
    tag.assignments.iter().map(|(name, how)| (name.as_str(), *how)).collect()
}

/// A loop is a scope. A variable that is restored in it must not hide a variable
/// outside, or be hidden by one.
fn scope_fault(
    source: &Source,
    tag: &TagFacts,
    assignments: &Assignments<'_>,
    around: Option<&AroundSuper<'_>>,
) -> Option<String> {
    const MEND: &str = "call one of them by another name";
    let is_own = |name: &str| {
        source.loops.is_own(&tag.position, name) || around.is_some_and(|it| it.own.contains(name))
    };
    let is_global_behind = |name: &str| {
        source.loops.is_global_behind(&tag.position, name)
            || around.is_some_and(|it| it.global_behind.contains(name))
    };
    assignments.iter().find_map(|(name, how)| {
        if how.global && is_own(name) {
            return Some(format!(
                "its body sets `{name}` with `set_global`, and a loop around it has an `{name}` of its own: what `{name}` was outside of the loop could not be restored; {MEND}"
            ));
        }
        (how.local && is_global_behind(name)).then(|| {
            format!(
                "its body sets `{name}`, and after it in the same loop `set_global` sets `{name}`, which the restored value would hide; {MEND}"
            )
        })
    })
}
