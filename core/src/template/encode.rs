//! Values of template engines, written into keys.

use super::engine::{Datum, Engine};
use crate::key::KeyWriter;

/// The distinctions of values that print differently although they are otherwise encoded
/// alike: text that prints without escaping, the negative zero, and lists of
/// another kind. They belong to the key of a fragment, but not to the variant
/// that `invalidate_fragment_extra` names.
///
/// It contains the positions of such values among all single values that were
/// written. Usually there are none, and then it allocates nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Distinctions {
    leaves: u64,
    marked: Vec<u64>,
}

impl Distinctions {
    pub(super) fn leaf(&mut self, is_marked: bool) {
        if is_marked {
            self.marked.push(self.leaves);
        }
        self.leaves += 1;
    }

    fn append(&mut self, other: &Distinctions) {
        self.marked.extend(other.marked.iter().map(|place| place + self.leaves));
        self.leaves += other.leaves;
    }

    /// The positions of the marked values.
    pub(super) fn into_places(self) -> Vec<u64> {
        self.marked
    }

    /// Writes them into the key of a fragment.
    pub fn write(&self, key: &mut KeyWriter) {
        key.list(self.marked.len());
        self.marked.iter().for_each(|place| key.int(i128::from(*place)));
    }
}

/// Writes a value of `extra`, with the same bytes as serde writes for the
/// corresponding Rust value, so that `invalidate_fragment_extra` finds it. What
/// these bytes omit is added to `distinctions`.
///
/// # Errors
///
/// A message about a value that cannot distinguish fragments.
pub fn write_value<E: Engine>(
    value: &E::Value,
    key: &mut KeyWriter,
    distinctions: &mut Distinctions,
) -> Result<(), String> {
    write::<E>("`extra`", value, key, distinctions)
}

/// The maximum depth of lists and maps. A value of an engine can contain itself.
pub(super) const DEEPEST: usize = 64;

pub(super) fn too_deep(what: &str) -> String {
    format!(
        "{what} holds lists or maps more than {DEEPEST} deep, or itself: give a value such as its id"
    )
}

/// Refuses a value that [`write()`] would refuse because of its depth, before
/// other code walks through it.
pub(super) fn check_depth<E: Engine>(what: &str, value: &E::Value) -> Result<(), String> {
    check_below::<E>(what, value, DEEPEST)
}

fn check_below<E: Engine>(what: &str, value: &E::Value, depth: usize) -> Result<(), String> {
    let inside = |value: &E::Value| match depth.checked_sub(1) {
        Some(depth) => check_below::<E>(what, value, depth),
        None => Err(too_deep(what)),
    };
    match E::read(value)? {
        Datum::List(items) => items.iter().try_for_each(inside),
        Datum::Map(pairs) => pairs.iter().try_for_each(|(_, value)| inside(value)),
        _ => Ok(()),
    }
}

/// [`write_value`] for a value that error messages call `what`.
pub(super) fn write<E: Engine>(
    what: &str,
    value: &E::Value,
    key: &mut KeyWriter,
    distinctions: &mut Distinctions,
) -> Result<(), String> {
    write_below::<E>(what, value, key, distinctions, DEEPEST)
}

fn write_below<E: Engine>(
    what: &str,
    value: &E::Value,
    key: &mut KeyWriter,
    distinctions: &mut Distinctions,
    depth: usize,
) -> Result<(), String> {
    let inside = || depth.checked_sub(1).ok_or_else(|| too_deep(what));
    match E::read(value)? {
        Datum::Undefined => {
            return Err(format!(
                "{what} is undefined: fragments would be shared that should differ; give it a value, or `none` to mean that"
            ));
        }
        Datum::None => key.none(),
        Datum::Bool(value) => key.bool(value),
        Datum::Int(number) => key.int(number),
        Datum::UInt(number) => key.uint(number),
        Datum::Float(number) => {
            key.float(number).map_err(|error| format!("{what}: {}", error.detail()))?;
            distinctions.leaf(number == 0.0 && number.is_sign_negative());
        }
        Datum::Text(text) => {
            key.str(text);
            distinctions.leaf(E::is_safe(value));
        }
        Datum::Bytes(bytes) => key.bytes(bytes),
        Datum::List(items) => {
            let depth = inside()?;
            key.list(items.len());
            E::shape(value).into_iter().for_each(|is_other| distinctions.leaf(is_other));
            items
                .iter()
                .try_for_each(|item| write_below::<E>(what, item, key, distinctions, depth))?;
        }
        Datum::Map(pairs) => {
            let depth = inside()?;
            E::shape(value).into_iter().for_each(|is_other| distinctions.leaf(is_other));
            write_map::<E>(what, &pairs, key, distinctions, depth)?;
        }
        Datum::Other(kind) => {
            return Err(format!(
                "{what} is {kind}, and that cannot tell fragments apart: give a value such as its id"
            ));
        }
    }
    Ok(())
}

/// The entries of a map have no order, and neither do their marks.
fn write_map<E: Engine>(
    what: &str,
    pairs: &[(E::Value, E::Value)],
    key: &mut KeyWriter,
    distinctions: &mut Distinctions,
    depth: usize,
) -> Result<(), String> {
    let mut entries = Vec::with_capacity(pairs.len());
    for (name, value) in pairs {
        let mut of_entry = Distinctions::default();
        let mut entry = (KeyWriter::default(), KeyWriter::default());
        write_below::<E>(what, name, &mut entry.0, &mut of_entry, depth)?;
        write_below::<E>(what, value, &mut entry.1, &mut of_entry, depth)?;
        entries.push((entry, of_entry));
    }
    entries.sort_by(|((a, x), of_a), ((b, y), of_b)| {
        let names = a.as_bytes().cmp(b.as_bytes());
        names.then_with(|| x.as_bytes().cmp(y.as_bytes())).then_with(|| of_a.cmp(of_b))
    });
    entries.iter().for_each(|(_, of_entry)| distinctions.append(of_entry));
    key.map(entries.into_iter().map(|(entry, _)| entry).collect());
    Ok(())
}

/// Writes an argument of a custom tag. Plain values distinguish fragments by
/// themselves.
pub fn write_plain<E: Engine>(name: &str, value: &E::Value, key: &mut KeyWriter) {
    key.str(name);
    let mut distinctions = Distinctions::default();
    if !E::is_plain(value) {
        key.variant("other", 0);
    } else if write_value::<E>(value, key, &mut distinctions).is_err() {
        key.variant("nan", 0);
    }
    distinctions.write(key);
}

/// Writes the name of a fragment, or that it has none.
pub fn write_name(name: Option<&str>, key: &mut KeyWriter) {
    match name {
        Some(name) => key.str(name),
        None => key.none(),
    }
}
