//! The filters that a tag becomes.

use std::rc::Rc;

use cacheops::template::{Mark, Querysets, Tag, TagArguments, TagLookup, TagOptions, write_plain};
use cacheops::{Found, KeyWriter, QuerySet};
use tera::{Error, Kwargs, State, TeraResult, Value};

use crate::custom::{TagCall, argument};
use crate::engine::TeraEngine;
use crate::escaping::write_escaping;
use crate::names::PAGE;
use crate::shared::Shared;
use crate::{frames, querysets, rendering};

/// Begins a `cached_as` or `cached`: looks the fragment up. True if the body has
/// to run.
pub(crate) fn begin(
    shared: &Shared,
    number: usize,
    kwargs: &Kwargs,
    state: &State<'_>,
) -> TeraResult<bool> {
    let mut begun = BegunTag::new(shared, state, number)?;
    let tag = begun.tag;
    let fail = |why: String| in_rendering(&tag.text, &why);
    let layout = tag.layout;
    let given = |is_given: bool, name: &str| is_given.then(|| argument(kwargs, name)).flatten();
    let querysets = read_querysets(kwargs, layout.querysets, &mut begun.key).map_err(fail)?;
    let arguments = TagArguments {
        timeout: given(layout.timeout, "timeout"),
        name: given(layout.name, "name"),
        lock: given(layout.lock, "lock"),
        when: given(layout.when, "when"),
        unless: given(layout.unless, "unless"),
        extra: &numbered(kwargs, "e", layout.extra),
    };
    let options = TagOptions::read::<TeraEngine>(&arguments, &mut begun.key).map_err(fail)?;
    querysets.with(|querysets| begun.look_up(shared, state, querysets, &options))
}

/// The arguments that a tag may have several of, in order.
fn numbered<'k>(kwargs: &'k Kwargs, prefix: &str, count: usize) -> Vec<&'k Value> {
    (0..count).filter_map(|at| argument(kwargs, &format!("{prefix}{at}"))).collect()
}

fn read_querysets(
    kwargs: &Kwargs,
    count: usize,
    key: &mut KeyWriter,
) -> Result<Querysets<Rc<QuerySet>>, String> {
    // The usual case needs no list.
    match (count == 1).then(|| argument(kwargs, "q0")).flatten() {
        Some(one) => querysets::read_all(&[one], key),
        None => querysets::read_all(&numbered(kwargs, "q", count), key),
    }
}

/// Begins a custom tag.
pub(crate) fn begin_custom(
    shared: &Shared,
    number: usize,
    kwargs: &Kwargs,
    state: &State<'_>,
) -> TeraResult<bool> {
    let mut begun = BegunTag::new(shared, state, number)?;
    let tag = begun.tag;
    let decorate = shared
        .custom
        .get(&tag.name)
        .ok_or_else(|| in_rendering(&tag.text, "there is no such tag in this environment"))?;
    let call = TagCall::new(state, kwargs);
    let caching = decorate(&call).map_err(with_cause)?;
    call.check_all_used().map_err(|why| in_rendering(&tag.text, &why))?;
    for (name, value) in call.all() {
        write_plain::<TeraEngine>(name, value, &mut begun.key);
    }
    let options = caching.options(&mut begun.key);
    let querysets: Vec<&QuerySet> = caching.querysets();
    begun.look_up(shared, state, &querysets, &options)
}

/// An error of a tag in rendering. The engine adds the place.
pub(crate) fn in_rendering(tag: &str, detail: &str) -> Error {
    Error::message(format!("`{tag}`: {detail}"))
}

/// An error of a custom tag, whose cause must not be lost.
fn with_cause(error: Error) -> Error {
    match std::error::Error::source(&error) {
        Some(_) => rendering::caused(error.to_string(), error),
        None => error,
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
    fn new(shared: &'a Shared, state: &State<'_>, number: usize) -> TeraResult<Self> {
        let tag = shared.library.tag(number).ok_or_else(|| {
            in_rendering(
                "cached_as",
                "the template was rewritten for another Tera: load it through this one's `Tags`",
            )
        })?;
        let is_marked = shared.has_marks(state);
        let mut key = tag.begin_key(&shared.cache, is_marked);
        write_escaping(state, &mut key);
        Ok(BegunTag { tag, is_marked, key })
    }

    /// Looks the fragment up. True if the body has to run.
    fn look_up(
        mut self,
        shared: &Shared,
        state: &State<'_>,
        querysets: &[&QuerySet],
        options: &TagOptions<'_>,
    ) -> TeraResult<bool> {
        frames::sweep();
        let tag = self.tag;
        let knows_blocks = !tag.has_blocks || self.write_page(shared, state)?;
        let key = self.key.finish();
        let page = shared.page();
        let lookup = TagLookup {
            querysets,
            options,
            place: &tag.place,
            page: page.as_ref(),
            skip: !knows_blocks,
        };
        let mark = self.is_marked.then_some(Mark { key });
        let fail =
            |error: cacheops::Error| rendering::caused(format!("`{}`: {error}", tag.text), error);
        match lookup.find(&shared.cache, key, &|_| true).map_err(fail)? {
            Found::Hit(hit) => {
                frames::found(hit, mark);
                Ok(false)
            }
            Found::Miss(fill) => {
                frames::begin(Some(fill), mark);
                Ok(true)
            }
            Found::Bypass => {
                frames::begin(None, None);
                Ok(true)
            }
        }
    }

    /// Writes which page fills the blocks of the body. False if this is
    /// unknown, because the page was not loaded through the plugin.
    fn write_page(&mut self, shared: &Shared, state: &State<'_>) -> TeraResult<bool> {
        let page = state.get::<Value>(PAGE)?;
        if let Some(page) = &page {
            self.key.str(page.as_str().unwrap_or_default());
        }
        Ok(page.is_some() && shared.knows_blocks())
    }
}

/// Ends a tag whose body has run: stores its output.
pub(crate) fn store(body: &Value, kwargs: &Kwargs) -> TeraResult<Value> {
    let ended = frames::end(&kwargs.must_get::<Value>("fill")?)?;
    let text = body.as_str().unwrap_or_default();
    if let Some(fill) = ended.fill {
        fill.finish(text.into());
    }
    Ok(match ended.mark {
        None => body.clone(),
        // Only where text is escaped, so what a body gives is safe.
        Some(mark) => Value::safe_string(&format!("{}{text}{}", mark.begin(), mark.end())),
    })
}
