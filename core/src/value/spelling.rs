//! One spelling for all values that a database could hold equal.
//!
//! Merging too much only invalidates too much, so every doubt is decided for
//! merging: text that looks like a number is spelled as that number, letters
//! lose their case, an instant is spelled in UTC and whole seconds.

use std::fmt::Write;

use super::{Scalar, temporal};

/// The spelling of NULL; no text is spelled like it, since text is lowered.
const NULL: &str = "None";

/// Whole floats below this spell like the integer they are equal to.
const DIGITS_OF_F64: usize = 400;

/// Appends the canonical spelling of `value` to `out`.
pub(crate) fn spell(value: &Scalar, out: &mut String) {
    // Writing to a String cannot fail.
    let _ = match value {
        Scalar::Null => out.write_str(NULL),
        Scalar::Bool(value) => out.write_str(if *value { "1" } else { "0" }),
        // 64 bits print several times faster than 128.
        Scalar::Int(value) => match i64::try_from(*value) {
            Ok(value) => write!(out, "{value}"),
            Err(_) => write!(out, "{value}"),
        },
        Scalar::BigInt(value) => write!(out, "{value}"),
        Scalar::Float(value) => {
            spell_float(*value, out);
            Ok(())
        }
        Scalar::Text(text) => {
            spell_text(text, out);
            Ok(())
        }
        Scalar::Bytes(bytes) => {
            spell_bytes(bytes, out);
            Ok(())
        }
    };
}

/// Whole numbers exactly; others to the precision of an `f32`, so that a
/// column read as `f32` meets a condition written as `f64`.
fn spell_float(value: f64, out: &mut String) {
    let _ = if value == 0.0 {
        out.write_str("0")
    } else if value.fract() == 0.0 {
        write!(out, "{value:.0}")
    } else {
        // Fractions keep their sign even where `f32` underflows to zero.
        write!(out, "{}", value as f32)
    };
}

fn spell_text(text: &str, out: &mut String) {
    // Columns of other types take text with white space around it.
    let bare = text.trim_ascii();
    if spell_number(bare, out) || temporal::spell(bare, out) || spell_uuid(bare, out) {
        return;
    }
    // CHAR(n) and the PAD SPACE collations compare without trailing blanks.
    let text = text.trim_end_matches(' ');
    match text {
        _ if bare.eq_ignore_ascii_case("true") => out.push('1'),
        _ if bare.eq_ignore_ascii_case("false") => out.push('0'),
        _ if text.is_ascii() => {
            out.extend(text.bytes().map(|b| char::from(b.to_ascii_lowercase())))
        }
        // By way of capitals: `ß` meets `SS`, and both sigmas each other.
        _ => out.extend(text.chars().flat_map(char::to_uppercase).flat_map(char::to_lowercase)),
    }
}

fn spell_bytes(bytes: &[u8], out: &mut String) {
    match <[u8; 16]>::try_from(bytes) {
        // A UUID in a binary column.
        Ok(uuid) => spell_uuid_digits(uuid.iter().flat_map(|b| [b >> 4, b & 15]), out),
        Err(_) => match std::str::from_utf8(bytes) {
            Ok(text) => spell_text(text, out),
            Err(_) => {
                out.push_str("0x");
                out.extend(bytes.iter().flat_map(|b| [hex(b >> 4), hex(b & 15)]));
            }
        },
    }
}

fn hex(nibble: u8) -> char {
    char::from_digit(u32::from(nibble), 16).unwrap_or('0')
}

/// Decimal numbers of any length, with sign, fraction and exponent.
fn spell_number(text: &str, out: &mut String) -> bool {
    let (negative, digits) = match text.as_bytes() {
        [b'-', ..] => (true, &text[1..]),
        [b'+', ..] => (false, &text[1..]),
        _ => (false, text),
    };
    if !digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return false;
    }
    let (mantissa, exponent) = match digits.find(['e', 'E']) {
        Some(at) => (&digits[..at], Some(&digits[at + 1..])),
        None => (digits, None),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all_digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    if !all_digits(whole) || !all_digits(fraction) || (whole.is_empty() && fraction.is_empty()) {
        return false;
    }
    let fraction = fraction.trim_end_matches('0');
    if exponent.is_none() && fraction.is_empty() {
        spell_digits(negative, whole.trim_start_matches('0'), out);
        return true;
    }
    // What is left is not a whole number spelled plainly: f64 reads it. Text
    // beyond f64 stays text.
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() && text.len() <= DIGITS_OF_F64 => {
            spell_float(number, out);
            true
        }
        _ => false,
    }
}

fn spell_digits(negative: bool, digits: &str, out: &mut String) {
    if digits.is_empty() {
        out.push('0');
        return;
    }
    if negative {
        out.push('-');
    }
    out.push_str(digits);
}

/// UUIDs in the spellings that databases and libraries print: hyphens,
/// braces, `urn:uuid:`, capitals, or 32 digits only.
fn spell_uuid(text: &str, out: &mut String) -> bool {
    if !(32..=45).contains(&text.len()) || !text.is_ascii() {
        return false;
    }
    let text = text.strip_prefix("urn:uuid:").unwrap_or(text);
    let text = text.strip_prefix('{').and_then(|t| t.strip_suffix('}')).unwrap_or(text);
    let hyphened = text.len() == 36
        && text.bytes().enumerate().all(|(i, b)| (b == b'-') == matches!(i, 8 | 13 | 18 | 23));
    if !hyphened && text.len() != 32 {
        return false;
    }
    let digits = || text.chars().filter(|c| *c != '-').map(|c| c.to_digit(16));
    if digits().count() != 32 || digits().any(|digit| digit.is_none()) {
        return false;
    }
    spell_uuid_digits(digits().flatten().map(|digit| digit as u8), out);
    true
}

fn spell_uuid_digits(digits: impl Iterator<Item = u8>, out: &mut String) {
    for (i, digit) in digits.enumerate() {
        if matches!(i, 8 | 12 | 16 | 20) {
            out.push('-');
        }
        out.push(hex(digit));
    }
}

#[cfg(test)]
#[path = "spelling_tests.rs"]
mod tests;
