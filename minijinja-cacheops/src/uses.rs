//! Records which templates a rendering uses.

use minijinja::value::ValueKind;
use minijinja::{Error, State, Value};

use crate::dependencies::digest_in_environment;
use crate::rendering::Rendering;
use crate::shared::Shared;

/// The name of a template, as the environment knows it.
fn resolved(state: &State<'_, '_>, name: &str) -> String {
    state.get_template(name).map_or_else(|_| name.to_owned(), |found| found.name().to_owned())
}

/// Records that a template begins. If a template is extended and also begins by
/// itself, it has other blocks then.
pub(crate) fn enter(shared: &Shared, state: &mut State<'_, '_>, has_macros: bool) {
    if has_macros {
        let name = state.name().to_owned();
        let trace = &mut Rendering::of(shared, state).trace;
        if !trace.macros.contains(&name) {
            trace.macros.push(name);
        }
    }
    if Rendering::of(shared, state).trace.chain.is_empty() {
        return;
    }
    let name = state.name().to_owned();
    let trace = &mut Rendering::of(shared, state).trace;
    if trace.parent.as_ref() == Some(&name) {
        trace.parent = None;
    } else {
        trace.is_unclear |= trace.chain.contains(&name);
    }
}

/// Records a template that another one extends.
pub(crate) fn extends(
    shared: &Shared,
    state: &mut State<'_, '_>,
    name: &Value,
    source: &str,
) -> Result<Value, Error> {
    let child = state.name().to_owned();
    let parent = name.as_str().map(|name| resolved(state, name));
    // The text that runs may be no longer that of the environment, or never
    // have been.
    let digest = digest_in_environment(shared, state, &child);
    let template = state.env().get_template(&child);
    let is_same = template.is_ok_and(|template| template.source().contains(source));
    let trace = &mut Rendering::of(shared, state).trace;
    trace.is_unclear |= !is_same;
    if let Some(digest) = digest {
        trace.note(child.clone(), digest);
    }
    if trace.chain.last() != Some(&child) {
        trace.inheritances += 1;
    }
    trace.chain.push(child);
    trace.parent.clone_from(&parent);
    trace.chain.extend(parent);
    uses(shared, state, name)
}

/// Records a template whose macros are imported.
pub(crate) fn imports(
    shared: &Shared,
    state: &mut State<'_, '_>,
    name: &Value,
) -> Result<Value, Error> {
    if let Some(name) = name.as_str().map(|name| resolved(state, name)) {
        note(shared, state, &name);
        let trace = &mut Rendering::of(shared, state).trace;
        trace.imports.push(name);
    }
    uses(shared, state, name)
}

/// The same for a literal name.
pub(crate) fn imports_plainly(shared: &Shared, state: &mut State<'_, '_>, name: &Value) -> Value {
    if let Some(name) = name.as_str().map(|name| resolved(state, name)) {
        note(shared, state, &name);
    }
    name.clone()
}

/// Records the source of a template whose macros run from now on.
fn note(shared: &Shared, state: &mut State<'_, '_>, name: &str) {
    if let Some(digest) = digest_in_environment(shared, state, name) {
        Rendering::of(shared, state).trace.note(name.to_owned(), digest);
    }
}

/// Records a template that a body uses by a name that is known only in rendering.
pub(crate) fn uses(
    shared: &Shared,
    state: &mut State<'_, '_>,
    name: &Value,
) -> Result<Value, Error> {
    if !shared.cache.is_filling() {
        return Ok(name.clone());
    }
    let names: Vec<Value> = match name.kind() {
        ValueKind::Seq | ValueKind::Iterable => name.try_iter()?.collect(),
        _ => vec![name.clone()],
    };
    for name in names.iter().filter_map(Value::as_str) {
        let used = shared.with_versions(state, |versions| versions.of(state, name));
        shared.cache.use_template(used);
    }
    // A one-shot iterator has been consumed: pass on what it gave.
    Ok(if name.kind() == ValueKind::String { name.clone() } else { Value::from(names) })
}
