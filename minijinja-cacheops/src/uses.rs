//! Records which templates a rendering uses.

use cacheops::FragmentKey;
use minijinja::{Error, State, Value};

use crate::dependencies::digest_in_environment;
use crate::dialect::{HAS_MACROS, IN_BLOCK};
use crate::rendering::Rendering;
use crate::shared::Shared;

/// The name of a template, as the environment knows it.
fn resolved(state: &State<'_, '_>, name: &str) -> String {
    state.get_template(name).map_or_else(|_| name.to_owned(), |found| found.name().to_owned())
}

/// Records that a template or a block of it begins, and its source. If a template
/// is extended and also begins by itself, it has other blocks then.
pub(crate) fn enter(shared: &Shared, state: &mut State<'_, '_>, of: u8, source: &str) {
    // The first template of a rendering begins before there are variables. If
    // there are some, one around it was not loaded through the plugin.
    let has_untraced = Rendering::trace(state).is_none() && !state.exports().is_empty();
    let trace = &mut Rendering::of(shared, state).trace;
    trace.has_untraced |= has_untraced;
    let importing = trace.importing.take();
    let Ok(digest) = source.parse::<FragmentKey>() else { return };
    let name = state.name();
    // The macros of a template that is imported are reached through the one that
    // imports it.
    let has_macros = of & HAS_MACROS != 0 && importing.is_none_or(|other| other != name);
    let Some(trace) = Rendering::trace(state) else { return };
    let is_noted = trace.has_run(name, &digest)
        && (!has_macros || trace.macros.iter().any(|noted| noted == name));
    let begins = of & IN_BLOCK == 0 && !trace.chain.is_empty();
    if is_noted && !begins {
        return;
    }
    let name = name.to_owned();
    let trace = &mut Rendering::of(shared, state).trace;
    trace.note(&name, digest);
    if has_macros && !trace.macros.contains(&name) {
        trace.macros.push(name.clone());
    }
    if !begins {
        return;
    }
    // While the child runs, it can only have imported or included the parent.
    if trace.child.is_none() && trace.parent.as_ref() == Some(&name) {
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
) -> Result<Value, Error> {
    let child = state.name().to_owned();
    let parent = name.as_str().map(|name| resolved(state, name));
    // The engine takes its blocks now; it begins later.
    if let Some(parent) = &parent {
        note(shared, state, parent);
    }
    let trace = &mut Rendering::of(shared, state).trace;
    if trace.chain.last() != Some(&child) {
        trace.inheritances += 1;
    }
    trace.child = Some(child.clone());
    trace.chain.push(child);
    trace.parent.clone_from(&parent);
    trace.chain.extend(parent);
    uses(shared, state, name)
}

/// Records that a template which may extend another has run to its end: its
/// parent is the next to begin.
pub(crate) fn extended(shared: &Shared, state: &mut State<'_, '_>) {
    let trace = Rendering::trace(state);
    if trace.is_some_and(|trace| trace.child.as_deref() == Some(state.name())) {
        Rendering::of(shared, state).trace.child = None;
    }
}

/// Records a template whose macros are imported.
pub(crate) fn imports(
    shared: &Shared,
    state: &mut State<'_, '_>,
    name: &Value,
) -> Result<Value, Error> {
    if let Some(name) = name.as_str().map(|name| resolved(state, name)) {
        note_import(shared, state, &name);
        let trace = &mut Rendering::of(shared, state).trace;
        trace.imports.push(name);
    }
    uses(shared, state, name)
}

/// The same for a literal name.
pub(crate) fn imports_plainly(shared: &Shared, state: &mut State<'_, '_>, name: &Value) -> Value {
    if let Some(name) = name.as_str().map(|name| resolved(state, name)) {
        note_import(shared, state, &name);
    }
    name.clone()
}

/// Records a template that is imported next.
fn note_import(shared: &Shared, state: &mut State<'_, '_>, name: &str) {
    note(shared, state, name);
    let importing = state.name().to_owned();
    let trace = &mut Rendering::of(shared, state).trace;
    trace.importing = Some(name.to_owned());
    let is_known = |(one, other): &(String, String)| *one == importing && other == name;
    if !trace.imported.iter().any(is_known) {
        trace.imported.push((importing, name.to_owned()));
    }
}

/// Records the source of a template that the engine reads next. A template that
/// was loaded without the plugin does not record itself.
fn note(shared: &Shared, state: &mut State<'_, '_>, name: &str) {
    if let Some(digest) = digest_in_environment(shared, state, name) {
        Rendering::of(shared, state).trace.note(name, digest);
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
    // The engine takes an object for a list of names, whatever it is.
    let names: Vec<Value> = match name.as_object() {
        Some(object) => object.try_iter().into_iter().flatten().collect(),
        None => vec![name.clone()],
    };
    for name in names.iter().filter_map(Value::as_str) {
        let used = shared.with_versions(state, |versions| versions.of(state, name));
        shared.cache.use_template(used);
    }
    // A one-shot iterator has been consumed: pass on what it gave.
    Ok(if name.as_object().is_none() { name.clone() } else { Value::from(names) })
}
