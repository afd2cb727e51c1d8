//! How the place of a fragment escapes, as a part of its key.

use cacheops::KeyWriter;
use minijinja::AutoEscape;

/// Writes how the place escapes: one body gives another text by it.
pub(crate) fn write_escaping(mode: &AutoEscape, key: &mut KeyWriter) {
    match mode {
        AutoEscape::None => key.none(),
        AutoEscape::Html => key.bool(true),
        AutoEscape::Custom(name) => key.str(name),
        other => key.variant(&format!("{other:?}"), 0),
    }
}
