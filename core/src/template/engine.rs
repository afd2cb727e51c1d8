//! What tags ask of a template engine: to look into its values.

use serde::Serialize;

use crate::queryset::QuerySet;

/// A template engine, for what the plugins of all engines share. A plugin
/// implements it for a type of its own.
pub trait Engine {
    /// The engine's values.
    type Value: Clone + Serialize;
    /// The engine's errors.
    type Error;

    /// Looks into a value.
    ///
    /// # Errors
    ///
    /// Why it cannot be looked into, in words.
    fn read(value: &Self::Value) -> Result<Datum<'_, Self::Value>, String>;

    /// Whether a value prints without being escaped.
    fn is_safe(value: &Self::Value) -> bool;

    /// Whether a list or map shows in another way than one with the same items
    /// does, of which the engine has several kinds.
    fn shape(value: &Self::Value) -> [bool; 2] {
        let _ = value;
        [false; 2]
    }

    /// Whether a value is a single one that tells fragments apart by itself.
    /// Looks into no list: that may run a query, or use an iterator up.
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

    /// Whether the engine takes a value for true.
    ///
    /// # Errors
    ///
    /// Why it cannot be looked into, in words.
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

    /// The queryset that a map of the engine's stands for.
    ///
    /// # Errors
    ///
    /// Why it is none, in words.
    fn read_queryset(value: &Self::Value) -> Result<QuerySet, String>;

    /// An error of the engine's.
    fn error(why: String) -> Self::Error;

    /// An error about a variable that is not defined.
    fn undefined(why: String) -> Self::Error {
        Self::error(why)
    }
}

/// What a value holds.
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
    /// One above all `Int`s.
    UInt(u128),
    /// A number with a fraction.
    Float(f64),
    /// Text.
    Text(&'a str),
    /// Bytes.
    Bytes(&'a [u8]),
    /// Values in order.
    List(Vec<V>),
    /// Values by key.
    Map(Vec<(V, V)>),
    /// Anything else, by the name of its kind.
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
