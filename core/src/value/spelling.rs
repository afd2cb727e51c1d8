//! One normalized form for all values that a database could treat as equal.
//!
//! Merging too much only invalidates too much. So every doubt is decided in
//! favour of merging: text that looks like a number is normalized as that number,
//! letters lose their case and accents, and an instant becomes its day in UTC. If
//! a value could be equal to several values that differ among themselves, it has
//! no normalized form. A condition on it narrows nothing, and a row with it
//! matches everything.

use sha1::{Digest, Sha1};

use super::{Scalar, forms, letters, number, temporal};

/// The normalized form of NULL. No text has it, because texts are in lower case.
const NULL: &str = "None";

/// Longer forms are replaced by their digest, because they are part of keys; in
/// bytes.
const LONGEST: usize = 64;

/// Appends the normalized form of `value` to `out`. Returns false if the result
/// does not represent all values that could be equal.
#[must_use]
pub(crate) fn spell(value: &Scalar, out: &mut String) -> bool {
    let start = out.len();
    let stands = match value {
        Scalar::Null => {
            out.push_str(NULL);
            true
        }
        Scalar::Bool(value) => {
            out.push(if *value { '1' } else { '0' });
            true
        }
        Scalar::Int(value) => {
            number::spell_int(*value, out);
            true
        }
        Scalar::BigInt(value) => {
            number::spell_uint(*value, out);
            true
        }
        Scalar::Float(value) => {
            number::spell_float(*value, out);
            !number::is_rounded(*value)
        }
        Scalar::Text(text) => spell_text(text, out),
        Scalar::Bytes(bytes) => spell_bytes(bytes, out),
    };
    if out.len() - start > LONGEST {
        let digest = Sha1::digest(&out.as_bytes()[start..]);
        out.truncate(start);
        out.push('#');
        push_hex(&digest, out);
    }
    stands
}

fn spell_text(text: &str, out: &mut String) -> bool {
    if text.is_ascii() {
        if !text.bytes().any(letters::is_ignored_byte) {
            return spell_ascii(text, out);
        }
        let shown = |c: &char| !letters::is_ignored_byte(*c as u8);
        return spell_ascii(&text.chars().filter(shown).collect::<String>(), out);
    }
    // Digits, spaces and letters have forms beyond ASCII.
    let (folded, all_agree) = letters::fold(text);
    if folded.is_ascii() {
        return spell_ascii(&folded, out) && all_agree;
    }
    out.push_str(folded.trim_end_matches(' '));
    all_agree && is_plain(folded.trim())
}

/// Whether no column type accepts the text in many forms, of which this is one.
fn is_plain(text: &str) -> bool {
    !forms::has_many_forms(text) && !temporal::begins_like_one(text)
}

fn spell_ascii(text: &str, out: &mut String) -> bool {
    // Columns of other types accept text with white space around it.
    let bare = text.trim_matches(|c: char| c.is_ascii_whitespace() || c == '\u{b}');
    if number::spell_text(bare, out) {
        return true;
    }
    match temporal::spell(bare, out) {
        Some(stands) => return stands,
        None if forms::spell_uuid(bare, out) => return true,
        None => {}
    }
    if let Some(stands) = forms::spell_mac(bare, out) {
        return stands;
    }
    if forms::spell_address(bare, out) {
        return true;
    }
    if let Some(value) = forms::boolean(bare) {
        out.push(if value { '1' } else { '0' });
        return true;
    }
    if let Some(infinity) = forms::infinity(bare) {
        out.push_str(infinity);
        return true;
    }
    if let Some(bytes) = forms::hex_bytes(bare) {
        return spell_bytes(&bytes, out);
    }
    // CHAR(n) and the PAD SPACE collations ignore trailing spaces in
    // comparisons.
    let text = text.trim_end_matches(' ');
    out.extend(text.bytes().map(|b| char::from(b.to_ascii_lowercase())));
    is_plain(bare)
}

fn spell_bytes(bytes: &[u8], out: &mut String) -> bool {
    let text = std::str::from_utf8(bytes);
    match (<&[u8; 16]>::try_from(bytes), text) {
        (Ok(uuid), text) => {
            forms::spell_uuid_bytes(uuid, out);
            // It could be text of 16 bytes as well as a UUID.
            text.is_err()
        }
        (Err(_), Ok(text)) => spell_text(text, out) && !is_bits(bytes),
        (Err(_), Err(_)) => {
            out.push_str("0x");
            push_hex(bytes, out);
            !is_bits(bytes)
        }
    }
}

/// A possible value of MySQL's `BIT`, which is a number.
fn is_bits(bytes: &[u8]) -> bool {
    bytes.len() <= 8 && bytes.iter().any(|b| letters::is_ignored_byte(*b) || !b.is_ascii())
}

fn push_hex(bytes: &[u8], out: &mut String) {
    let digits = |byte: &u8| [forms::hex(byte >> 4), forms::hex(byte & 15)];
    out.extend(bytes.iter().flat_map(digits).map(char::from));
}

#[cfg(test)]
#[path = "spelling_tests.rs"]
mod tests;
