//! What the filters do that a tag becomes.

use cacheops::template::{Mark, Tag, TagArguments, TagOptions, write_plain};
use cacheops::{Found, FragmentKey, KeyWriter, QuerySet, Request};
use minijinja::value::{Kwargs, ValueKind, ValueOrKwargs};
use minijinja::{Error, ErrorKind, State, Value};

use crate::custom::TagCall;
use crate::engine::MiniJinjaEngine;
use crate::errors::in_rendering;
use crate::fragment;
use crate::guards::{Namespaces, is_namespace};
use crate::keys;
use crate::outer_macros;
use crate::querysets::Querysets;
use crate::rendering::{PendingFill, Rendering};
use crate::tags::Shared;
use crate::templates::{Dependencies, Uses};

/// Begins a `cached_as` or `cached`: looks the fragment up.
pub(crate) fn begin(
    shared: &Shared,
    state: &mut State<'_, '_>,
    number: usize,
    arguments: &[Value],
) -> Result<Value, Error> {
    let tag = tag(shared, number)?;
    let fail = |why: String| in_rendering(&tag.text, &why);
    let mut rest = arguments;
    let mut take = |count: usize| {
        let (taken, left) = rest.split_at(count.min(rest.len()));
        rest = left;
        taken
    };
    let querysets = take(tag.layout.querysets);
    let timeout = take(usize::from(tag.layout.timeout)).first();
    let name = take(usize::from(tag.layout.name)).first();
    let lock = take(usize::from(tag.layout.lock)).first();
    let when = take(usize::from(tag.layout.when)).first();
    let unless = take(usize::from(tag.layout.unless)).first();
    let extra: Vec<&Value> = take(tag.layout.extra).iter().collect();

    let mut key = KeyWriter::new();
    let marks = begin_key(shared, state, tag, &mut key);
    let querysets = Querysets::read(querysets, &mut key).map_err(fail)?;
    let given = TagArguments { timeout, name, lock, when, unless, extra: &extra };
    let options = TagOptions::read::<MiniJinjaEngine>(&given, &mut key).map_err(fail)?;
    querysets.with(|querysets| {
        let asked = Asked { tag, querysets, options: &options, marks };
        look_up(shared, state, &asked, &mut key)
    })
}

/// Begins a tag of the application's own.
pub(crate) fn begin_custom(
    shared: &Shared,
    state: &mut State<'_, '_>,
    number: usize,
    arguments: &[Value],
    kwargs: &Kwargs,
) -> Result<Value, Error> {
    let tag = tag(shared, number)?;
    let decorate = shared
        .decorator(&tag.name)
        .ok_or_else(|| in_rendering(&tag.text, "there is no such tag in this environment"))?;
    let caching = decorate(&TagCall { state, arguments, kwargs })?;
    kwargs.assert_all_used()?;
    let mut key = KeyWriter::new();
    let marks = begin_key(shared, state, tag, &mut key);
    write_arguments(arguments, kwargs, &mut key);
    let options = caching.options(&mut key);
    let querysets: Vec<&QuerySet> = caching.querysets();
    let asked = Asked { tag, querysets: &querysets, options: &options, marks };
    look_up(shared, state, &asked, &mut key)
}

fn tag(shared: &Shared, number: usize) -> Result<&Tag, Error> {
    shared.templates.tag(number).ok_or_else(|| {
        in_rendering(
            "cached_as",
            "the template was rewritten for another environment: load it through this one's `Tags`",
        )
    })
}

fn write_arguments(arguments: &[Value], kwargs: &Kwargs, key: &mut KeyWriter) {
    arguments.iter().for_each(|value| write_plain::<MiniJinjaEngine>("", value, key));
    for name in kwargs.args() {
        if let Ok(value) = kwargs.peek::<&Value>(name) {
            write_plain::<MiniJinjaEngine>(name, value, key);
        }
    }
}

/// A tag about to be looked up.
pub(crate) struct Asked<'a> {
    pub(crate) tag: &'a Tag,
    pub(crate) querysets: &'a [&'a QuerySet],
    pub(crate) options: &'a TagOptions<'a>,
    pub(crate) marks: bool,
}

