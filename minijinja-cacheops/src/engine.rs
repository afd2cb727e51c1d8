//! MiniJinja, for what the plugins of all engines share.

use cacheops::QuerySet;
use cacheops::template::{Datum, Engine};
use minijinja::value::ValueKind;
use minijinja::{Error, ErrorKind, Value};
use serde::Deserialize;

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

fn items(value: &Value) -> Result<Vec<Value>, String> {
    Ok(value.try_iter().map_err(|error| error.to_string())?.collect())
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
