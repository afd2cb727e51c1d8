//! The filters that a tag becomes.

use cacheops::template::{Mark, Tag, TagArguments, TagLookup, TagOptions, write_plain};
use cacheops::{Fill, Found, KeyWriter, QuerySet};
use minijinja::value::{Kwargs, ValueOrKwargs};
use minijinja::{Error, ErrorKind, State, Value};

use crate::custom::TagCall;
use crate::dependencies::{BodySources, version};
use crate::engine::MiniJinjaEngine;
use crate::errors::in_rendering;
use crate::escaping::write_escaping;
use crate::guards::{Namespaces, is_namespace};
use crate::rendering::{PendingFill, Rendering};
use crate::shared::Shared;
use crate::{fragment, querysets};

/// Begins a `cached_as` or `cached`: looks the fragment up.
pub(crate) fn begin(
    shared: &Shared,
    state: &mut State<'_, '_>,
    number: usize,
    arguments: &[Value],
) -> Result<Value, Error> {
    let mut begun = BegunTag::new(shared, state, number)?;
    let tag = begun.tag;
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

    let querysets = querysets::read(querysets, &mut begun.key).map_err(fail)?;
    let arguments = TagArguments { timeout, name, lock, when, unless, extra: &extra };
    let options = TagOptions::read::<MiniJinjaEngine>(&arguments, &mut begun.key).map_err(fail)?;
    querysets.with(|querysets| begun.look_up(shared, state, querysets, &options))
}

/// Begins a custom tag.
pub(crate) fn begin_custom(
    shared: &Shared,
    state: &mut State<'_, '_>,
    number: usize,
    arguments: &[Value],
    kwargs: &Kwargs,
) -> Result<Value, Error> {
    let mut begun = BegunTag::new(shared, state, number)?;
    let tag = begun.tag;
    let decorate = shared
        .custom
        .get(&tag.name)
        .ok_or_else(|| in_rendering(&tag.text, "there is no such tag in this environment"))?;
    let caching = decorate(&TagCall { state, arguments, kwargs })?;
    kwargs.assert_all_used()?;
    write_arguments(arguments, kwargs, &mut begun.key);
    let options = caching.options(&mut begun.key);
    let querysets: Vec<&QuerySet> = caching.querysets();
    begun.look_up(shared, state, &querysets, &options)
}

fn write_arguments(arguments: &[Value], kwargs: &Kwargs, key: &mut KeyWriter) {
    arguments.iter().for_each(|value| write_plain::<MiniJinjaEngine>("", value, key));
    for name in kwargs.args() {
        if let Ok(value) = kwargs.peek::<&Value>(name) {
            write_plain::<MiniJinjaEngine>(name, value, key);
        }
    }
}

/// A tag whose key is being written.
struct BegunTag<'a> {
    tag: &'a Tag,
    /// Whether comments with the key surround the fragment.
    is_marked: bool,
    key: KeyWriter,
}

impl<'a> BegunTag<'a> {
    fn new(shared: &'a Shared, state: &State<'_, '_>, number: usize) -> Result<Self, Error> {
        let tag = shared.templates.tag(number).ok_or_else(|| {
            in_rendering(
                "cached_as",
                "the template was rewritten for another environment: load it through this one's `Tags`",
            )
        })?;
        let is_marked = shared.has_marks(state);
        let mut key = tag.begin_key(&shared.cache, is_marked);
        key.key(&shared.environment);
        write_escaping(state.auto_escape(), &mut key);
        Ok(BegunTag { tag, is_marked, key })
    }

    /// Looks the fragment up. Returns the value that prints it, or the number
    /// of the body that begins.
    fn look_up(
        mut self,
        shared: &Shared,
        state: &mut State<'_, '_>,
        querysets: &[&QuerySet],
        options: &TagOptions<'_>,
    ) -> Result<Value, Error> {
        let tag = self.tag;
        let sources = BodySources::of(shared, state, tag, &mut self.key);
        let key = self.key.finish();
        let page = Rendering::of(shared, state).page.clone();
        let lookup = TagLookup {
            querysets,
            options,
            place: &tag.place,
            page: Some(&page),
            skip: sources.are_unclear,
        };
        let found = lookup.find(&shared.cache, key, &|used| shared.is_same(state, used));
        let mark = self.is_marked.then_some(Mark { key });
        let (pending, mark) = match found.map_err(|e| in_rendering(&tag.text, &e.to_string()))? {
            Found::Hit(hit) => return Ok(fragment::found(hit, mark)),
            Found::Miss(fill) => (Some(pending_fill(shared, state, fill, tag, sources)), mark),
            Found::Bypass => (None, None),
        };
        Ok(Value::from(Rendering::of(shared, state).begin(pending, mark)))
    }
}

fn pending_fill(
    shared: &Shared,
    state: &State<'_, '_>,
    fill: Fill,
    tag: &Tag,
    sources: BodySources,
) -> PendingFill {
    let BodySources { others, macros, .. } = sources;
    let others_of = others.as_ref().map(|(dependencies, _)| dependencies);
    let macros = macros.known(shared, state, tag.is_plain, others_of);
    PendingFill {
        fill,
        tag: tag.text.clone(),
        sources: others,
        namespaces: shared.templates.use_namespaces().then(|| Namespaces::seen(state)),
        macros,
        is_doubtful: false,
    }
}

/// Ends a tag whose body has run: stores its output, and returns the value that
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
    if let Some(PendingFill { fill, tag, sources, namespaces, is_doubtful, .. }) = pending {
        if let Some(name) = namespaces.as_ref().and_then(Namespaces::changed) {
            let why = format!(
                "its body changes the namespace `{name}` through a macro or an include, which a hit would not do: change it outside of the tag"
            );
            return Err(in_rendering(&tag, &why));
        }
        // A template that was loaded anew while the body ran is not the one
        // that the key speaks of.
        let same = sources.is_none_or(|(names, before)| version(shared, state, &names) == before);
        // One that changes namespaces was loaded while the body ran.
        let is_unseen = namespaces.is_none() && shared.templates.use_namespaces();
        if same && !is_doubtful && !is_unseen {
            Rendering::of(shared, state).unprinted = Some(fill);
        } else {
            fill.abandon();
        }
    }
    Ok(fragment::rendered(text, mark))
}

/// A copy of a namespace, for a body that assigns to it.
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
