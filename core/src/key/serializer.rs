//! Values of Rust, written into keys by serde.

use std::any::type_name;
use std::fmt;

use serde::{Serialize, ser};

use super::KeyWriter;
use crate::error::Error;

#[derive(Debug)]
struct EncodeError(Error);

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for EncodeError {}

impl ser::Error for EncodeError {
    fn custom<T: fmt::Display>(msg: T) -> Self {
        EncodeError(Error::invalid_extra(msg.to_string()))
    }
}

/// Writes what serde says into a key. A list of unknown length is gathered
/// first, since its length comes before its parts; a map is sorted.
struct Encoder<'a> {
    key: &'a mut KeyWriter,
    /// Whether what comes is a set, whose order says nothing.
    is_set: bool,
}

/// Writes anything that serde can write.
pub(super) fn encode<T: Serialize + ?Sized>(value: &T, key: &mut KeyWriter) -> Result<(), Error> {
    write(value, key).map_err(|EncodeError(error)| error)
}

fn write<T: Serialize + ?Sized>(value: &T, key: &mut KeyWriter) -> Result<(), EncodeError> {
    value.serialize(Encoder { key, is_set: is_set(type_name::<T>()) })
}

/// Whether a type is a `HashSet`, by its name, which is all that serde leaves
/// of it: behind references and in boxes, too. If names change, sets are lists
/// again, which can only be found less often.
fn is_set(mut name: &str) -> bool {
    const AROUND: [&str; 4] =
        ["alloc::boxed::Box<", "alloc::sync::Arc<", "alloc::rc::Rc<", "alloc::borrow::Cow<"];
    const SETS: [&str; 2] = ["std::collections::hash::set::HashSet<", "hashbrown::set::HashSet<"];
    loop {
        let bare = name.trim_start_matches(['&', ' ']).trim_start_matches("mut ");
        let inner = AROUND.iter().find_map(|around| bare.strip_prefix(around)).unwrap_or(bare);
        if inner.len() == name.len() {
            return SETS.iter().any(|set| name.starts_with(set));
        }
        name = inner;
    }
}

macro_rules! plain {
    ($($method:ident($value:ident: $type:ty) $key:ident $write:expr;)*) => {$(
        fn $method(self, $value: $type) -> Result<(), EncodeError> {
            let $key = self.key;
            $write;
            Ok(())
        }
    )*};
}

impl<'a> ser::Serializer for Encoder<'a> {
    type Ok = ();
    type Error = EncodeError;
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

    fn serialize_f32(self, value: f32) -> Result<(), EncodeError> {
        self.serialize_f64(value.into())
    }

    fn serialize_f64(self, value: f64) -> Result<(), EncodeError> {
        self.key.float(value).map_err(EncodeError)
    }

    fn serialize_none(self) -> Result<(), EncodeError> {
        self.serialize_unit()
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), EncodeError> {
        write(value, self.key)
    }

    fn serialize_unit(self) -> Result<(), EncodeError> {
        self.key.none();
        Ok(())
    }

    fn serialize_unit_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
    ) -> Result<(), EncodeError> {
        self.key.str(variant);
        Ok(())
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        value: &T,
    ) -> Result<(), EncodeError> {
        write(value, self.key)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), EncodeError> {
        let mut data = self.key.part();
        write(value, &mut data)?;
        self.key.tagged(variant, data);
        Ok(())
    }

    fn serialize_seq(self, _len: Option<usize>) -> Result<Parts<'a>, EncodeError> {
        Ok(Parts { is_set: self.is_set, ..Parts::new(self.key, None) })
    }

    fn serialize_tuple(self, _len: usize) -> Result<Parts<'a>, EncodeError> {
        Ok(Parts::new(self.key, None))
    }

    fn serialize_tuple_struct(
        self,
        _name: &'static str,
        _len: usize,
    ) -> Result<Parts<'a>, EncodeError> {
        Ok(Parts::new(self.key, None))
    }

    fn serialize_tuple_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        _len: usize,
    ) -> Result<Parts<'a>, EncodeError> {
        Ok(Parts::new(self.key, Some(variant)))
    }

    fn serialize_map(self, _len: Option<usize>) -> Result<Entries<'a>, EncodeError> {
        Ok(Entries::new(self.key))
    }

    fn serialize_struct(
        self,
        _name: &'static str,
        _len: usize,
    ) -> Result<Entries<'a>, EncodeError> {
        Ok(Entries::new(self.key))
    }

    fn serialize_struct_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        _len: usize,
    ) -> Result<Entries<'a>, EncodeError> {
        Ok(Entries { variant: Some(variant), ..Entries::new(self.key) })
    }
}

