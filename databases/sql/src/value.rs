//! Values that are bound to parameters.

use std::fmt::Write;

use cacheops::Scalar;

/// A value bound to a parameter, as the driver sends it.
///
/// ```
/// use cacheops_sql::Value;
///
/// let values: [Value; 4] = [3.into(), "en".into(), None::<i64>.into(), vec![1, 2].into()];
/// # let _ = values;
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Value {
    /// A single value; NaN and the infinities belong into [`Value::Other`].
    Scalar(Scalar),
    /// An array, for `= ANY($1)`.
    List(Vec<Scalar>),
    /// A value that is none of these, by a text that no other value has. It
    /// identifies the query and narrows nothing.
    Other(String),
}

impl Value {
    /// NULL.
    pub const NULL: Value = Value::Scalar(Scalar::Null);

    /// Appends what tells the value from all others.
    pub(crate) fn write_identity(&self, out: &mut String) {
        match self {
            Value::Scalar(scalar) => write_scalar(scalar, out),
            Value::List(scalars) => {
                let _ = write!(out, "[{}:", scalars.len());
                scalars.iter().for_each(|scalar| write_scalar(scalar, out));
            }
            Value::Other(text) => {
                let _ = write!(out, "o{}:{text}", text.len());
            }
        }
    }
}

fn write_scalar(scalar: &Scalar, out: &mut String) {
    let _ = match scalar {
        Scalar::Null => write!(out, "n;"),
        Scalar::Bool(value) => write!(out, "b{};", u8::from(*value)),
        Scalar::Int(value) => match i64::try_from(*value) {
            // The usual ones, at a third of what formatting costs.
            Ok(short) => {
                out.push('i');
                if short < 0 {
                    out.push('-');
                }
                write_number(short.unsigned_abs(), out);
                out.push(';');
                Ok(())
            }
            Err(_) => write!(out, "i{value};"),
        },
        Scalar::BigInt(value) => write!(out, "i{value};"),
        Scalar::Float(value) => write!(out, "f{:x};", value.to_bits()),
        Scalar::Text(text) => {
            out.push('t');
            write_number(text.len() as u64, out);
            out.push(':');
            out.push_str(text);
            Ok(())
        }
        Scalar::Bytes(bytes) => {
            let _ = write!(out, "x{}:", bytes.len());
            bytes.iter().try_for_each(|byte| write!(out, "{byte:02x}"))
        }
        // The core may get more kinds: their Debug text names them.
        other => write!(out, "?{other:?};"),
    };
}

/// Appends a number in decimal.
pub(crate) fn write_number(mut number: u64, out: &mut String) {
    let mut digits = [b'0'; 20];
    let mut at = digits.len();
    while at == digits.len() || number > 0 {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
    }
    out.extend(digits[at..].iter().map(|digit| char::from(*digit)));
}

impl From<Scalar> for Value {
    fn from(scalar: Scalar) -> Self {
        match scalar {
            Scalar::Float(float) if !float.is_finite() => Value::Other(float.to_string()),
            scalar => Value::Scalar(scalar),
        }
    }
}

macro_rules! from {
    ($($type:ty => $value:ident $scalar:expr;)*) => {$(
        impl From<$type> for Value {
            fn from($value: $type) -> Self {
                Value::from($scalar)
            }
        }
    )*};
}

from! {
    bool => value Scalar::Bool(value);
    i8 => value Scalar::Int(value.into());
    i16 => value Scalar::Int(value.into());
    i32 => value Scalar::Int(value.into());
    i64 => value Scalar::Int(value.into());
    u8 => value Scalar::Int(value.into());
    u16 => value Scalar::Int(value.into());
    u32 => value Scalar::Int(value.into());
    u64 => value Scalar::Int(value.into());
    f32 => value Scalar::Float(value.into());
    f64 => value Scalar::Float(value);
    &str => value Scalar::Text(value.to_owned());
    String => value Scalar::Text(value);
    Vec<u8> => value Scalar::Bytes(value);
    &[u8] => value Scalar::Bytes(value.to_vec());
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Value::NULL, Into::into)
    }
}

macro_rules! from_lists {
    ($($type:ty)*) => {$(
        impl From<Vec<$type>> for Value {
            fn from(values: Vec<$type>) -> Self {
                let scalars = values.into_iter().map(|value| match Value::from(value) {
                    Value::Scalar(scalar) => scalar,
                    // No list or other value comes from these types.
                    _ => Scalar::Null,
                });
                Value::List(scalars.collect())
            }
        }
    )*};
}

from_lists! { bool i16 i32 i64 &str String }
