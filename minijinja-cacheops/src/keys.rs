//! Values of templates as parts of keys.

use cacheops::KeyWriter;
use minijinja::value::ValueKind;
use minijinja::{AutoEscape, Value};

/// Writes a value of `extra`; the same bytes as serde gives for the Rust value
/// that it stands for, so that `invalidate_fragment_extra` finds it.
pub(crate) fn write(value: &Value, key: &mut KeyWriter) -> Result<(), String> {
    match value.kind() {
        ValueKind::Undefined => Err(
            "`extra` is undefined: fragments would be shared that should differ; give it a value, or `none` to mean that"
                .to_owned(),
        ),
        ValueKind::None => {
            key.none();
            Ok(())
        }
        ValueKind::Bool => {
            key.bool(value.is_true());
            Ok(())
        }
        ValueKind::Number => number(value, key),
        ValueKind::String => {
            key.str(value.as_str().unwrap_or_default());
            Ok(())
        }
        ValueKind::Bytes => {
            key.bytes(value.as_bytes().unwrap_or_default());
            Ok(())
        }
        ValueKind::Seq | ValueKind::Iterable => list(value, key),
        ValueKind::Map => map(value, key),
        other => Err(format!(
            "`extra` is {other}, and that cannot tell fragments apart: give a value such as its id"
        )),
    }
}

fn number(value: &Value, key: &mut KeyWriter) -> Result<(), String> {
    if value.is_integer() {
        if let Ok(number) = i128::try_from(value.clone()) {
            key.int(number);
            return Ok(());
        }
        if let Ok(number) = u128::try_from(value.clone()) {
            key.uint(number);
            return Ok(());
        }
    }
    match f64::try_from(value.clone()) {
        Ok(number) => key.float(number).map_err(|error| format!("`extra`: {}", error.detail())),
        Err(error) => Err(format!("`extra`: {error}")),
    }
}

fn list(value: &Value, key: &mut KeyWriter) -> Result<(), String> {
    let items: Vec<Value> = value.try_iter().map_err(|error| error.to_string())?.collect();
    key.list(items.len());
    items.iter().try_for_each(|item| write(item, key))
}

fn map(value: &Value, key: &mut KeyWriter) -> Result<(), String> {
    let mut entries = Vec::new();
    for name in value.try_iter().map_err(|error| error.to_string())? {
        let mut entry = (KeyWriter::default(), KeyWriter::default());
        write(&name, &mut entry.0)?;
        write(&value.get_item(&name).map_err(|error| error.to_string())?, &mut entry.1)?;
        entries.push(entry);
    }
    key.map(entries);
    Ok(())
}

/// Writes how the place escapes: one body gives another text by it.
pub(crate) fn write_escaping(mode: &AutoEscape, key: &mut KeyWriter) {
    match mode {
        AutoEscape::None => key.none(),
        AutoEscape::Html => key.bool(true),
        AutoEscape::Custom(name) => key.str(name),
        other => key.variant(&format!("{other:?}"), 0),
    }
}
