//! Fragment keys, and the encoding of what they cover.

mod serializer;

use std::fmt;
use std::str::FromStr;

use serde::Serialize;
use sha1::{Digest, Sha1};

use crate::error::Error;
use crate::value::Scalar;

/// The key of a fragment: the SHA-1 of everything that identifies it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FragmentKey([u8; 20]);

impl FragmentKey {
    /// The twenty bytes of the hash.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 20] {
        &self.0
    }
}

impl FragmentKey {
    /// The forty hexadecimal digits that a key prints.
    pub(crate) fn digits(&self) -> [u8; 40] {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        std::array::from_fn(|n| {
            let byte = self.0[n / 2];
            DIGITS[usize::from(if n % 2 == 0 { byte >> 4 } else { byte & 0xF })]
        })
    }
}

/// Reads the forty hexadecimal digits that a key prints.
///
/// ```
/// use cacheops::{FragmentKey, KeyWriter};
///
/// let key = KeyWriter::new().finish();
/// assert_eq!(key.to_string().parse::<FragmentKey>()?, key);
/// assert!("a1".parse::<FragmentKey>().is_err());
/// # Ok::<_, cacheops::ParseKeyError>(())
/// ```
impl FromStr for FragmentKey {
    type Err = ParseKeyError;

    fn from_str(digits: &str) -> Result<Self, ParseKeyError> {
        let digits: &[u8; 40] = digits.as_bytes().try_into().map_err(|_| ParseKeyError(()))?;
        let mut key = [0; 20];
        for (byte, pair) in key.iter_mut().zip(digits.chunks(2)) {
            for digit in pair {
                let value = char::from(*digit).to_digit(16).ok_or(ParseKeyError(()))?;
                *byte = (*byte << 4) | u8::try_from(value).map_err(|_| ParseKeyError(()))?;
            }
        }
        Ok(FragmentKey(key))
    }
}

/// A text that is not the printed form of a [`FragmentKey`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseKeyError(());

impl fmt::Display for ParseKeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the key of a fragment has forty hexadecimal digits")
    }
}

impl std::error::Error for ParseKeyError {}

/// In hexadecimal digits.
impl fmt::Display for FragmentKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.digits();
        digits.iter().try_for_each(|digit| fmt::Write::write_char(f, char::from(*digit)))
    }
}

impl fmt::Debug for FragmentKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FragmentKey({self})")
    }
}

/// Writes the parts of a key so that different lists of parts always give
/// different bytes. Every part begins with its type. A part with a length writes
/// the length before the content.
///
/// ```
/// use cacheops::KeyWriter;
///
/// let mut one = KeyWriter::new();
/// one.str("ab");
/// one.str("c");
/// let mut other = KeyWriter::new();
/// other.str("a");
/// other.str("bc");
/// assert_ne!(one.finish(), other.finish());
/// ```
#[derive(Clone, Debug, Default)]
pub struct KeyWriter {
    bytes: Vec<u8>,
    /// Whether `0.0` and `-0.0` are different.
    keeps_signs: bool,
    /// Whether a negative zero was written.
    has_negative_zero: bool,
}

/// The types of parts. A new type gets a new number; numbers are never reused.
mod part {
    pub(super) const NONE: u8 = 0;
    pub(super) const FALSE: u8 = 1;
    pub(super) const TRUE: u8 = 2;
    pub(super) const INT: u8 = 3;
    pub(super) const BIG_INT: u8 = 4;
    pub(super) const FLOAT: u8 = 5;
    pub(super) const STR: u8 = 6;
    pub(super) const BYTES: u8 = 7;
    pub(super) const LIST: u8 = 8;
    pub(super) const MAP: u8 = 9;
    pub(super) const VARIANT: u8 = 10;
    pub(super) const KEY: u8 = 11;
    pub(super) const SHORT_INT: u8 = 12;
}

impl KeyWriter {
    /// An empty key.
    #[must_use]
    pub fn new() -> Self {
        KeyWriter { bytes: Vec::with_capacity(256), ..KeyWriter::empty() }
    }

    /// An empty key that will probably stay empty.
    pub(crate) fn empty() -> Self {
        KeyWriter { bytes: Vec::new(), keeps_signs: false, has_negative_zero: false }
    }

    /// An empty key in which `0.0` and `-0.0` are different, because they
    /// print differently.
    pub(crate) fn with_signs() -> Self {
        KeyWriter { keeps_signs: true, ..KeyWriter::empty() }
    }

    /// Whether a key [with signs](Self::with_signs) would have other bytes.
    pub(crate) fn has_negative_zero(&self) -> bool {
        self.has_negative_zero
    }

    /// An empty key for a part of this one.
    fn part(&self) -> Self {
        KeyWriter { keeps_signs: self.keeps_signs, ..KeyWriter::empty() }
    }

    fn append(&mut self, part: &KeyWriter) {
        self.bytes.extend_from_slice(&part.bytes);
        self.has_negative_zero |= part.has_negative_zero;
    }

    /// No value. This is a part too.
    pub fn none(&mut self) {
        self.bytes.push(part::NONE);
    }

    /// A boolean.
    pub fn bool(&mut self, value: bool) {
        self.bytes.push(if value { part::TRUE } else { part::FALSE });
    }

