//! The interface to a template engine: reading its values.

use serde::Serialize;

use crate::queryset::QuerySet;

/// A template engine, for the code that all plugins share. A plugin implements it
/// for a type of its own.
pub trait Engine {
    /// The engine's values.
    type Value: Clone + Serialize;
    /// The engine's errors.
    type Error;

    /// The contents of a value.
    ///
    /// # Errors
    ///
    /// A message that says why the value cannot be read.
    fn read(value: &Self::Value) -> Result<Datum<'_, Self::Value>, String>;

    /// Whether a value prints without escaping.
    fn is_safe(value: &Self::Value) -> bool;

    /// Whether a list or map prints differently from another kind of list or
    /// map with the same items, if the engine has several kinds.
    fn shape(value: &Self::Value) -> [bool; 2] {
        let _ = value;
        [false; 2]
    }

    /// Whether a value is a single value that distinguishes fragments. It
    /// does not read lists, because this could run a query, or consume an
    /// iterator.
    fn is_plain(value: &Self::Value) -> bool {
        matches!(
            Self::read(value),
            Ok(Datum::None
                | Datum::Bool(_)
                | Datum::Int(_)
                | Datum::UInt(_)
                | Datum::Float(_)
                | Datum::Text(_))
        )
    }

    /// Whether the engine considers a value true.
    ///
    /// # Errors
    ///
    /// A message that says why the value cannot be read.
    fn is_true(value: &Self::Value) -> Result<bool, String> {
        Ok(match Self::read(value)? {
            Datum::None | Datum::Undefined => false,
            Datum::Bool(lock) => lock,
            Datum::Int(number) => number != 0,
            Datum::Float(number) => number != 0.0,
            Datum::Text(text) => !text.is_empty(),
            Datum::List(items) => !items.is_empty(),
            Datum::Map(pairs) => !pairs.is_empty(),
            _ => true,
        })
    }

    /// The queryset that a map of the engine represents.
    ///
    /// # Errors
    ///
    /// A message that says why it is not a queryset.
    fn read_queryset(value: &Self::Value) -> Result<QuerySet, String>;

    /// Creates an error of the engine.
    fn error(why: String) -> Self::Error;

    /// Creates an error about an undefined variable.
    fn undefined(why: String) -> Self::Error {
        Self::error(why)
    }
}

/// The contents of a value.
#[derive(Clone, Debug)]
pub enum Datum<'a, V> {
    /// No value at all.
    Undefined,
    /// None, null.
    None,
    /// True or false.
    Bool(bool),
    /// A number without fraction.
    Int(i128),
    /// An integer above all `Int`s.
    UInt(u128),
    /// A number with a fraction.
    Float(f64),
    /// Text.
    Text(&'a str),
    /// Bytes.
    Bytes(&'a [u8]),
    /// A list of values.
    List(Vec<V>),
    /// A map of values.
    Map(Vec<(V, V)>),
    /// Anything else, with the name of its kind.
    Other(String),
}

impl<V> Datum<'_, V> {
    /// The name of the kind, for messages.
    #[must_use]
    pub fn kind(&self) -> &str {
        match self {
            Datum::Undefined => "undefined",
            Datum::None => "none",
            Datum::Bool(_) => "bool",
            Datum::Int(_) | Datum::UInt(_) | Datum::Float(_) => "number",
            Datum::Text(_) => "string",
            Datum::Bytes(_) => "bytes",
            Datum::List(_) => "sequence",
            Datum::Map(_) => "map",
            Datum::Other(name) => name,
        }
    }
}