/// Writes what a fragment is besides its arguments; whether it gets marks.
pub(crate) fn begin_key(
    shared: &Shared,
    state: &State<'_, '_>,
    tag: &Tag,
    key: &mut KeyWriter,
) -> bool {
    let marks = shared.marks(state);
    key.key(&tag.key);
    key.key(&shared.environment);
    key.str(shared.cache.prefix());
    key.bool(marks);
    keys::write_escaping(state.auto_escape(), key);
    marks
}

pub(crate) fn look_up(
    shared: &Shared,
    state: &mut State<'_, '_>,
    asked: &Asked<'_>,
    key: &mut KeyWriter,
) -> Result<Value, Error> {
    let tag = asked.tag;
    let imports = tag.dynamic_imports || !tag.references.is_empty();
    let has_blocks = tag.has_blocks || (imports && shared.templates.macros_use_blocks());
    // What it imports, or fills its blocks, may import by a variable in turn.
    let has_imported = || Rendering::trace(state).is_some_and(|trace| !trace.imports.is_empty());
    let dynamic = tag.dynamic_imports || ((imports || has_blocks) && has_imported());
    if dynamic {
        write_imports(state, key);
    }
    let mut dependencies = dependencies(state, tag, has_blocks, dynamic);
    outer_macros::add(
        shared,
        state,
        &Uses { names: &tag.uses, any: tag.may_use_any },
        &mut dependencies,
    );
    let version = dependencies.as_ref().map(|dependencies| version(shared, state, dependencies));
    if let Some(version) = &version {
        key.key(version);
    }
    let is_other = version.is_some() && runs_another_source(shared, state);
    let key = key.finish();
    let page = Rendering::of(shared, state).page.clone();
    let request = Request {
        querysets: asked.querysets,
        name: asked.options.name,
        variant: asked.options.variant.as_deref(),
        place: &tag.place,
        time_to_live: asked.options.time_to_live,
        lock: asked.options.lock,
        skip: asked.options.skip || is_other || (has_blocks && is_inheritance_unclear(state)),
        page: Some(&page),
        ..Request::new(key)
    };
    let found = if asked.options.passes {
        shared.cache.pass(&request).map(|()| Found::Bypass)
    } else {
        shared.cache.find(&request, &|used| shared.is_same(state, used))
    };
    let mark = asked.marks.then_some(Mark { key });
    let found = found.map_err(|error| in_rendering(&tag.text, &error.to_string()))?;
    let (pending, mark) = match found {
        Found::Hit(hit) => return Ok(fragment::found(hit, mark)),
        Found::Miss(fill) => {
            let namespaces = shared.templates.use_namespaces().then(|| Namespaces::seen(state));
            (
                Some(PendingFill {
                    fill,
                    tag: tag.text.clone(),
                    dependencies: dependencies.zip(version),
                    namespaces,
                }),
                mark,
            )
        }
        Found::Bypass => (None, None),
    };
    Ok(Value::from(Rendering::of(shared, state).begin(pending, mark)))
}

/// Whether more than one inheritance is or was under way in this rendering, or
/// one of a template that the environment does not know, or that was also
/// rendered by itself: which templates fill the blocks of a body cannot be told
/// then.
fn is_inheritance_unclear(state: &State<'_, '_>) -> bool {
    let is_unknown = |name: &String| state.env().get_template(name).is_err();
    Rendering::trace(state).is_some_and(|trace| {
        trace.inheritances > 1 || trace.is_unclear || trace.chain.iter().any(is_unknown)
    })
}

/// Whether this rendering runs another source of a template than the
/// environment has under its name: one that was loaded anew since, or a text
/// that is rendered under the name of a template. The version in a key is of
/// what the environment has.
fn runs_another_source(shared: &Shared, state: &State<'_, '_>) -> bool {
    let ran = Rendering::trace(state).map_or(&[][..], |trace| &trace.ran);
    ran.iter()
        .any(|(name, digest)| digest_in_environment(shared, state, name).as_ref() != Some(digest))
}

fn digest_in_environment(
    shared: &Shared,
    state: &State<'_, '_>,
    name: &str,
) -> Option<FragmentKey> {
    let template = state.env().get_template(name).ok()?;
    Some(shared.with_versions(state, |versions| versions.digest(&template)))
}

