//! Tera, for what the plugins of all engines share.

use cacheops::QuerySet;
use cacheops::template::{Datum, Engine, Rules};
use serde::Deserialize;
use tera::value::{Key, ValueKind};
use tera::{Error, Value};

use crate::names::VARIABLE;
use crate::seal::{SEAL, seal_of};

/// How Tera parses templates. Its parser accepts 39 nested statements, and a tag
/// becomes two.
pub(crate) const RULES: Rules = Rules {
    blocks: &["for", "if", "filter", "block", "component"],
    max_depth: 19,
    balanced: false,
    plus_trim: false,
    backticks: true,
    components: true,
    reserved: Some(VARIABLE),
};

/// Statements of the engine, which cannot be names of tags.
pub(crate) const STATEMENTS: [&str; 14] = [
    "block",
    "break",
    "component",
    "continue",
    "elif",
    "else",
    "extends",
    "filter",
    "for",
    "if",
    "include",
    "raw",
    "set",
    "set_global",
];

/// Tera, as the shared code sees it.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct TeraEngine;

impl Engine for TeraEngine {
    type Value = Value;
    type Error = Error;

    fn read(value: &Value) -> Result<Datum<'_, Value>, String> {
        Ok(match value.kind() {
            ValueKind::Undefined => Datum::Undefined,
            ValueKind::None => Datum::None,
            ValueKind::Bool => Datum::Bool(value.as_bool().unwrap_or_default()),
            ValueKind::String => Datum::Text(value.as_str().unwrap_or_default()),
            ValueKind::Bytes => Datum::Bytes(value.as_bytes().unwrap_or_default()),
            ValueKind::F64 => Datum::Float(value.as_f64().unwrap_or(f64::NAN)),
            ValueKind::Array => Datum::List(value.as_array().unwrap_or_default().to_vec()),
            ValueKind::Map => {
                // What stands for a queryset's rows is another in each rendering.
                let is_sealed = seal_of(value).is_some();
                let own = |(key, _): &(&Key<'_>, &Value)| !is_sealed || key.as_str() != Some(SEAL);
                let pairs = value.as_map().into_iter().flatten().filter(own);
                Datum::Map(pairs.map(|(key, value)| (key.as_value(), value.clone())).collect())
            }
            _ => match (value.as_i128(), value.as_u128()) {
                (Some(number), _) => Datum::Int(number),
                (None, Some(number)) => Datum::UInt(number),
                (None, None) => Datum::Other(value.name().to_owned()),
            },
        })
    }

    fn is_safe(value: &Value) -> bool {
        value.is_string() && value.is_safe()
    }

    fn read_queryset(value: &Value) -> Result<QuerySet, String> {
        let read = |value: &Value| {
            QuerySet::deserialize(value).map_err(|error| {
                let why = error.to_string();
                why.strip_prefix("deserialization failed: ").map_or(why.clone(), str::to_owned)
            })
        };
        let Some(map) = value.as_map() else { return read(value) };
        if !map.contains_key(&Key::Str(SEAL)) {
            return read(value);
        }
        let mut map = map.clone();
        map.remove(&Key::Str(SEAL));
        read(&Value::from(map))
    }

    fn error(why: String) -> Error {
        Error::message(why)
    }
}