    /// An integer. All integer types of Rust are equal.
    pub fn int(&mut self, value: i128) {
        match i64::try_from(value) {
            Ok(short) => {
                self.bytes.push(part::SHORT_INT);
                self.bytes.extend_from_slice(&short.to_le_bytes());
            }
            Err(_) => {
                self.bytes.push(part::INT);
                self.bytes.extend_from_slice(&value.to_le_bytes());
            }
        }
    }

    /// An unsigned integer of up to 128 bits.
    pub fn uint(&mut self, value: u128) {
        match i128::try_from(value) {
            Ok(value) => self.int(value),
            Err(_) => {
                self.bytes.push(part::BIG_INT);
                self.bytes.extend_from_slice(&value.to_le_bytes());
            }
        }
    }

    /// A float, by its bits; the two zeros are equal.
    ///
    /// # Errors
    ///
    /// If the value is NaN, which equals nothing, not even itself.
    pub fn float(&mut self, value: f64) -> Result<(), Error> {
        if value.is_nan() {
            return Err(Error::invalid_extra(
                "NaN equals nothing, so no fragment could be found by it",
            ));
        }
        self.has_negative_zero |= value == 0.0 && value.is_sign_negative();
        self.bits(if value == 0.0 && !self.keeps_signs { 0.0 } else { value });
        Ok(())
    }

    fn bits(&mut self, value: f64) {
        self.bytes.push(part::FLOAT);
        self.bytes.extend_from_slice(&value.to_bits().to_le_bytes());
    }

    /// Text.
    pub fn str(&mut self, value: &str) {
        self.bytes.push(part::STR);
        self.length(value.len());
        self.bytes.extend_from_slice(value.as_bytes());
    }

    /// Binary data.
    pub fn bytes(&mut self, value: &[u8]) {
        self.bytes.push(part::BYTES);
        self.length(value.len());
        self.bytes.extend_from_slice(value);
    }

    /// A finished key as a part of another.
    pub fn key(&mut self, key: &FragmentKey) {
        self.bytes.push(part::KEY);
        self.bytes.extend_from_slice(&key.0);
    }

    /// The beginning of a list; the `len` parts that follow belong to it.
    pub fn list(&mut self, len: usize) {
        self.bytes.push(part::LIST);
        self.length(len);
    }

    /// The beginning of a named variant with `len` parts.
    pub fn variant(&mut self, name: &str, len: usize) {
        self.bytes.push(part::VARIANT);
        self.length(name.len());
        self.bytes.extend_from_slice(name.as_bytes());
        self.length(len);
    }

    /// A map of finished parts. They are sorted, so their order does not
    /// matter.
    pub fn map(&mut self, mut entries: Vec<(KeyWriter, KeyWriter)>) {
        entries.sort_by(|a, b| a.0.bytes.cmp(&b.0.bytes).then_with(|| a.1.bytes.cmp(&b.1.bytes)));
        self.bytes.push(part::MAP);
        self.length(entries.len());
        for (name, value) in entries {
            self.append(&name);
            self.append(&value);
        }
    }

    /// Any value that serde can write.
    ///
    /// A map and a `HashSet` have no order. Serde writes a set like a list,
    /// so a set is recognized by its Rust type. If the value comes from a
    /// template, or a type hides the set (with `serialize_with`, for
    /// example), it counts as a list in the order of its iteration. Use a
    /// `BTreeSet` there. Otherwise each order is another key.
    ///
    /// # Errors
    ///
    /// If the value contains NaN, or its `Serialize` implementation fails.
    pub fn serialize<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        serializer::encode(value, self)
    }

    /// An enum with data: a map of one entry, as self-describing formats and
    /// templates have it.
    fn tagged(&mut self, variant: &str, data: KeyWriter) {
        let mut name = self.part();
        name.str(variant);
        self.map(vec![(name, data)]);
    }

    pub(crate) fn scalar(&mut self, value: &Scalar) {
        match value {
            Scalar::Null => self.none(),
            Scalar::Bool(value) => self.bool(*value),
            Scalar::Int(value) => self.int(*value),
            Scalar::BigInt(value) => self.uint(*value),
            // A queryset's floats are finite: `QuerySet::check` saw to it. The
            // two zeros are two, since what is made from it may print them.
            Scalar::Float(value) => self.bits(*value),
            Scalar::Text(value) => self.str(value),
            Scalar::Bytes(value) => self.bytes(value),
        }
    }

    fn length(&mut self, length: usize) {
        // One byte for the lengths of nearly all parts; 255 announces eight.
        match u8::try_from(length) {
            Ok(short) if short < u8::MAX => self.bytes.push(short),
            _ => {
                self.bytes.push(u8::MAX);
                self.bytes.extend_from_slice(&(length as u64).to_le_bytes());
            }
        }
    }

    /// The key of what was written.
    #[must_use]
    pub fn finish(&self) -> FragmentKey {
        FragmentKey(Sha1::digest(&self.bytes).into())
    }

    /// What was written: equal exactly when the parts are.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Forgets what was written and keeps the room for it.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.has_negative_zero = false;
    }
}

#[cfg(test)]
mod tests;
