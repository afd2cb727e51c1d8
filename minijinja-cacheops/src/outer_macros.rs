//! Macros of a template around an include. The included template may call them
//! without naming the template that defines them.

use minijinja::{State, Value};

use crate::guards::is_namespace;
use crate::rendering::Rendering;
use crate::shared::Shared;
use crate::templates::{Dependencies, Uses};

/// How many values are checked. If there are more, one may be a macro.
const MOST: usize = 256;

/// Adds the templates whose macros a body may call and that are not among its
/// sources. These are all templates with macros that began earlier in the
/// rendering, if the body or an include of it uses a name that is a macro here.
pub(crate) fn add(
    shared: &Shared,
    state: &State<'_, '_>,
    own: &Uses<'_>,
    dependencies: &mut Option<Dependencies>,
) {
    let Some(trace) = Rendering::trace(state) else { return };
    let is_own = |name: &str| {
        name == state.name()
            || dependencies
                .as_ref()
                .is_some_and(|dependencies| dependencies.named.iter().any(|own| own == name))
    };
    if trace.macros.iter().all(|name| is_own(name)) {
        return;
    }
    let includes = dependencies.as_ref();
    let is_used = are_used(state, own)
        || includes.is_some_and(|dependencies| {
            let all = shared.with_versions(state, |versions| versions.all(state, dependencies));
            all.iter().any(|source| are_used(state, &source.uses()))
        });
    if is_used {
        dependencies.get_or_insert_default().resolved.extend(trace.macros.iter().cloned());
    }
}

fn are_used(state: &State<'_, '_>, uses: &Uses<'_>) -> bool {
    let mut left = MOST;
    let mut is_macro =
        |name: &String| state.lookup(name).is_some_and(|value| may_be_macro(&value, &mut left));
    uses.any || uses.names.iter().any(&mut is_macro)
}

/// Whether a value is or contains a macro or an import. Only values of the engine
/// are checked, because reading others could run a query.
fn may_be_macro(value: &Value, left: &mut usize) -> bool {
    let Some(object) = value.as_object() else { return false };
    let kind = object.type_name();
    if kind.ends_with("Macro") || kind.ends_with("::Module") {
        return true;
    }
    let is_list = kind == std::any::type_name::<Vec<Value>>();
    let is_map = is_namespace(value)
        || kind.contains("Map<minijinja::value::Value, minijinja::value::Value");
    if !is_list && !is_map {
        return false;
    }
    value.try_iter().into_iter().flatten().any(|item| {
        let inner = if is_map { value.get_item(&item).unwrap_or_default() } else { item };
        *left = left.saturating_sub(1);
        *left == 0 || may_be_macro(&inner, left)
    })
}
