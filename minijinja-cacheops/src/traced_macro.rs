//! Macros as values that tell which macro they are.
//!
//! The engine tells nobody. So a template gives its macros to a filter, and its
//! `caller` wherever the value goes to something else. What comes back is
//! called like the macro, and can be a variable or an item like it.

use std::fmt;
use std::sync::Arc;

use cacheops::FragmentKey;
use minijinja::value::{Enumerator, Object, ObjectRepr};
use minijinja::{Error, State, Value};

use crate::rendering::Rendering;
use crate::shared::Shared;

/// Which macro it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MacroId {
    /// The source that defines it.
    pub(crate) source: FragmentKey,
    /// Its place among the macros of the source.
    pub(crate) index: usize,
    /// Whether what it calls follows from the source: all macros and modules
    /// there have one name each, under which alone they are called.
    pub(crate) is_plain: bool,
}

/// A macro, or the `caller` of one.
pub(crate) struct TracedMacro {
    inner: Value,
    /// None for a `caller`, which is another one at each call.
    pub(crate) id: Option<MacroId>,
    /// How many bodies of the rendering had begun.
    pub(crate) made_at: u64,
}

/// Whether a value is a macro of the engine.
pub(crate) fn is_macro(value: &Value) -> bool {
    value.as_object().is_some_and(|object| object.type_name().ends_with("::Macro"))
}

/// Traces a macro, or a `caller`; any other value stays as it is.
pub(crate) fn trace(
    shared: &Shared,
    state: &mut State<'_, '_>,
    value: &Value,
    id: Option<MacroId>,
) -> Value {
    if !is_macro(value) {
        return value.clone();
    }
    let rendering = Rendering::of(shared, state);
    match id {
        Some(id) => rendering.trace.made.add(id),
        None => rendering.trace.has_untraced = true,
    }
    let made_at = rendering.begun();
    Value::from_object(TracedMacro { inner: value.clone(), id, made_at })
}

impl Object for TracedMacro {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        self.inner.as_object().map_or(ObjectRepr::Plain, |object| object.repr())
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.inner.as_object()?.get_value(key)
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        self.inner.as_object().map_or(Enumerator::NonEnumerable, |object| object.enumerate())
    }

    fn call(
        self: &Arc<Self>,
        state: &mut State<'_, '_>,
        arguments: &[Value],
    ) -> Result<Value, Error> {
        if let Some(rendering) = state.get_extension_mut::<Rendering>() {
            rendering.calls(self);
        }
        self.inner.call(state, arguments)
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.inner)
    }
}

impl fmt::Debug for TracedMacro {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.inner)
    }
}
