//! Values that databases accept in several forms: UUIDs, addresses, booleans.
//! Also values with so many forms that none can be chosen.

use std::fmt::Write;
use std::net::IpAddr;

use super::number;

/// UUIDs in the forms that databases and libraries print: with hyphens, braces,
/// `urn:uuid:`, capitals, or 32 digits only.
pub(super) fn spell_uuid(text: &str, out: &mut String) -> bool {
    let text = match text.get(..9) {
        Some(urn) if urn.eq_ignore_ascii_case("urn:uuid:") => &text[9..],
        _ => text,
    };
    let text = text.strip_prefix('{').and_then(|t| t.strip_suffix('}')).unwrap_or(text);
    match hex_digits::<32>(text, b"-") {
        Some(digits) => spell_uuid_digits(&digits, out),
        None => return false,
    }
    true
}

pub(super) fn spell_uuid_bytes(bytes: &[u8; 16], out: &mut String) {
    let mut digits = [0; 32];
    for (pair, byte) in digits.chunks_mut(2).zip(bytes) {
        pair.copy_from_slice(&[hex(byte >> 4), hex(byte & 15)]);
    }
    spell_uuid_digits(&digits, out);
}

/// A UUID of decimal digits alone could also be a number, and is normalized as
/// one.
fn spell_uuid_digits(digits: &[u8; 32], out: &mut String) {
    let digits = std::str::from_utf8(digits).unwrap_or_default();
    if number::spell_text(digits, out) {
        return;
    }
    for (at, digit) in digits.chars().enumerate() {
        if matches!(at, 8 | 12 | 16 | 20) {
            out.push('-');
        }
        out.push(digit);
    }
}

/// Hardware addresses, long and short, in the forms that PostgreSQL accepts;
/// nothing if it is none. One with eight parts is also an internet address.
pub(super) fn spell_mac(text: &str, out: &mut String) -> Option<bool> {
    let padded = padded_mac(text);
    let text = padded.as_deref().unwrap_or(text);
    let mut digits = match hex_digits::<12>(text, b":-.") {
        Some(digits) => digits.to_vec(),
        None => hex_digits::<16>(text, b":-.")?.to_vec(),
    };
    if digits.get(6..10) == Some(b"fffe") && digits.len() == 16 {
        digits.drain(6..10);
    }
    let digits = std::str::from_utf8(&digits).unwrap_or_default();
    if !number::spell_text(digits, out) {
        out.push_str(digits);
    }
    Some(text.parse::<IpAddr>().is_err())
}

/// `8:0:2b:1:2:a` with both digits of each part.
fn padded_mac(text: &str) -> Option<String> {
    let parts = || text.split([':', '-']);
    let is_part =
        |part: &str| matches!(part.len(), 1 | 2) && part.bytes().all(|b| b.is_ascii_hexdigit());
    if !(11..17).contains(&text.len()) || parts().count() != 6 || !parts().all(is_part) {
        return None;
    }
    Some(parts().map(|part| format!("{part:0>2}")).collect())
}

/// The hexadecimal digits in lower case, if there are only digits between
/// separators.
fn hex_digits<const N: usize>(text: &str, separators: &[u8]) -> Option<[u8; N]> {
    // No form has more than one separator for two digits.
    if text.len() < N || text.len() >= N + N / 2 {
        return None;
    }
    let mut digits = [0; N];
    let mut count = 0;
    let is_edge = |byte: Option<&u8>| byte.is_some_and(|byte| separators.contains(byte));
    if is_edge(text.as_bytes().first()) || is_edge(text.as_bytes().last()) {
        return None;
    }
    for byte in text.bytes().filter(|byte| !separators.contains(byte)) {
        *digits.get_mut(count).filter(|_| byte.is_ascii_hexdigit())? = byte.to_ascii_lowercase();
        count += 1;
    }
    (count == N).then_some(digits)
}

pub(super) fn hex(nibble: u8) -> u8 {
    b"0123456789abcdef"[usize::from(nibble & 15)]
}

/// The bytes that PostgreSQL prints as `\x6162`.
pub(super) fn hex_bytes(text: &str) -> Option<Vec<u8>> {
    let digits = text.strip_prefix("\\x").or_else(|| text.strip_prefix("\\X"))?;
    let value = |digit: &u8| char::from(*digit).to_digit(16);
    let byte = |pair: &[u8]| match pair {
        [high, low] => u8::try_from(value(high)? * 16 + value(low)?).ok(),
        _ => None,
    };
    digits.as_bytes().chunks(2).map(byte).collect()
}

