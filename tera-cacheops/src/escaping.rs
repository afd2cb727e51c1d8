//! The escaping mode at the place of a fragment, as a part of its key.

use std::sync::LazyLock;

use cacheops::KeyWriter;
use tera::{Context, State};

/// Each ASCII character that is not a letter or digit, some that are, line ends
/// and spaces of Unicode, and invisible characters; then the result of Tera's own
/// function for them. Each tag escapes this text, so it is no longer than
/// necessary.
static PROBE: LazyLock<(String, Option<String>)> = LazyLock::new(|| {
    let ascii = ('\0'..='\x7f').filter(|c| !c.is_ascii_alphanumeric());
    let others = "aZ0\u{85}\u{a0}\u{ad}\u{e9}\u{200b}\u{2028}\u{2029}\u{202e}\u{feff}\u{1f600}";
    let probe: String = ascii.chain(others.chars()).collect();
    let escaped = State::new(&Context::new()).escape(&probe).ok();
    (probe, escaped)
});

/// Writes how text is escaped. A clone of a Tera may have another function for
/// this, whose name it does not reveal. So the function is tried.
pub(crate) fn write_escaping(state: &State<'_>, key: &mut KeyWriter) {
    key.bool(state.autoescaping_enabled());
    if !state.autoescaping_enabled() {
        return;
    }
    let (probe, usual) = &*PROBE;
    match state.escape(probe) {
        Ok(escaped) if usual.as_ref() == Some(&escaped) => {}
        Ok(escaped) => key.str(&escaped),
        Err(error) => key.str(&error.to_string()),
    }
}
