//! Querysets that templates create and that tags receive.

use cacheops::template::{Querysets, build_queryset, collect_querysets};
use cacheops::{KeyWriter, QuerySet};
use minijinja::value::Kwargs;
use minijinja::{Error, Value};

use crate::engine::MiniJinjaEngine;
use crate::queryset_values::{known, queryset};

/// Reads the querysets of a tag, and writes what represents them into the key.
pub(crate) fn read<'a>(
    arguments: &'a [Value],
    key: &mut KeyWriter,
) -> Result<Querysets<&'a QuerySet>, String> {
    key.list(arguments.len());
    if let [value] = arguments
        && let Some(known) = known(value)
    {
        key.key(known.digest());
        return Ok(Querysets::One(&known.queryset));
    }
    Querysets::read_all::<MiniJinjaEngine>(arguments, &copy_known, key)
}

/// The querysets in a value, in order.
pub(crate) fn all_of(value: &Value) -> Result<Vec<QuerySet>, String> {
    let mut querysets = Vec::new();
    collect_querysets::<MiniJinjaEngine>(value, &copy_known, &mut querysets)?;
    Ok(querysets)
}

fn copy_known(value: &Value) -> Option<QuerySet> {
    known(value).map(|known| known.queryset.clone())
}

/// `queryset("articles", category=3, status=["a", "b"])`: the function for
/// templates.
pub(crate) fn queryset_function(table: &Value, conditions: Kwargs) -> Result<Value, Error> {
    let mut given: Vec<(&str, &Value)> = Vec::new();
    for name in conditions.args() {
        given.push((name, conditions.get(name)?));
    }
    conditions.assert_all_used()?;
    Ok(queryset(build_queryset::<MiniJinjaEngine>(table, &given)?))
}