struct Parts<'a> {
    key: &'a mut KeyWriter,
    parts: KeyWriter,
    /// Where each part ends.
    ends: Vec<usize>,
    len: usize,
    is_set: bool,
    variant: Option<&'static str>,
}

impl<'a> Parts<'a> {
    fn new(key: &'a mut KeyWriter, variant: Option<&'static str>) -> Self {
        let parts = key.part();
        Parts { key, parts, ends: Vec::new(), len: 0, is_set: false, variant }
    }

    fn part<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), EncodeError> {
        self.len += 1;
        write(value, &mut self.parts)?;
        if self.is_set {
            self.ends.push(self.parts.bytes.len());
        }
        Ok(())
    }

    /// Brings the parts of a set into an order.
    fn sort(&mut self) {
        let bytes = std::mem::take(&mut self.parts.bytes);
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        let mut parts: Vec<&[u8]> =
            starts.zip(&self.ends).map(|(start, end)| &bytes[start..*end]).collect();
        parts.sort_unstable();
        self.parts.bytes = parts.concat();
    }

    fn finish(mut self) {
        if self.is_set {
            self.sort();
        }
        let mut list = self.key.part();
        list.list(self.len);
        list.append(&self.parts);
        match self.variant {
            Some(variant) => self.key.tagged(variant, list),
            None => self.key.append(&list),
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
        let mut map = self.key.part();
        map.map(self.entries);
        match self.variant {
            Some(variant) => self.key.tagged(variant, map),
            None => self.key.append(&map),
        }
    }

    fn field<T: Serialize + ?Sized>(&mut self, name: &str, value: &T) -> Result<(), EncodeError> {
        let mut entry = (self.key.part(), self.key.part());
        entry.0.str(name);
        write(value, &mut entry.1)?;
        self.entries.push(entry);
        Ok(())
    }
}

macro_rules! parts {
    ($($trait:ident: $method:ident,)*) => {$(
        impl ser::$trait for Parts<'_> {
            type Ok = ();
            type Error = EncodeError;

            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), EncodeError> {
                self.part(value)
            }

            fn end(self) -> Result<(), EncodeError> {
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
            type Error = EncodeError;

            fn serialize_field<T: Serialize + ?Sized>(
                &mut self,
                name: &'static str,
                value: &T,
            ) -> Result<(), EncodeError> {
                self.field(name, value)
            }

            fn end(self) -> Result<(), EncodeError> {
                self.finish();
                Ok(())
            }
        }
    )*};
}

entries! { SerializeStruct, SerializeStructVariant, }

impl ser::SerializeMap for Entries<'_> {
    type Ok = ();
    type Error = EncodeError;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, name: &T) -> Result<(), EncodeError> {
        let mut entry = (self.key.part(), self.key.part());
        write(name, &mut entry.0)?;
        self.entries.push(entry);
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), EncodeError> {
        match self.entries.last_mut() {
            Some(entry) => write(value, &mut entry.1),
            None => Ok(()),
        }
    }

    fn end(self) -> Result<(), EncodeError> {
        self.finish();
        Ok(())
    }
}
