//! Values that reach a body although the body does not name them. They would be
//! shown to others, or be missing on a hit. So they are kept out, or refused.

use std::fmt;
use std::sync::Arc;

use minijinja::value::{Object, ObjectRepr, ValueKind};
use minijinja::{Error, State, Value};

use crate::errors::in_rendering;

/// Replaces the `caller` of a macro inside the body of a tag.
struct RefusedCaller {
    /// The tag.
    text: String,
}

impl Object for RefusedCaller {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn call(self: &Arc<Self>, _: &mut State<'_, '_>, _: &[Value]) -> Result<Value, Error> {
        Err(in_rendering(
            &self.text,
            "`caller` inside it: every caller would get the body of the first; take the text before the tag, `set text = caller()`, and give the tag `extra=text`",
        ))
    }
}

impl fmt::Debug for RefusedCaller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<caller outside of a cache tag>")
    }
}

/// The `caller` that a body sees: a variable with this name unchanged, and for
/// the caller of a macro only that there is one.
pub(crate) fn caller(value: &Value, tag: &str) -> Value {
    match value.as_object() {
        Some(object) if object.type_name().ends_with("Macro") => {
            Value::from_object(RefusedCaller { text: tag.to_owned() })
        }
        _ => value.clone(),
    }
}

/// Whether a value is a namespace.
pub(crate) fn is_namespace(value: &Value) -> bool {
    value.as_object().is_some_and(|object| object.type_name().ends_with("Namespace"))
}

/// The namespaces that a body can reach, with their contents before it runs. The
/// body works on copies of those to which it assigns itself. What a macro or an
/// include of it assigns would be missing on a hit.
#[derive(Default)]
pub(crate) struct Namespaces(Vec<(String, Value, Pairs)>);

/// How many are checked.
const MOST: usize = 64;

type Pairs = Vec<(Value, Value)>;

impl Namespaces {
    pub(crate) fn seen(state: &State<'_, '_>) -> Self {
        let mut seen = Namespaces::default();
        for name in state.known_variables() {
            if let Some(value) = state.lookup(&name) {
                seen.add(&name, &value);
            }
        }
        seen
    }

    fn add(&mut self, name: &str, value: &Value) {
        // One may hold itself.
        if !is_namespace(value) || self.0.len() >= MOST {
            return;
        }
        let pairs = pairs_of(value);
        self.0.push((name.to_owned(), value.clone(), pairs.clone()));
        for (key, inner) in pairs {
            self.add(&format!("{name}.{key}"), &inner);
        }
    }

    /// The name of a namespace whose contents have changed.
    pub(crate) fn changed(&self) -> Option<&str> {
        let is_changed = |before: &Pairs, now: &Pairs| {
            before.len() != now.len()
                || before.iter().zip(now).any(|(a, b)| a.0 != b.0 || !is_alike(&a.1, &b.1))
        };
        let found = self.0.iter().find(|(_, value, before)| is_changed(before, &pairs_of(value)));
        found.map(|(name, ..)| name.as_str())
    }
}

fn pairs_of(value: &Value) -> Pairs {
    let names = value.try_iter().into_iter().flatten();
    names.map(|name| (name.clone(), value.get_item(&name).unwrap_or_default())).collect()
}

/// Whether two values are equal. NaN equals NaN here.
fn is_alike(a: &Value, b: &Value) -> bool {
    let is_number = a.kind() == ValueKind::Number;
    a.kind() == b.kind()
        && a.is_safe() == b.is_safe()
        && (a == b || (is_number && a.to_string() == b.to_string()))
}
