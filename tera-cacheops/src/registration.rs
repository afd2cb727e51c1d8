//! The filters and functions that the plugin registers in a Tera.

use std::sync::Arc;

use cacheops::Cacheops;
use cacheops::template::last_invalidation;
use tera::{Kwargs, State, Tera, TeraResult, Value};

use crate::custom::argument;
use crate::engine::TeraEngine;
use crate::shared::Shared;
use crate::{frames, names, querysets, runtime};

/// Registers all of them. They replace those of earlier tags.
pub(crate) fn register(tera: &mut Tera, shared: &Arc<Shared>) {
    register_tags(tera, shared);
    register_functions(tera, &shared.cache);
}

fn register_tags(tera: &mut Tera, shared: &Arc<Shared>) {
    let it = shared.clone();
    tera.register_filter(names::BEGIN, move |number: usize, kwargs: Kwargs, state: &State| {
        runtime::begin(&it, number, &kwargs, state)
    });
    let it = shared.clone();
    tera.register_filter(
        names::BEGIN_CUSTOM,
        move |number: usize, kwargs: Kwargs, state: &State| {
            runtime::begin_custom(&it, number, &kwargs, state)
        },
    );
    tera.register_function(names::FILL, |_: Kwargs, _: &State| frames::token());
    tera.register_filter(names::STORE, |body: Value, kwargs: Kwargs, _: &State| {
        runtime::store(&body, &kwargs)
    });
    tera.register_function(names::HIT, |_: Kwargs, _: &State| frames::take_found());
}

fn register_functions(tera: &mut Tera, cache: &Cacheops) {
    tera.register_filter("rows", |value: Value, _: Kwargs, _: &State| querysets::rows(&value));
    tera.register_function("rows", |kwargs: Kwargs, _: &State| {
        querysets::rows(&kwargs.must_get::<Value>("of")?)
    });
    tera.register_filter("queryset", |table: Value, kwargs: Kwargs, _: &State| {
        querysets::build(&table, &kwargs, "")
    });
    tera.register_function("queryset", |kwargs: Kwargs, _: &State| {
        querysets::build(&kwargs.must_get::<Value>("table")?, &kwargs, "table")
    });
    let cache = cache.clone();
    tera.register_function("get_last_invalidation", move |kwargs: Kwargs, _: &State| {
        last_invalidation_of(&cache, &kwargs)
    });
}

/// `get_last_invalidation(of="articles")`, or of a list of names.
fn last_invalidation_of(cache: &Cacheops, kwargs: &Kwargs) -> TeraResult<Option<f64>> {
    let of = argument(kwargs, "of").map(std::slice::from_ref).unwrap_or_default();
    let tables = match of {
        [list] => list.as_array().unwrap_or(of),
        _ => of,
    };
    last_invalidation::<TeraEngine>(cache, tables)
}
