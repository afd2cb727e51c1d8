//! The condition tree.

use serde::{Deserialize, Serialize};

use super::canonical;
use super::dnf::Scope;
use crate::error::Error;
use crate::key::KeyWriter;
use crate::value::Scalar;

/// A condition on the rows of a queryset. Functions such as [`eq`], [`is_in`] and
/// [`is_null`] create conditions; [`all`], [`any`] and [`not`] combine them.
///
/// `eq`, `is_in` and `is_null` are granular: the cache compares a changed row
/// with them. Every other condition, and everything inside a `not`, is part of
/// the key but cannot narrow an invalidation.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Condition(pub(crate) Node);

/// Names of fields are normalized, wherever a condition comes from.
impl<'de> Deserialize<'de> for Condition {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut node = Node::deserialize(deserializer)?;
        if let Node::Eq(field, _)
        | Node::In(field, _)
        | Node::IsNull(field)
        | Node::Compare(field, ..) = &mut node
        {
            *field = canonical(std::mem::take(field));
        }
        Ok(match node {
            Node::Eq(field, Scalar::Null) => Condition(Node::IsNull(field)),
            Node::Not(inner) => not(*inner),
            Node::All(inner) => all(inner),
            Node::Any(inner) => any(inner),
            node => Condition(node),
        })
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Node {
    Eq(String, Scalar),
    In(String, Vec<Scalar>),
    IsNull(String),
    Compare(String, String, Scalar),
    Opaque(String),
    Not(Box<Condition>),
    All(Vec<Condition>),
    Any(Vec<Condition>),
    /// A condition that could not be built, and why.
    Invalid(String),
}

/// `field = value`; a value of `None` means [`is_null`], as in Django.
#[must_use]
pub fn eq(field: impl Into<String>, value: impl Serialize) -> Condition {
    let field = canonical(field);
    with_scalar(&field, &value, |value| match value {
        Scalar::Null => Node::IsNull(field.clone()),
        value => Node::Eq(field.clone(), value),
    })
}

/// `field IN (…)`. With more than 8 values
/// ([`Builder::in_limit`](crate::Builder::in_limit)) it counts as opaque.
#[must_use]
pub fn is_in<V: Serialize>(
    field: impl Into<String>,
    values: impl IntoIterator<Item = V>,
) -> Condition {
    let field = canonical(field);
    let scalars: Result<Vec<Scalar>, Error> =
        values.into_iter().map(|value| Scalar::from_serialize(&value)).collect();
    Condition(match scalars {
        Ok(scalars) => Node::In(field, scalars),
        Err(error) => invalid(&field, &error),
    })
}

/// `field IS NULL`.
#[must_use]
pub fn is_null(field: impl Into<String>) -> Condition {
    Condition(Node::IsNull(canonical(field)))
}

/// Any other comparison, such as `compare("score", ">", 3)`: opaque.
#[must_use]
pub fn compare(
    field: impl Into<String>,
    operator: impl Into<String>,
    value: impl Serialize,
) -> Condition {
    let field = canonical(field);
    let operator = operator.into();
    with_scalar(&field, &value, |value| Node::Compare(field.clone(), operator.clone(), value))
}

macro_rules! comparisons {
    ($($(#[$doc:meta])* $name:ident => $operator:literal;)*) => {$(
        $(#[$doc])*
        #[must_use]
        pub fn $name(field: impl Into<String>, value: impl Serialize) -> Condition {
            compare(field, $operator, value)
        }
    )*};
}

comparisons! {
    /// `field <> value`: opaque.
    ne => "<>";
    /// `field < value`: opaque.
    lt => "<";
    /// `field <= value`: opaque.
    lte => "<=";
    /// `field > value`: opaque.
    gt => ">";
    /// `field >= value`: opaque.
    gte => ">=";
    /// `field LIKE value`: opaque.
    like => "LIKE";
}

/// A condition of which the cache knows only the text, such as a search
/// expression: opaque. The text must contain every value that the condition
/// depends on.
#[must_use]
pub fn opaque(text: impl Into<String>) -> Condition {
    Condition(Node::Opaque(text.into()))
}

/// The maximum depth of conditions, because they are walked recursively.
const DEEPEST: usize = 128;

/// The opposite of `condition`. It never narrows, except as a double negation.
/// Conditions nest at most 128 deep. A deeper one is an error where the queryset
/// is used.
#[must_use]
pub fn not(condition: Condition) -> Condition {
    if condition.is_deeper_than(DEEPEST - 1) {
        return too_deep();
    }
    Condition(Node::Not(Box::new(condition)))
}

/// All of `conditions`. Without any condition it is true. An `all` among them is
/// flattened, so that a fold over any number of conditions does not nest.
#[must_use]
pub fn all(conditions: impl IntoIterator<Item = Condition>) -> Condition {
    let inner = flat(conditions, |node| match node {
        Node::All(inner) => Ok(inner),
        node => Err(node),
    });
    inner.map_or_else(too_deep, |inner| Condition(Node::All(inner)))
}

/// At least one of `conditions`. Without any condition it is false. An `any`
/// among them is flattened, so that a fold over any number of conditions does not
/// nest.
#[must_use]
pub fn any(conditions: impl IntoIterator<Item = Condition>) -> Condition {
    let inner = flat(conditions, |node| match node {
        Node::Any(inner) => Ok(inner),
        node => Err(node),
    });
    inner.map_or_else(too_deep, |inner| Condition(Node::Any(inner)))
}

/// The conditions, with those that `apart` accepts replaced by their parts.
/// `None` if one is too deep.
fn flat(
    conditions: impl IntoIterator<Item = Condition>,
    apart: impl Fn(Node) -> Result<Vec<Condition>, Node>,
) -> Option<Vec<Condition>> {
    let mut flat = Vec::new();
    for condition in conditions {
        match apart(condition.0) {
            Ok(inner) if flat.is_empty() => flat = inner,
            Ok(inner) => flat.extend(inner),
            Err(node) => flat.push(Condition(node)),
        }
    }
    let is_deep = |condition: &Condition| condition.is_deeper_than(DEEPEST - 1);
    (!flat.iter().any(is_deep)).then_some(flat)
}

fn too_deep() -> Condition {
    Condition(Node::Invalid(format!("its conditions nest more than {DEEPEST} deep")))
}

fn with_scalar(
    field: &str,
    value: &impl Serialize,
    node: impl FnOnce(Scalar) -> Node,
) -> Condition {
    Condition(match Scalar::from_serialize(value) {
        Ok(scalar) => node(scalar),
        Err(error) => invalid(field, &error),
    })
}

fn invalid(field: &str, error: &Error) -> Node {
    Node::Invalid(format!("the value for `{field}`: {}", error.detail()))
}

impl Condition {
    fn is_deeper_than(&self, depth: usize) -> bool {
        let Some(rest) = depth.checked_sub(1) else { return true };
        match &self.0 {
            Node::Not(inner) => inner.is_deeper_than(rest),
            Node::All(inner) | Node::Any(inner) => inner.iter().any(|c| c.is_deeper_than(rest)),
            _ => false,
        }
    }

    /// Reports the first mistake in this condition.
    pub(super) fn check(&self, scope: &Scope<'_>) -> Result<(), Error> {
        match &self.0 {
            Node::Eq(field, value) | Node::Compare(field, _, value) => {
                finite(field, value)?;
                scope.resolve(field).map(drop)
            }
            Node::In(field, values) => {
                values.iter().try_for_each(|value| finite(field, value))?;
                scope.resolve(field).map(drop)
            }
            Node::IsNull(field) => scope.resolve(field).map(drop),
            Node::Opaque(_) => Ok(()),
            Node::Not(inner) => inner.check(scope),
            Node::All(inner) | Node::Any(inner) => inner.iter().try_for_each(|c| c.check(scope)),
            Node::Invalid(why) => Err(Error::invalid_queryset(why.clone())),
        }
    }

    pub(super) fn write_key(&self, key: &mut KeyWriter) {
        match &self.0 {
            Node::Eq(field, value) => {
                key.variant("=", 2);
                key.str(field);
                key.scalar(value);
            }
            Node::In(field, values) => {
                key.variant("in", 2);
                key.str(field);
                key.list(values.len());
                values.iter().for_each(|value| key.scalar(value));
            }
            Node::IsNull(field) => {
                key.variant("null", 1);
                key.str(field);
            }
            Node::Compare(field, operator, value) => {
                key.variant("compare", 3);
                key.str(field);
                key.str(operator);
                key.scalar(value);
            }
            Node::Opaque(text) => {
                key.variant("opaque", 1);
                key.str(text);
            }
            Node::Not(inner) => {
                key.variant("not", 1);
                inner.write_key(key);
            }
            Node::All(inner) => {
                key.variant("all", inner.len());
                inner.iter().for_each(|condition| condition.write_key(key));
            }
            Node::Any(inner) => {
                key.variant("any", inner.len());
                inner.iter().for_each(|condition| condition.write_key(key));
            }
            Node::Invalid(why) => {
                key.variant("invalid", 1);
                key.str(why);
            }
        }
    }
}

/// A deserialized condition can contain values that the functions above refuse.
fn finite(field: &str, value: &Scalar) -> Result<(), Error> {
    match value {
        Scalar::Float(float) if !float.is_finite() => Err(Error::invalid_queryset(format!(
            "the value for `{field}`: {float} equals nothing in a database"
        ))),
        _ => Ok(()),
    }
}
