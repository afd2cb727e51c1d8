//! Numbers of all types and forms, in one normalized form.
//!
//! Databases compare an integer with a float, a decimal or a text through `f64`,
//! and some store a float in a text column with 15 digits. So every number
//! becomes the nearest `f64`, rounded to 15 digits. A fraction is then rounded to
//! an `f32`, so that a column of single precision matches a condition of double
//! precision, and to the 6 digits that MySQL prints. Whole numbers are exact up
//! to 15 digits, except those that are a date with time.

use std::fmt::Write;

use super::temporal;

/// The number of digits that an `f64` preserves of any decimal number.
const DIGITS: usize = 15;

/// The first whole number with more digits.
const EXACT: u64 = 1_000_000_000_000_000;

pub(super) fn spell_int(value: i128, out: &mut String) {
    // 64 bits print several times faster than 128.
    match i64::try_from(value) {
        Ok(short) if short.unsigned_abs() < EXACT => {
            let _ = write!(out, "{}", as_date(short));
        }
        _ => spell_float(value as f64, out),
    }
}

/// The least number of 14 digits.
const DATE_TIME: i64 = 10_000_000_000_000;

/// A date with time loses the time, as in a date column.
fn as_date(number: i64) -> i64 {
    if number < DATE_TIME {
        return number;
    }
    let date = u64::try_from(number).ok().and_then(temporal::date_of);
    date.and_then(|date| i64::try_from(date).ok()).unwrap_or(number)
}

/// Whether a column of single precision could treat other values as equal to a
/// float, or print it differently: a whole number that it has no digits for.
pub(super) fn is_rounded(value: f64) -> bool {
    let value = to_digits(value);
    value.fract() == 0.0 && value.abs() >= 1e6 && f64::from(value as f32) == value
}

/// Rounded to 15 digits. `f64` can read what it prints.
fn to_digits(value: f64) -> f64 {
    if value.fract() == 0.0 {
        return value;
    }
    format!("{value:.14e}").parse().unwrap_or(value)
}

pub(super) fn spell_uint(value: u128, out: &mut String) {
    match i128::try_from(value) {
        Ok(value) => spell_int(value, out),
        Err(_) => spell_float(value as f64, out),
    }
}

/// Writing to a String cannot fail.
pub(super) fn spell_float(value: f64, out: &mut String) {
    let rounded = to_digits(value);
    if rounded.fract() == 0.0 {
        return spell_whole(rounded, out);
    }
    let single = format!("{:.5e}", rounded as f32).parse::<f32>().unwrap_or_default();
    if single.fract() == 0.0 {
        return spell_whole(f64::from(single), out);
    }
    let _ = write!(out, "{single}");
}

fn spell_whole(value: f64, out: &mut String) {
    if value == 0.0 {
        out.push('0');
        return;
    }
    let digits = format!("{:.0}", value.abs());
    if digits.len() <= DIGITS {
        push_digits(value < 0.0, &digits, out);
        return;
    }
    if value < 0.0 {
        out.push('-');
    }
    let (head, tail) = digits.split_at(DIGITS);
    let mut head = head.parse::<u64>().unwrap_or_default();
    let mut exponent = tail.len();
    // Half is rounded up, as databases print it.
    head += u64::from(tail.as_bytes()[0] >= b'5');
    while head % 10 == 0 && head > 0 {
        head /= 10;
        exponent += 1;
    }
    let _ = write!(out, "{head}e{exponent}");
}

/// Decimal numbers of any length, with sign, fraction and exponent, and the other
/// forms that databases accept: `1_000`, `0x1F`. Returns whether it was a number.
pub(super) fn spell_text(text: &str, out: &mut String) -> bool {
    let (negative, digits) = match text.as_bytes() {
        [b'-', ..] => (true, &text[1..]),
        [b'+', ..] => (false, &text[1..]),
        _ => (false, text),
    };
    if !digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return false;
    }
    if digits.contains('_') {
        return match without_separators(digits) {
            Some(plain) => spell_digits(negative, &plain, out),
            None => false,
        };
    }
    spell_digits(negative, digits, out)
}

/// Removes underscores, each of which must be between two digits.
fn without_separators(digits: &str) -> Option<String> {
    let bytes = digits.as_bytes();
    let is_digit = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_hexdigit);
    let fits = |(at, _)| at > 0 && is_digit(at + 1) && (is_digit(at - 1) || at == 2);
    digits.match_indices('_').all(fits).then(|| digits.replace('_', ""))
}

fn spell_digits(negative: bool, digits: &str, out: &mut String) -> bool {
    if let Some(value) = of_radix(digits) {
        if negative && value > 0 {
            out.push('-');
        }
        spell_uint(value, out);
        return true;
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
    let whole = whole.trim_start_matches('0');
    if exponent.is_none() && whole.len() <= DIGITS && fraction.bytes().all(|b| b == b'0') {
        push_digits(negative, whole, out);
        return true;
    }
    match digits.parse::<f64>() {
        Ok(number) if number.is_finite() => {
            spell_float(if negative { -number } else { number }, out);
            true
        }
        Ok(_) => {
            spell_beyond(negative, whole, fraction, exponent.unwrap_or("0"), out);
            true
        }
        Err(_) => false,
    }
}

/// Appends a whole number of at most 15 digits, without leading zeros.
fn push_digits(negative: bool, digits: &str, out: &mut String) {
    if digits.is_empty() {
        return out.push('0');
    }
    if negative {
        out.push('-');
    } else if digits.len() == 14
        && let Some(date) = digits.parse().ok().and_then(temporal::date_of)
    {
        let _ = write!(out, "{date}");
        return;
    }
    out.push_str(digits);
}

/// `0x1F`, `0o17` and `0b11`.
fn of_radix(digits: &str) -> Option<u128> {
    let radix = match digits.as_bytes() {
        [b'0', b'x' | b'X', ..] => 16,
        [b'0', b'o' | b'O', ..] => 8,
        [b'0', b'b' | b'B', ..] => 2,
        _ => return None,
    };
    u128::from_str_radix(&digits[2..], radix).ok()
}

/// A number beyond all floats: its first digits, and its order of magnitude.
fn spell_beyond(negative: bool, whole: &str, fraction: &str, exponent: &str, out: &mut String) {
    let exponent: i64 = exponent.parse().unwrap_or(i64::MAX);
    // Without leading zeros `whole` may be empty, and then the fraction
    // leads.
    let skipped = fraction.len() - fraction.trim_start_matches('0').len();
    let order = if whole.is_empty() { -(skipped as i64) } else { whole.len() as i64 };
    let digits = whole.bytes().chain(fraction.bytes()).skip_while(|digit| *digit == b'0');
    let head: String = digits.take(DIGITS).map(char::from).collect();
    let sign = if negative { "-" } else { "" };
    let order = order.saturating_add(exponent);
    let _ = write!(out, "{sign}.{}e{order}", head.trim_end_matches('0'));
}
