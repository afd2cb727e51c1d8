//! `{% call cached_as(…) %}`, for templates that cannot be loaded through the
//! plugin.

use cacheops::template::{TagArguments, TagLookup, TagOptions};
use cacheops::{Found, KeyWriter};
use minijinja::value::Kwargs;
use minijinja::{AutoEscape, Error, State, Value};

use crate::dependencies::{Version, version};
use crate::engine::MiniJinjaEngine;
use crate::errors::in_rendering;
use crate::escaping::write_escaping;
use crate::outer_macros::{self, FoundMacros};
use crate::querysets;
use crate::rendering::{PendingFill, Rendering};
use crate::shared::Shared;
use crate::templates::{Calls, Dependencies};

/// Runs a body that `{% call %}` passes, or finds its fragment.
pub(crate) fn call(
    shared: &Shared,
    state: &mut State<'_, '_>,
    function: &'static str,
    arguments: &[Value],
    kwargs: &Kwargs,
) -> Result<Value, Error> {
    let fail = |why: String| in_rendering(&format!("call {function}"), &why);
    let caller: Value = kwargs.get::<Option<Value>>("caller")?.ok_or_else(|| {
        fail(format!(
            "it caches the body of a call block, `call {function}(…)`, and there is none here"
        ))
    })?;
    let get = |name: &str| kwargs.get::<Option<Value>>(name);
    let (timeout, name, lock) = (get("timeout")?, get("name")?, get("lock")?);
    let (when, unless) = (get("if")?, get("unless")?);
    // An undefined `extra` is one that was given.
    let extra: Option<Value> = kwargs.has("extra").then(|| kwargs.get("extra")).transpose()?;
    kwargs.assert_all_used()?;
    if (function == "cached") != arguments.is_empty() {
        return Err(fail("`cached_as` takes querysets, `cached` takes none".to_owned()));
    }
    let mut key = KeyWriter::new();
    key.variant(function, 5);
    key.key(&shared.environment);
    key.str(shared.cache.prefix());
    write_escaping(state.auto_escape(), &mut key);
    let sources = write_place(shared, state, &mut key).map_err(fail)?;
    let querysets = querysets::read(arguments, &mut key).map_err(fail)?;
    let extra: Vec<&Value> = extra.iter().collect();
    let given = TagArguments {
        timeout: timeout.as_ref(),
        name: name.as_ref(),
        lock: lock.as_ref(),
        when: when.as_ref(),
        unless: unless.as_ref(),
        extra: &extra,
    };
    let options = TagOptions::read::<MiniJinjaEngine>(&given, &mut key).map_err(fail)?;
    let place = state.name().to_owned();
    let page = Rendering::of(shared, state).page.clone();
    let found = querysets.with(|querysets| {
        let lookup = TagLookup {
            querysets,
            options: &options,
            place: &place,
            page: Some(&page),
            skip: !sources.version.is_of_what_ran || sources.macros.are_unclear,
        };
        lookup.find(&shared.cache, key.finish(), &|used| shared.is_same(state, used))
    });
    match found.map_err(|error| fail(error.to_string()))? {
        Found::Hit(hit) => Ok(printed(state, hit.text().unwrap_or_default())),
        Found::Bypass => caller.call(state, &[]),
        Found::Miss(fill) => {
            let CallSources { dependencies, version: before, macros, is_plain } = sources;
            let macros = macros.known(shared, state, is_plain, Some(&dependencies));
            let pending = PendingFill {
                fill,
                tag: function.to_owned(),
                sources: Some((dependencies, before)),
                namespaces: None,
                macros,
                is_doubtful: false,
            };
            let number = Rendering::of(shared, state).begin(Some(pending), None);
            let body = caller.call(state, &[]);
            let ended = Rendering::of(shared, state).end(number);
            if let (Ok(body), Some((Some(pending), _))) = (&body, ended) {
                let is_same = |(names, before): &(_, _)| version(shared, state, names) == *before;
                let is_kept = !pending.is_doubtful && pending.sources.as_ref().is_none_or(is_same);
                match body.to_str() {
                    Some(text) if is_kept => pending.fill.finish(text),
                    _ => pending.fill.abandon(),
                }
            }
            body
        }
    }
}

fn printed(state: &State<'_, '_>, text: &str) -> Value {
    match state.auto_escape() {
        AutoEscape::None => Value::from(text),
        _ => Value::from_safe_string(text.to_owned()),
    }
}

/// What a body is made of.
struct CallSources {
    dependencies: Dependencies,
    version: Version,
    macros: FoundMacros,
    /// Whether its source is plain.
    is_plain: bool,
}

/// Writes the identity of the body, and returns the sources that it is made of.
/// The engine does not reveal the place of the call. So the identity is the
/// source of the template and, if there are several calls, the name.
fn write_place(
    shared: &Shared,
    state: &State<'_, '_>,
    key: &mut KeyWriter,
) -> Result<CallSources, String> {
    let template = state.env().get_template(state.name()).map_err(|_| {
        format!(
            "the environment has no template {:?}, so its fragments cannot be distinguished: add it with a name",
            state.name()
        )
    })?;
    let source = shared.with_versions(state, |versions| {
        let source = versions.templates.source(&template, versions.scan);
        if let Calls::Ambiguous(line) = source.calls {
            return Err(format!(
                "{:?} has several, and that of line {line} could be mistaken for another: give each a different literal name=\"…\"",
                state.name()
            ));
        }
        Ok(source)
    })?;
    let mut dependencies = Some(Dependencies::one(state.name()));
    let macros = outer_macros::add(shared, state, &source.uses(), &mut dependencies, key);
    let dependencies = dependencies.unwrap_or_default();
    let version = version(shared, state, &dependencies);
    key.key(&version.digest);
    Ok(CallSources { dependencies, version, macros, is_plain: source.is_plain })
}
