//! Fragment keys, and the encoding of what they cover.

use std::fmt;

use serde::{Serialize, ser};
use sha1::{Digest, Sha1};

use crate::error::Error;
use crate::value::Scalar;

/// What a fragment is stored under: the SHA-1 of all that identifies it.
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
    /// Reads the forty hexadecimal digits that a key prints; `None` for
    /// anything else.
    #[must_use]
    pub fn from_hex(digits: &str) -> Option<Self> {
        let digits: &[u8; 40] = digits.as_bytes().try_into().ok()?;
        let mut key = [0; 20];
        for (byte, pair) in key.iter_mut().zip(digits.chunks(2)) {
            let value = |digit: &u8| char::from(*digit).to_digit(16);
            let (high, low) = (value(&pair[0])?, value(&pair[1])?);
            *byte = u8::try_from(high * 16 + low).ok()?;
        }
        Some(FragmentKey(key))
    }

    /// The forty hexadecimal digits that a key prints.
    pub(crate) fn digits(&self) -> [u8; 40] {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        std::array::from_fn(|n| {
            let byte = self.0[n / 2];
            DIGITS[usize::from(if n % 2 == 0 { byte >> 4 } else { byte & 0xF })]
        })
    }
}

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

/// Writes the parts of a key so that no two different lists of parts give the
/// same bytes: every part begins with its type, and whatever has a length
/// says it before its content.
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
}

/// The types of parts; a new one gets a new number, none is ever reused.
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
        KeyWriter { bytes: Vec::with_capacity(256) }
    }

    /// An empty key that is likely to stay so.
    pub(crate) fn empty() -> Self {
        KeyWriter { bytes: Vec::new() }
    }

    /// Nothing, which is a part too.
    pub fn none(&mut self) {
        self.bytes.push(part::NONE);
    }

    /// A boolean.
    pub fn bool(&mut self, value: bool) {
        self.bytes.push(if value { part::TRUE } else { part::FALSE });
    }

    /// An integer; all integer types of Rust are one.
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

    /// An integer of up to 128 bits without sign.
    pub fn uint(&mut self, value: u128) {
        match i128::try_from(value) {
            Ok(value) => self.int(value),
            Err(_) => {
                self.bytes.push(part::BIG_INT);
                self.bytes.extend_from_slice(&value.to_le_bytes());
            }
        }
    }

    /// A float, by its bits; the two zeros are one.
    ///
    /// # Errors
    ///
    /// NaN is refused: it equals nothing, not even itself.
    pub fn float(&mut self, value: f64) -> Result<(), Error> {
        if value.is_nan() {
            return Err(Error::invalid_extra(
                "NaN equals nothing, so no fragment could be found by it",
            ));
        }
        let value = if value == 0.0 { 0.0 } else { value };
        self.bytes.push(part::FLOAT);
        self.bytes.extend_from_slice(&value.to_bits().to_le_bytes());
        Ok(())
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

    /// The beginning of something named with `len` parts.
    pub fn variant(&mut self, name: &str, len: usize) {
        self.bytes.push(part::VARIANT);
        self.length(name.len());
        self.bytes.extend_from_slice(name.as_bytes());
        self.length(len);
    }

    /// A map of finished parts, whose order must not matter: they are sorted.
    pub fn map(&mut self, mut entries: Vec<(KeyWriter, KeyWriter)>) {
        entries.sort_by(|a, b| a.0.bytes.cmp(&b.0.bytes).then_with(|| a.1.bytes.cmp(&b.1.bytes)));
        self.bytes.push(part::MAP);
        self.length(entries.len());
        for (name, value) in entries {
            self.bytes.extend_from_slice(&name.bytes);
            self.bytes.extend_from_slice(&value.bytes);
        }
    }

    /// Anything that serde can write.
    ///
    /// # Errors
    ///
    /// NaN, and whatever the value's own `Serialize` refuses.
    pub fn serialize<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        value.serialize(Encoder(self)).map_err(|Refused(error)| error)
    }

    /// An enum with data: a map of one entry, as self-describing formats and
    /// templates have it.
    fn tagged(&mut self, variant: &str, data: KeyWriter) {
        let mut name = KeyWriter::default();
        name.str(variant);
        self.map(vec![(name, data)]);
    }

    pub(crate) fn scalar(&mut self, value: &Scalar) {
        match value {
            Scalar::Null => self.none(),
            Scalar::Bool(value) => self.bool(*value),
            Scalar::Int(value) => self.int(*value),
            Scalar::BigInt(value) => self.uint(*value),
            // A queryset's floats are finite: `QuerySet::check` saw to it.
            Scalar::Float(value) => self.float(*value).unwrap_or_default(),
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
    }
}

