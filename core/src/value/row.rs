//! Rows: any value that serde can turn into a map.

use std::borrow::Cow;

use serde::ser::{self, Serialize};

use super::Scalar;
use crate::error::Error;
use crate::queryset::{canonical, is_canonical};

/// What serde made of a value.
#[derive(Clone, Debug)]
pub(crate) enum Node {
    Scalar(Scalar),
    Row(Row),
    /// A list, a tuple or an enum with data: nothing that a column can be
    /// compared with.
    Compound,
}

/// What a row contains for a column.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Field {
    Scalar(Scalar),
    /// Present, but not a single value: counts as missing.
    Compound,
}

/// A row of a table: column names and values, in any order.
///
/// A row may have more columns than any queryset names. If it lacks a column that
/// a scheme of its table needs, it invalidates the whole table.
///
/// ```
/// use cacheops::Row;
///
/// #[derive(serde::Serialize)]
/// struct Article {
///     id: u32,
///     category: &'static str,
/// }
/// let row = Row::from_serialize(&Article { id: 1, category: "rust" }).unwrap();
/// assert_eq!(row.columns().collect::<Vec<_>>(), ["id", "category"]);
/// assert!(Row::from_serialize(&3).is_err());
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Row {
    fields: Vec<(Cow<'static, str>, Field)>,
}

impl Row {
    /// Converts a struct, a map or anything else that serde writes as a map.
    ///
    /// # Errors
    ///
    /// If the value is not a map, or its `Serialize` implementation fails.
    pub fn from_serialize<T: Serialize + ?Sized>(value: &T) -> Result<Row, Error> {
        match node_of(value) {
            Ok(Node::Row(row)) => Ok(row),
            Ok(Node::Scalar(scalar)) => Err(Error::invalid_row(format!(
                "a row must be a map or a struct of columns, and this is the single value {scalar:?}"
            ))),
            Ok(Node::Compound) => Err(Error::invalid_row(
                "a row must be a map or a struct of columns, and this is a list or an enum with data"
                    .to_owned(),
            )),
            Err(why) => Err(Error::invalid_row(why)),
        }
    }

    /// The names of the columns, in lower case, in the order of the row.
    pub fn columns(&self) -> impl Iterator<Item = &str> {
        self.fields.iter().map(|(name, _)| name.as_ref())
    }

    /// The value of a column, whose name is given in lower case. `None` if
    /// the row has no such column, no single value there, or two columns
    /// whose names differ only in case and whose values differ.
    #[must_use]
    pub fn get(&self, column: &str) -> Option<&Scalar> {
        let mut named = self.fields.iter().filter(|(name, _)| name == column);
        let (_, field) = named.next()?;
        match field {
            Field::Scalar(scalar) if named.all(|(_, other)| other == field) => Some(scalar),
            Field::Scalar(_) | Field::Compound => None,
        }
    }

    fn push(&mut self, name: Cow<'static, str>, node: Node) {
        let name =
            if is_canonical(&name) { name } else { Cow::Owned(canonical(name.into_owned())) };
        let field = match node {
            Node::Scalar(scalar) => Field::Scalar(scalar),
            Node::Row(_) | Node::Compound => Field::Compound,
        };
        self.fields.push((name, field));
    }
}

/// Runs serde over `value`.
pub(crate) fn node_of<T: Serialize + ?Sized>(value: &T) -> Result<Node, String> {
    value.serialize(NodeSerializer).map_err(|RowError(why)| why)
}

/// Why a value cannot be converted.
#[derive(Debug)]
struct RowError(String);

impl std::fmt::Display for RowError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for RowError {}

impl ser::Error for RowError {
    fn custom<T: std::fmt::Display>(msg: T) -> Self {
        RowError(msg.to_string())
    }
}

struct NodeSerializer;

fn scalar(scalar: Scalar) -> Result<Node, RowError> {
    Ok(Node::Scalar(scalar))
}

fn float(value: f64) -> Result<Node, RowError> {
    if value.is_finite() {
        scalar(Scalar::Float(value))
    } else {
        Err(RowError(format!(
            "{value} equals nothing in a database, so nothing could ever invalidate it"
        )))
    }
}

macro_rules! integers {
    ($($method:ident: $type:ty,)*) => {$(
        fn $method(self, value: $type) -> Result<Node, RowError> {
            scalar(Scalar::Int(i128::from(value)))
        }
    )*};
}

impl ser::Serializer for NodeSerializer {
    type Ok = Node;
    type Error = RowError;
    type SerializeSeq = Ignored;
    type SerializeTuple = Ignored;
    type SerializeTupleStruct = Ignored;
    type SerializeTupleVariant = Ignored;
    type SerializeMap = RowSerializer;
    type SerializeStruct = RowSerializer;
    type SerializeStructVariant = Ignored;

    integers! {
        serialize_i8: i8, serialize_i16: i16, serialize_i32: i32, serialize_i64: i64,
        serialize_i128: i128, serialize_u8: u8, serialize_u16: u16, serialize_u32: u32,
        serialize_u64: u64,
    }

    fn serialize_u128(self, value: u128) -> Result<Node, RowError> {
        scalar(i128::try_from(value).map_or(Scalar::BigInt(value), Scalar::Int))
    }

    fn serialize_bool(self, value: bool) -> Result<Node, RowError> {
        scalar(Scalar::Bool(value))
    }

    fn serialize_f32(self, value: f32) -> Result<Node, RowError> {
        float(f64::from(value))
    }

    fn serialize_f64(self, value: f64) -> Result<Node, RowError> {
        float(value)
    }

    fn serialize_char(self, value: char) -> Result<Node, RowError> {
        scalar(Scalar::Text(value.into()))
    }

    fn serialize_str(self, value: &str) -> Result<Node, RowError> {
        scalar(Scalar::Text(value.to_owned()))
    }

    fn serialize_bytes(self, value: &[u8]) -> Result<Node, RowError> {
        scalar(Scalar::Bytes(value.to_vec()))
    }

    fn serialize_none(self) -> Result<Node, RowError> {
        scalar(Scalar::Null)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<Node, RowError> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<Node, RowError> {
        scalar(Scalar::Null)
    }

    fn serialize_unit_struct(self, _name: &'static str) -> Result<Node, RowError> {
        scalar(Scalar::Null)
    }

    fn serialize_unit_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
    ) -> Result<Node, RowError> {
        scalar(Scalar::Text(variant.to_owned()))
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        value: &T,
    ) -> Result<Node, RowError> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        _index: u32,
        _variant: &'static str,
        _value: &T,
    ) -> Result<Node, RowError> {
        Ok(Node::Compound)
    }

    fn serialize_seq(self, _len: Option<usize>) -> Result<Ignored, RowError> {
        Ok(Ignored)
    }

    fn serialize_tuple(self, _len: usize) -> Result<Ignored, RowError> {
        Ok(Ignored)
    }

    fn serialize_tuple_struct(self, _name: &'static str, _len: usize) -> Result<Ignored, RowError> {
        Ok(Ignored)
    }

    fn serialize_tuple_variant(
        self,
        _name: &'static str,
        _index: u32,
        _variant: &'static str,
        _len: usize,
    ) -> Result<Ignored, RowError> {
        Ok(Ignored)
    }

    fn serialize_map(self, len: Option<usize>) -> Result<RowSerializer, RowError> {
        // `len` comes from the caller: do not reserve more than is
        // reasonable.
        Ok(RowSerializer::with_capacity(len.unwrap_or(0).min(64)))
    }

    fn serialize_struct(self, _name: &'static str, len: usize) -> Result<RowSerializer, RowError> {
        Ok(RowSerializer::with_capacity(len.min(64)))
    }

    fn serialize_struct_variant(
        self,
        _name: &'static str,
        _index: u32,
        _variant: &'static str,
        _len: usize,
    ) -> Result<Ignored, RowError> {
        Ok(Ignored)
    }
}