/// Internet addresses. The mask of a single host is ignored. If the text after a
/// slash is not a number, it is plain text.
pub(super) fn spell_address(text: &str, out: &mut String) -> bool {
    let (address, mask) = match text.split_once('/') {
        Some((address, mask)) => match mask.parse::<u8>() {
            Ok(mask) => (address, Some(mask)),
            Err(_) => return false,
        },
        None => (text, None),
    };
    let Ok(address) = address.parse::<IpAddr>() else { return false };
    let _ = write!(out, "{address}");
    let host = if address.is_ipv4() { 32 } else { 128 };
    if let Some(mask) = mask.filter(|mask| *mask != host) {
        let _ = write!(out, "/{mask}");
    }
    true
}

/// What PostgreSQL accepts as a boolean: the words, and their beginnings.
pub(super) fn boolean(word: &str) -> Option<bool> {
    if word.len() > 5 {
        return None;
    }
    let is = |known: &[&str]| known.iter().any(|known| word.eq_ignore_ascii_case(known));
    if is(&["t", "tr", "tru", "true", "y", "ye", "yes", "on"]) {
        Some(true)
    } else if is(&["f", "fa", "fal", "fals", "false", "n", "no", "of", "off"]) {
        Some(false)
    } else {
        None
    }
}

/// Infinite numbers and dates.
pub(super) fn infinity(word: &str) -> Option<&'static str> {
    let bare = word.strip_prefix(['+', '-']).unwrap_or(word);
    let is_infinite = bare.eq_ignore_ascii_case("inf") || bare.eq_ignore_ascii_case("infinity");
    is_infinite.then_some(if word.starts_with('-') { "-inf" } else { "inf" })
}

/// Text that a column type accepts in too many forms: arrays, JSON, ranges, rows
/// and points by their brackets, `hstore`, intervals, money, and pairs with a
/// slash.
pub(super) fn has_many_forms(text: &str) -> bool {
    text.starts_with(['{', '[', '(', '<', '"'])
        || text.contains("=>")
        || is_pair(text)
        || (text.bytes().any(|b| b.is_ascii_digit()) && (is_money(text) || is_span(text)))
}

/// `$1,234.50`: the digits of a number, and what a locale puts around them.
fn is_money(text: &str) -> bool {
    const SIGNS: [char; 6] = ['$', '€', '£', '¥', '₹', '₩'];
    let fits = |c: char| c.is_ascii_digit() || " ,.'+-()".contains(c) || SIGNS.contains(&c);
    text.contains(|c| c == ',' || SIGNS.contains(&c)) && text.chars().all(fits)
}

/// `0/16B3748` of a log position, `10.1/16` of a network.
fn is_pair(text: &str) -> bool {
    let is_hex = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_hexdigit());
    let is_net = |part: &str| part.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    text.split_once('/').is_some_and(|(one, other)| {
        is_hex(other) && (is_hex(one) || (is_net(one) && !one.is_empty()))
    })
}

/// The units of intervals, short and full.
const UNITS: [&str; 37] = [
    "y",
    "yr",
    "yrs",
    "year",
    "years",
    "mon",
    "mons",
    "month",
    "months",
    "w",
    "week",
    "weeks",
    "d",
    "day",
    "days",
    "h",
    "hr",
    "hrs",
    "hour",
    "hours",
    "m",
    "min",
    "mins",
    "minute",
    "minutes",
    "s",
    "sec",
    "secs",
    "second",
    "seconds",
    "ms",
    "us",
    "decade",
    "decades",
    "century",
    "centuries",
    "ago",
];

/// `1 day`, `P1DT2H`.
fn is_span(text: &str) -> bool {
    if text.len() > 128 || !text.is_ascii() {
        return false;
    }
    if let [b'P' | b'p', b'0'..=b'9' | b'T' | b't' | b'-', ..] = text.as_bytes() {
        return text.ends_with(|c: char| c.is_ascii_alphabetic());
    }
    let starts = |c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '@' | '.');
    if !text.starts_with(starts) {
        return false;
    }
    let mut words = text.split(|c: char| !c.is_ascii_alphabetic()).filter(|word| !word.is_empty());
    let is_unit = |word: &str| UNITS.iter().any(|unit| word.eq_ignore_ascii_case(unit));
    text.bytes().any(|b| b.is_ascii_digit())
        && words.next().is_some_and(is_unit)
        && words.all(is_unit)
}