#[derive(Debug)]
struct Refused(Error);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Refused {}

impl ser::Error for Refused {
    fn custom<T: fmt::Display>(msg: T) -> Self {
        Refused(Error::invalid_extra(msg.to_string()))
    }
}

/// Writes what serde says into a key. A list of unknown length is gathered
/// first, since its length comes before its parts; a map is sorted.
struct Encoder<'a>(&'a mut KeyWriter);

macro_rules! plain {
    ($($method:ident($value:ident: $type:ty) $key:ident $write:expr;)*) => {$(
        fn $method(self, $value: $type) -> Result<(), Refused> {
            let $key = self.0;
            $write;
            Ok(())
        }
    )*};
}

impl<'a> ser::Serializer for Encoder<'a> {
    type Ok = ();
    type Error = Refused;
    type SerializeSeq = Parts<'a>;
    type SerializeTuple = Parts<'a>;
    type SerializeTupleStruct = Parts<'a>;
    type SerializeTupleVariant = Parts<'a>;
    type SerializeMap = Entries<'a>;
    type SerializeStruct = Entries<'a>;
    type SerializeStructVariant = Entries<'a>;

    plain! {
        serialize_bool(v: bool) key key.bool(v);
        serialize_i8(v: i8) key key.int(v.into());
        serialize_i16(v: i16) key key.int(v.into());
        serialize_i32(v: i32) key key.int(v.into());
        serialize_i64(v: i64) key key.int(v.into());
        serialize_i128(v: i128) key key.int(v);
        serialize_u8(v: u8) key key.int(v.into());
        serialize_u16(v: u16) key key.int(v.into());
        serialize_u32(v: u32) key key.int(v.into());
        serialize_u64(v: u64) key key.int(v.into());
        serialize_u128(v: u128) key key.uint(v);
        serialize_char(v: char) key key.str(v.encode_utf8(&mut [0; 4]));
        serialize_str(v: &str) key key.str(v);
        serialize_bytes(v: &[u8]) key key.bytes(v);
        serialize_unit_struct(_v: &'static str) key key.none();
    }

    fn serialize_f32(self, value: f32) -> Result<(), Refused> {
        self.serialize_f64(value.into())
    }

    fn serialize_f64(self, value: f64) -> Result<(), Refused> {
        self.0.float(value).map_err(Refused)
    }

    fn serialize_none(self) -> Result<(), Refused> {
        self.serialize_unit()
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Refused> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), Refused> {
        self.0.none();
        Ok(())
    }

    fn serialize_unit_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
    ) -> Result<(), Refused> {
        self.0.str(variant);
        Ok(())
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        value: &T,
    ) -> Result<(), Refused> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), Refused> {
        let mut data = KeyWriter::default();
        value.serialize(Encoder(&mut data))?;
        self.0.tagged(variant, data);
        Ok(())
    }

    fn serialize_seq(self, _len: Option<usize>) -> Result<Parts<'a>, Refused> {
        Ok(Parts::new(self.0, None))
    }

    fn serialize_tuple(self, _len: usize) -> Result<Parts<'a>, Refused> {
        Ok(Parts::new(self.0, None))
    }

    fn serialize_tuple_struct(
        self,
        _name: &'static str,
        _len: usize,
    ) -> Result<Parts<'a>, Refused> {
        Ok(Parts::new(self.0, None))
    }

    fn serialize_tuple_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        _len: usize,
    ) -> Result<Parts<'a>, Refused> {
        Ok(Parts::new(self.0, Some(variant)))
    }

    fn serialize_map(self, _len: Option<usize>) -> Result<Entries<'a>, Refused> {
        Ok(Entries::new(self.0))
    }

    fn serialize_struct(self, _name: &'static str, _len: usize) -> Result<Entries<'a>, Refused> {
        Ok(Entries::new(self.0))
    }

    fn serialize_struct_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        _len: usize,
    ) -> Result<Entries<'a>, Refused> {
        Ok(Entries { variant: Some(variant), ..Entries::new(self.0) })
    }
}