struct RowSerializer {
    row: Row,
    key: Option<Cow<'static, str>>,
}

impl RowSerializer {
    fn with_capacity(len: usize) -> Self {
        RowSerializer { row: Row { fields: Vec::with_capacity(len) }, key: None }
    }
}

/// A column of a row. A column that cannot be converted counts as missing, so a
/// stray NaN or list in a column that no queryset names does no harm.
fn column<T: Serialize + ?Sized>(value: &T) -> Node {
    value.serialize(NodeSerializer).unwrap_or(Node::Compound)
}

impl ser::SerializeMap for RowSerializer {
    type Ok = Node;
    type Error = RowError;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), RowError> {
        match key.serialize(NodeSerializer)? {
            Node::Scalar(Scalar::Text(name)) => {
                self.key = Some(Cow::Owned(name));
                Ok(())
            }
            other => {
                Err(RowError(format!("the columns of a row have names, and one is {other:?}")))
            }
        }
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), RowError> {
        if let Some(name) = self.key.take() {
            self.row.push(name, column(value));
        }
        Ok(())
    }

    fn end(self) -> Result<Node, RowError> {
        Ok(Node::Row(self.row))
    }
}

impl ser::SerializeStruct for RowSerializer {
    type Ok = Node;
    type Error = RowError;

    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        name: &'static str,
        value: &T,
    ) -> Result<(), RowError> {
        self.row.push(Cow::Borrowed(name), column(value));
        Ok(())
    }

    fn end(self) -> Result<Node, RowError> {
        Ok(Node::Row(self.row))
    }
}

/// Ignores the contents of a list or an enum with data.
struct Ignored;

macro_rules! ignores {
    ($($trait:ident: $method:ident $(<$name:ty>)?,)*) => {$(
        impl ser::$trait for Ignored {
            type Ok = Node;
            type Error = RowError;

            fn $method<T: Serialize + ?Sized>(
                &mut self, $(_name: $name,)? _value: &T,
            ) -> Result<(), RowError> {
                Ok(())
            }

            fn end(self) -> Result<Node, RowError> {
                Ok(Node::Compound)
            }
        }
    )*};
}

ignores! {
    SerializeSeq: serialize_element,
    SerializeTuple: serialize_element,
    SerializeTupleStruct: serialize_field,
    SerializeTupleVariant: serialize_field,
    SerializeStructVariant: serialize_field<&'static str>,
}

#[cfg(test)]
#[path = "row_tests.rs"]
mod tests;
