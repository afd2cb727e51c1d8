//! The escaping mode at the place of a fragment, as a part of its key.

use cacheops::KeyWriter;
use minijinja::AutoEscape;

/// Writes the escaping mode, because the text of a body depends on it.
pub(crate) fn write_escaping(mode: &AutoEscape, key: &mut KeyWriter) {
    match mode {
        AutoEscape::None => key.none(),
        AutoEscape::Html => key.bool(true),
        AutoEscape::Custom(name) => key.str(name),
        other => key.variant(&format!("{other:?}"), 0),
    }
}