struct Parts<'a> {
    key: &'a mut KeyWriter,
    parts: KeyWriter,
    len: usize,
    variant: Option<&'static str>,
}

impl<'a> Parts<'a> {
    fn new(key: &'a mut KeyWriter, variant: Option<&'static str>) -> Self {
        Parts { key, parts: KeyWriter::default(), len: 0, variant }
    }

    fn part<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Refused> {
        self.len += 1;
        value.serialize(Encoder(&mut self.parts))
    }

    fn finish(self) {
        let mut list = KeyWriter::default();
        list.list(self.len);
        list.bytes.extend_from_slice(&self.parts.bytes);
        match self.variant {
            Some(variant) => self.key.tagged(variant, list),
            None => self.key.bytes.extend_from_slice(&list.bytes),
        }
    }
}

struct Entries<'a> {
    key: &'a mut KeyWriter,
    entries: Vec<(KeyWriter, KeyWriter)>,
    variant: Option<&'static str>,
}

impl<'a> Entries<'a> {
    fn new(key: &'a mut KeyWriter) -> Self {
        Entries { key, entries: Vec::new(), variant: None }
    }

    fn finish(self) {
        let mut map = KeyWriter::default();
        map.map(self.entries);
        match self.variant {
            Some(variant) => self.key.tagged(variant, map),
            None => self.key.bytes.extend_from_slice(&map.bytes),
        }
    }

    fn field<T: Serialize + ?Sized>(&mut self, name: &str, value: &T) -> Result<(), Refused> {
        let mut entry = (KeyWriter::default(), KeyWriter::default());
        entry.0.str(name);
        value.serialize(Encoder(&mut entry.1))?;
        self.entries.push(entry);
        Ok(())
    }
}

macro_rules! parts {
    ($($trait:ident: $method:ident,)*) => {$(
        impl ser::$trait for Parts<'_> {
            type Ok = ();
            type Error = Refused;

            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Refused> {
                self.part(value)
            }

            fn end(self) -> Result<(), Refused> {
                self.finish();
                Ok(())
            }
        }
    )*};
}

parts! {
    SerializeSeq: serialize_element,
    SerializeTuple: serialize_element,
    SerializeTupleStruct: serialize_field,
    SerializeTupleVariant: serialize_field,
}

macro_rules! entries {
    ($($trait:ident,)*) => {$(
        impl ser::$trait for Entries<'_> {
            type Ok = ();
            type Error = Refused;

            fn serialize_field<T: Serialize + ?Sized>(
                &mut self,
                name: &'static str,
                value: &T,
            ) -> Result<(), Refused> {
                self.field(name, value)
            }

            fn end(self) -> Result<(), Refused> {
                self.finish();
                Ok(())
            }
        }
    )*};
}

entries! { SerializeStruct, SerializeStructVariant, }

impl ser::SerializeMap for Entries<'_> {
    type Ok = ();
    type Error = Refused;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, name: &T) -> Result<(), Refused> {
        let mut entry = (KeyWriter::default(), KeyWriter::default());
        name.serialize(Encoder(&mut entry.0))?;
        self.entries.push(entry);
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Refused> {
        match self.entries.last_mut() {
            Some(entry) => value.serialize(Encoder(&mut entry.1)),
            None => Ok(()),
        }
    }

    fn end(self) -> Result<(), Refused> {
        self.finish();
        Ok(())
    }
}

#[cfg(test)]
#[path = "key_tests.rs"]
mod tests;
