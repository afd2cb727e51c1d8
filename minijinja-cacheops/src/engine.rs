//! MiniJinja, for what the plugins of all engines share.

use cacheops::QuerySet;
use cacheops::template::{Datum, Engine};
use minijinja::value::ValueKind;
use minijinja::{Error, ErrorKind, Value};
use serde::Deserialize;

use crate::queryset_values::Lazy;

/// MiniJinja, as the shared code sees it.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct MiniJinjaEngine;

impl Engine for MiniJinjaEngine {
    type Value = Value;
    type Error = Error;

    fn read(value: &Value) -> Result<Datum<'_, Value>, String> {
        Ok(match value.kind() {
            ValueKind::Undefined => Datum::Undefined,
            ValueKind::None => Datum::None,
            ValueKind::Bool => Datum::Bool(value.is_true()),
            ValueKind::Number => number(value)?,
            ValueKind::String => Datum::Text(value.as_str().unwrap_or_default()),
            ValueKind::Bytes => Datum::Bytes(value.as_bytes().unwrap_or_default()),
            ValueKind::Seq | ValueKind::Iterable | ValueKind::Map if !is_transparent(value) => {
                Datum::Other(kind_of_object(value))
            }
            ValueKind::Seq | ValueKind::Iterable => Datum::List(items(value)?),
            ValueKind::Map => {
                let names = items(value)?.into_iter();
                let pairs = names.map(|name| Ok((name.clone(), value.get_item(&name)?)));
                let pairs: Result<_, Error> = pairs.collect();
                Datum::Map(pairs.map_err(|error| error.to_string())?)
            }
            other => Datum::Other(other.to_string()),
        })
    }

    fn is_safe(value: &Value) -> bool {
        value.is_safe()
    }

    fn shape(value: &Value) -> [bool; 2] {
        match own_type(value) {
            Some("Tuple" | "Namespace") => [true, false],
            Some("GroupTuple" | "KwargsValues") => [false, true],
            _ if value.kind() == ValueKind::Iterable => [true, true],
            _ => [false, false],
        }
    }

    fn is_plain(value: &Value) -> bool {
        use ValueKind::{Bool, None, Number, String};
        matches!(value.kind(), Bool | None | Number | String)
    }

    fn is_true(value: &Value) -> Result<bool, String> {
        Ok(value.is_true())
    }

    fn read_queryset(value: &Value) -> Result<QuerySet, String> {
        QuerySet::deserialize(value.clone()).map_err(|error| match error.detail() {
            Some(why) => why.to_owned(),
            None => error.to_string(),
        })
    }

    fn error(why: String) -> Error {
        Error::new(ErrorKind::InvalidOperation, why)
    }

    fn undefined(why: String) -> Error {
        Error::new(ErrorKind::UndefinedError, why)
    }
}

/// The name of a type of the engine, without its path.
pub(crate) fn own_type(value: &Value) -> Option<&'static str> {
    let name = value.as_object()?.type_name().strip_prefix("minijinja::")?;
    let name = name.split('<').next().unwrap_or(name);
    name.rsplit("::").next()
}

/// Types of the engine that consist only of their items. This excludes types that
/// represent something they do not list: a macro, a module, a `loop`, a map that
/// combines others, or one made of callbacks.
const TRANSPARENT: [&str; 7] =
    ["GroupTuple", "Iterable", "KwargsValues", "MergeSeq", "Namespace", "StaticKeyMap", "Tuple"];

/// Whether a list or map consists only of its items. An object of the application
/// may have attributes and methods that it does not list, and by default it lists
/// none.
fn is_transparent(value: &Value) -> bool {
    if value.downcast_object_ref::<Lazy>().is_some() {
        return true;
    }
    if let Some(name) = own_type(value) {
        return TRANSPARENT.contains(&name);
    }
    // Collections of the standard library: only the engine itself can make
    // objects of them, except inside of a box or a pin.
    let is_collection = |name: &str| {
        ["alloc::vec::", "alloc::collections::", "std::collections::", "indexmap::", "["]
            .iter()
            .any(|start| name.starts_with(start))
    };
    value.as_object().is_some_and(|object| is_collection(object.type_name()))
}

fn kind_of_object(value: &Value) -> String {
    let name = value.as_object().map_or("", |object| object.type_name());
    format!("an object ({name})")
}

fn items(value: &Value) -> Result<Vec<Value>, String> {
    let read = || Ok::<_, Error>(value.try_iter()?.collect());
    let items: Vec<Value> = read().map_err(|error| error.to_string())?;
    // The engine does not tell an iterator that ends for good from others.
    let may_end = value.kind() == ValueKind::Iterable || own_type(value) == Some("MergeSeq");
    if may_end && value.try_iter().map_or(0, Iterator::count) != items.len() {
        return Err("a tag would consume an iterator that can be read only once: convert it to a list first".to_owned());
    }
    Ok(items)
}

fn number(value: &Value) -> Result<Datum<'_, Value>, String> {
    if value.is_integer() {
        if let Ok(number) = i128::try_from(value.clone()) {
            return Ok(Datum::Int(number));
        }
        if let Ok(number) = u128::try_from(value.clone()) {
            return Ok(Datum::UInt(number));
        }
    }
    f64::try_from(value.clone()).map(Datum::Float).map_err(|error| error.to_string())
}