/// Writes the names imported so far: the last one of a name is what is called.
fn write_imports(state: &State<'_, '_>, key: &mut KeyWriter) {
    let imports = Rendering::trace(state).map_or(&[][..], |trace| &trace.imports);
    key.list(imports.len());
    imports.iter().for_each(|name| key.str(name));
}

/// The templates that a body is made of besides its own, if there are any:
/// those it includes, those whose macros it can call, and where it has blocks
/// those of the inheritance that is being rendered.
fn dependencies(
    state: &State<'_, '_>,
    tag: &Tag,
    has_blocks: bool,
    dynamic: bool,
) -> Option<Dependencies> {
    let mut dependencies = Dependencies { named: tag.references.clone(), resolved: Vec::new() };
    if let Some(trace) = Rendering::trace(state) {
        if has_blocks {
            dependencies.resolved.extend(trace.chain.iter().cloned());
        }
        if dynamic {
            dependencies.resolved.extend(trace.imports.iter().cloned());
        }
    }
    (!dependencies.named.is_empty() || !dependencies.resolved.is_empty()).then_some(dependencies)
}

fn version(shared: &Shared, state: &State<'_, '_>, dependencies: &Dependencies) -> FragmentKey {
    let mut key = KeyWriter::new();
    shared.with_versions(state, |versions| versions.write(state, dependencies, &mut key));
    key.finish()
}

/// Ends a tag whose body has run: stores what it rendered, and answers what
/// prints it.
pub(crate) fn store(
    shared: &Shared,
    state: &mut State<'_, '_>,
    body: &Value,
    number: u64,
) -> Result<Value, Error> {
    let (pending, mark) = Rendering::of(shared, state).end(number).ok_or_else(|| {
        Error::new(ErrorKind::InvalidOperation, "a cache tag: it ends, and has not begun")
    })?;
    let text = body.to_str().unwrap_or_default();
    if let Some(PendingFill { fill, tag, dependencies, namespaces }) = pending {
        if let Some(name) = namespaces.as_ref().and_then(Namespaces::changed) {
            let why = format!(
                "its body changes the namespace `{name}` by a macro or an include, which a hit would not do: change it outside of the tag"
            );
            return Err(in_rendering(&tag, &why));
        }
        // A template that was loaded anew while the body ran is not the one
        // that the key speaks of.
        let same =
            dependencies.is_none_or(|(names, before)| version(shared, state, &names) == before);
        if same {
            fill.finish(text.clone());
        } else {
            fill.abandon();
        }
    }
    Ok(fragment::rendered(text, mark))
}

/// The name of a template, as the environment knows it.
fn resolved(state: &State<'_, '_>, name: &str) -> String {
    state.get_template(name).map_or_else(|_| name.to_owned(), |found| found.name().to_owned())
}

/// Notes that a template begins. One that is extended, and begins by itself
/// too, has other blocks then.
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

/// Notes a template that another extends.
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

/// Notes a template whose macros are imported.
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

/// The same of one whose name stands in the source.
pub(crate) fn imports_plainly(shared: &Shared, state: &mut State<'_, '_>, name: &Value) -> Value {
    if let Some(name) = name.as_str().map(|name| resolved(state, name)) {
        note(shared, state, &name);
    }
    name.clone()
}

/// Notes the source of a template whose macros run from now on.
fn note(shared: &Shared, state: &mut State<'_, '_>, name: &str) {
    if let Some(digest) = digest_in_environment(shared, state, name) {
        Rendering::of(shared, state).trace.note(name.to_owned(), digest);
    }
}

/// Notes a template that a body uses by a name that only rendering tells.
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

/// A namespace like another, for a body that assigns to it.
pub(crate) fn copy(value: &Value) -> Result<Value, Error> {
    if !is_namespace(value) {
        return Ok(value.clone());
    }
    let mut pairs = Vec::new();
    for name in value.try_iter()? {
        pairs.push((name.clone(), value.get_item(&name)?));
    }
    let pairs = Value::from_pairs(pairs);
    let arguments = [pairs];
    let (defaults,) = minijinja::value::from_args::<(ValueOrKwargs,)>(&arguments)?;
    minijinja::functions::namespace(Some(defaults))
}
