//! The filters and functions that the plugin registers in an environment.

use std::sync::Arc;

use cacheops::FragmentKey;
use cacheops::template::last_invalidation;
use minijinja::value::{Kwargs, Object};
use minijinja::{Environment, State, Value};

use crate::engine::MiniJinjaEngine;
use crate::shared::Shared;
use crate::traced_macro::MacroId;
use crate::{call, dialect, fragment, guards, querysets, runtime, traced_macro, uses};

/// Registers all of them. They replace those of earlier tags.
pub(crate) fn register(env: &mut Environment<'_>, shared: &Arc<Shared>) {
    add_filters(env, shared);
    add_functions(env, shared);
}

/// Returns the tags of an environment when they are installed again.
#[derive(Debug)]
struct Installed(Arc<Shared>);

impl Object for Installed {}

/// The shared data of the tags that an environment already has.
pub(crate) fn installed(env: &Environment<'_>) -> Option<Arc<Shared>> {
    let found = env.empty_state().apply_filter(dialect::INSTALLED, &[Value::from(0)]).ok()?;
    found.downcast_object_ref::<Installed>().map(|installed| installed.0.clone())
}

fn add_filters(env: &mut Environment<'_>, shared: &Arc<Shared>) {
    let it = shared.clone();
    env.add_filter(dialect::BEGIN, move |state: &mut State, number: usize, arguments: &[Value]| {
        runtime::begin(&it, state, number, arguments)
    });
    let it = shared.clone();
    env.add_filter(
        dialect::BEGIN_CUSTOM,
        move |state: &mut State, number: usize, arguments: &[Value], kwargs: Kwargs| {
            runtime::begin_custom(&it, state, number, arguments, &kwargs)
        },
    );
    let it = shared.clone();
    env.add_filter(dialect::STORE, move |state: &mut State, body: &Value, number: u64| {
        runtime::store(&it, state, body, number)
    });
    env.add_filter(dialect::PRINT, fragment::print);
    let it = shared.clone();
    env.add_filter(dialect::USES, move |state: &mut State, name: &Value| {
        uses::uses(&it, state, name)
    });
    let it = shared.clone();
    env.add_filter(dialect::EXTENDS, move |state: &mut State, name: &Value| {
        uses::extends(&it, state, name)
    });
    let it = shared.clone();
    env.add_filter(dialect::IMPORTS_PLAINLY, move |state: &mut State, name: &Value| {
        uses::imports_plainly(&it, state, name)
    });
    let it = shared.clone();
    env.add_filter(dialect::IMPORTS, move |state: &mut State, name: &Value| {
        uses::imports(&it, state, name)
    });
    let it = shared.clone();
    env.add_filter(dialect::PAGE, move |state: &mut State, of: u8, digest: &str| {
        uses::enter(&it, state, of, digest);
        false
    });
    let it = shared.clone();
    env.add_filter(dialect::EXTENDED, move |state: &mut State, _: &Value| {
        uses::extended(&it, state);
        false
    });
    let it = shared.clone();
    env.add_filter(dialect::INSTALLED, move |_: &Value| Value::from_object(Installed(it.clone())));
    let it = shared.clone();
    env.add_filter(dialect::CALLER, move |caller: &Value, number: usize| {
        let text = it.templates.tag(number).map_or("", |tag| &tag.text);
        guards::caller(caller, text)
    });
    let it = shared.clone();
    env.add_filter(dialect::HAND_ON, move |state: &mut State, caller: &Value| {
        traced_macro::trace(&it, state, caller, None)
    });
    let it = shared.clone();
    env.add_filter(
        dialect::MACRO,
        move |state: &mut State, value: &Value, source: &str, index: usize, is_plain: u8| {
            let source = source.parse::<FragmentKey>().ok();
            let id = source.map(|source| MacroId { source, index, is_plain: is_plain == 1 });
            traced_macro::trace(&it, state, value, id)
        },
    );
    env.add_filter(dialect::COPY, runtime::copy);
}

fn add_functions(env: &mut Environment<'_>, shared: &Arc<Shared>) {
    for name in ["cached_as", "cached"] {
        let it = shared.clone();
        env.add_function(name, move |state: &mut State, arguments: &[Value], kwargs: Kwargs| {
            call::call(&it, state, name, arguments, &kwargs)
        });
    }
    let cache = shared.cache.clone();
    env.add_function("get_last_invalidation", move |tables: &[Value]| {
        last_invalidation::<MiniJinjaEngine>(&cache, tables)
    });
    env.add_function("queryset", |table: &Value, conditions: Kwargs| {
        querysets::queryset_function(table, conditions)
    });
}
