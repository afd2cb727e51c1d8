//! Scalars in serde: each as its plain value, so that a queryset can be written
//! by hand in JSON.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, SeqAccess, Visitor};
use serde::ser::{Serialize, Serializer};

use super::Scalar;

impl Serialize for Scalar {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Scalar::Null => serializer.serialize_none(),
            Scalar::Bool(value) => serializer.serialize_bool(*value),
            // Few formats support 128 bits, so the usual integers are
            // written with 64.
            Scalar::Int(value) => match (i64::try_from(*value), u64::try_from(*value)) {
                (Ok(value), _) => serializer.serialize_i64(value),
                (_, Ok(value)) => serializer.serialize_u64(value),
                _ => serializer.serialize_i128(*value),
            },
            Scalar::BigInt(value) => serializer.serialize_u128(*value),
            Scalar::Float(value) => serializer.serialize_f64(*value),
            Scalar::Text(value) => serializer.serialize_str(value),
            Scalar::Bytes(value) => serializer.serialize_bytes(value),
        }
    }
}

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ScalarVisitor)
    }
}

struct ScalarVisitor;

macro_rules! visits {
    ($($method:ident($value:ident: $type:ty) => $scalar:expr;)*) => {$(
        fn $method<E: de::Error>(self, $value: $type) -> Result<Scalar, E> {
            Ok($scalar)
        }
    )*};
}

impl<'de> Visitor<'de> for ScalarVisitor {
    type Value = Scalar;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a single value")
    }

    visits! {
        visit_bool(value: bool) => Scalar::Bool(value);
        visit_i64(value: i64) => Scalar::Int(value.into());
        visit_i128(value: i128) => Scalar::Int(value);
        visit_u64(value: u64) => Scalar::Int(value.into());
        visit_u128(value: u128) => i128::try_from(value).map_or(Scalar::BigInt(value), Scalar::Int);
        visit_f64(value: f64) => Scalar::Float(value);
        visit_str(value: &str) => Scalar::Text(value.to_owned());
        visit_bytes(value: &[u8]) => Scalar::Bytes(value.to_vec());
    }

    fn visit_none<E: de::Error>(self) -> Result<Scalar, E> {
        Ok(Scalar::Null)
    }

    fn visit_unit<E: de::Error>(self) -> Result<Scalar, E> {
        Ok(Scalar::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Scalar, D::Error> {
        Scalar::deserialize(deserializer)
    }

    /// Formats without binary data write it as a list of bytes.
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Scalar, A::Error> {
        let mut bytes = Vec::new();
        while let Some(byte) = items.next_element()? {
            bytes.push(byte);
        }
        Ok(Scalar::Bytes(bytes))
    }
}
