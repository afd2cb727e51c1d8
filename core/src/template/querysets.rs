//! Querysets that templates create and that tags receive.

use std::borrow::Borrow;

use super::encode::{DEEPEST, Distinctions, check_depth, too_deep, write};
use super::engine::{Datum, Engine};
use crate::key::{FragmentKey, KeyWriter};
use crate::queryset::{Condition, QuerySet, eq, is_in};

/// The querysets of a tag, read from its arguments. `Q` is the type in which a
/// plugin holds a prepared queryset.
#[derive(Debug)]
pub enum Querysets<Q> {
    /// One prepared queryset, the usual case, which is not copied.
    One(Q),
    /// All other cases.
    Many(Vec<QuerySet>),
}

impl<Q: Borrow<QuerySet>> Querysets<Q> {
    /// Reads the arguments, and writes what represents them into the key.
    /// `known` recognizes values that are prepared querysets.
    ///
    /// # Errors
    ///
    /// A message about a value that is not a queryset.
    pub fn read_all<'v, E: Engine>(
        arguments: impl IntoIterator<Item = &'v E::Value>,
        known: &dyn Fn(&E::Value) -> Option<QuerySet>,
        key: &mut KeyWriter,
    ) -> Result<Self, String>
    where
        E::Value: 'v,
    {
        let mut querysets = Vec::new();
        for argument in arguments {
            let first = querysets.len();
            collect_querysets::<E>(argument, known, &mut querysets)?;
            key.list(querysets.len() - first);
            querysets[first..].iter().for_each(|queryset| key.key(&queryset_digest(queryset)));
        }
        Ok(Querysets::Many(querysets))
    }

    /// Passes them to a function.
    pub fn with<R>(&self, f: impl FnOnce(&[&QuerySet]) -> R) -> R {
        match self {
            Querysets::One(queryset) => f(&[queryset.borrow()]),
            Querysets::Many(querysets) => f(&querysets.iter().collect::<Vec<_>>()),
        }
    }
}

/// The digest that represents a queryset in keys.
#[must_use]
pub fn queryset_digest(queryset: &QuerySet) -> FragmentKey {
    let mut key = KeyWriter::new();
    queryset.write_key(&mut key);
    key.finish()
}

/// Collects the querysets in a value, in order. `known` recognizes values that
/// are prepared querysets.
///
/// # Errors
///
/// A message about a value that is not a queryset.
pub fn collect_querysets<E: Engine>(
    value: &E::Value,
    known: &dyn Fn(&E::Value) -> Option<QuerySet>,
    querysets: &mut Vec<QuerySet>,
) -> Result<(), String> {
    collect::<E>(value, known, querysets, DEEPEST)
}

fn collect<E: Engine>(
    value: &E::Value,
    known: &dyn Fn(&E::Value) -> Option<QuerySet>,
    querysets: &mut Vec<QuerySet>,
    depth: usize,
) -> Result<(), String> {
    if let Some(queryset) = known(value) {
        querysets.push(queryset);
        return Ok(());
    }
    match E::read(value)? {
        Datum::Text(table) => {
            let mut distinctions = Distinctions::default();
            distinctions.leaf(E::is_safe(value));
            querysets.push(QuerySet::table(table).with_distinctions(distinctions.into_places()));
        }
        Datum::Map(_) => {
            check_depth::<E>("a map", value)?;
            let queryset = E::read_queryset(value)
                .map_err(|error| format!("a map that is not a queryset: {error}"))?;
            querysets.push(with_distinctions_of::<E>(queryset, [value])?);
        }
        Datum::List(items) if items.is_empty() => {
            return Err(
                "an empty list is not a queryset: pass the queryset beside its rows, or `lazy(…)` rows"
                    .to_owned(),
            );
        }
        Datum::List(items) => {
            let depth = depth.checked_sub(1).ok_or_else(|| too_deep("a list of querysets"))?;
            for item in &items {
                collect::<E>(item, known, querysets, depth).map_err(|why| format!(
                    "a list that is not all querysets ({why}): pass the queryset beside its rows, or `lazy(…)` rows"
                ))?;
            }
        }
        Datum::Undefined => return Err("the queryset is undefined".to_owned()),
        other => {
            return Err(format!(
                "{} is not a queryset: pass a `QuerySet`, `lazy(…)` rows, or the name of a table",
                other.kind()
            ));
        }
    }
    Ok(())
}

/// The queryset that `queryset()` creates from a table and keyword conditions.
///
/// # Errors
///
/// A value, at any depth, that is undefined or that no column can hold.
pub fn build_queryset<'v, E: Engine>(
    table: &'v E::Value,
    conditions: &[(&str, &'v E::Value)],
) -> Result<QuerySet, E::Error>
where
    E::Value: 'v,
{
    let fail = |why: String| E::error(format!("queryset(): {why}"));
    let mut set = match E::read(table).map_err(fail)? {
        Datum::Text(table) => QuerySet::table(table),
        Datum::Undefined => {
            return Err(E::undefined("queryset(): the name of the table is undefined".to_owned()));
        }
        other => {
            return Err(fail(format!("the name of a table is text, and this is {}", other.kind())));
        }
    };
    for (name, value) in conditions {
        set = set.filter(condition::<E>(name, value)?);
    }
    set.check().map_err(|error| fail(error.to_string()))?;
    let values = conditions.iter().map(|(_, value)| *value);
    with_distinctions_of::<E>(set, std::iter::once(table).chain(values)).map_err(fail)
}

/// The queryset, distinguished from one with the same values that print
/// differently.
fn with_distinctions_of<'v, E: Engine>(
    queryset: QuerySet,
    values: impl IntoIterator<Item = &'v E::Value>,
) -> Result<QuerySet, String>
where
    E::Value: 'v,
{
    let mut distinctions = Distinctions::default();
    let mut written = KeyWriter::empty();
    for value in values {
        write::<E>("a value in the queryset", value, &mut written, &mut distinctions)?;
    }
    Ok(queryset.with_distinctions(distinctions.into_places()))
}

/// The condition for a keyword of `queryset()`.
fn condition<E: Engine>(name: &str, value: &E::Value) -> Result<Condition, E::Error> {
    let undefined = || {
        let why = format!("queryset(): `{name}` is undefined; `none` stands for NULL");
        Err(E::undefined(why))
    };
    let check = |value: &E::Value| {
        check_depth::<E>(name, value).map_err(|why| E::error(format!("queryset(): {why}")))
    };
    match E::read(value).map_err(E::error)? {
        Datum::Undefined => undefined(),
        Datum::List(items) => {
            for item in &items {
                if matches!(E::read(item), Ok(Datum::Undefined)) {
                    return undefined();
                }
                check(item)?;
            }
            Ok(is_in(name, items))
        }
        Datum::Map(_) => {
            check(value)?;
            Ok(eq(name, value))
        }
        _ => Ok(eq(name, value)),
    }
}
