//! What the filters do that a tag becomes.

use std::sync::LazyLock;

use cacheops::template::{Mark, Tag, TagArguments, TagOptions, write_plain};
use cacheops::{Found, KeyWriter, QuerySet, Request};
use tera::{Context, Error, Kwargs, State, TeraResult, Value};

use crate::custom::TagCall;
use crate::dialect::PAGE;
use crate::engine::TeraEngine;
use crate::querysets::Querysets;
use crate::tags::Shared;
use crate::{frames, rendering};

/// Begins a `cached_as` or `cached`: looks the fragment up. True where the
/// body is to run.
pub(crate) fn begin(
    shared: &Shared,
    number: usize,
    kwargs: &Kwargs,
    state: &State<'_>,
) -> TeraResult<bool> {
    let tag = tag(shared, number)?;
    let fail = |why: String| in_rendering(&tag.text, &why);
    let layout = tag.layout;
    let get = |name: &str| argument(kwargs, name);
    let given_to = |is_given: bool, name: &str| if is_given { get(name) } else { None };
    let numbered = |prefix: &str, count: usize| -> Vec<&Value> {
        (0..count).filter_map(|at| get(&format!("{prefix}{at}"))).collect()
    };
    let mut key = KeyWriter::new();
    let marks = begin_key(shared, state, tag, &mut key);
    let one = (layout.querysets == 1).then(|| get("q0")).flatten();
    let many = if one.is_none() { numbered("q", layout.querysets) } else { Vec::new() };
    let querysets = match &one {
        Some(one) => Querysets::read(&[*one], &mut key),
        None => Querysets::read(&many, &mut key),
    };
    let querysets = querysets.map_err(fail)?;
    let extra = numbered("e", layout.extra);
    let given = TagArguments {
        timeout: given_to(layout.timeout, "timeout"),
        name: given_to(layout.name, "name"),
        lock: given_to(layout.lock, "lock"),
        when: given_to(layout.when, "when"),
        unless: given_to(layout.unless, "unless"),
        extra: &extra,
    };
    let options = TagOptions::read::<TeraEngine>(&given, &mut key).map_err(fail)?;
    querysets.with(|querysets| {
        look_up(shared, state, &Asked { tag, querysets, options: &options, marks }, &mut key)
    })
}

/// Begins a tag of the application's own.
pub(crate) fn begin_custom(
    shared: &Shared,
    number: usize,
    kwargs: &Kwargs,
    state: &State<'_>,
) -> TeraResult<bool> {
    let tag = tag(shared, number)?;
    let decorate = shared
        .decorator(&tag.name)
        .ok_or_else(|| in_rendering(&tag.text, "there is no such tag in this environment"))?;
    let call = TagCall::new(state, kwargs);
    let caching = decorate(&call).map_err(with_cause)?;
    call.check_all_used().map_err(|why| in_rendering(&tag.text, &why))?;
    let mut key = KeyWriter::new();
    let marks = begin_key(shared, state, tag, &mut key);
    for (name, value) in call.all() {
        write_plain::<TeraEngine>(name, value, &mut key);
    }
    let options = caching.options(&mut key);
    let querysets: Vec<&QuerySet> = caching.querysets();
    let asked = Asked { tag, querysets: &querysets, options: &options, marks };
    look_up(shared, state, &asked, &mut key)
}

/// An argument by its name.
pub(crate) fn argument<'k>(kwargs: &'k Kwargs, name: &str) -> Option<&'k Value> {
    kwargs.iter().find(|(key, _)| key.as_str() == Some(name)).map(|(_, value)| value)
}

fn tag(shared: &Shared, number: usize) -> TeraResult<&Tag> {
    shared.library.tag(number).ok_or_else(|| {
        in_rendering(
            "cached_as",
            "the template was rewritten for another Tera: load it through this one's `Tags`",
        )
    })
}

/// An error of a tag in rendering; the engine adds the place.
pub(crate) fn in_rendering(tag: &str, detail: &str) -> Error {
    Error::message(format!("`{tag}`: {detail}"))
}

/// An error of a tag of the application's own, whose cause is not to be lost.
fn with_cause(error: Error) -> Error {
    match std::error::Error::source(&error) {
        Some(_) => rendering::caused(error.to_string(), error),
        None => error,
    }
}

/// A tag about to be looked up.
struct Asked<'a> {
    tag: &'a Tag,
    querysets: &'a [&'a QuerySet],
    options: &'a TagOptions<'a>,
    marks: bool,
}

/// Writes what a fragment is besides its arguments; whether it gets marks.
fn begin_key(shared: &Shared, state: &State<'_>, tag: &Tag, key: &mut KeyWriter) -> bool {
    let marks = shared.marks(state);
    key.key(&tag.key);
    key.str(shared.cache.prefix());
    key.bool(marks);
    write_escaping(state, key);
    marks
}

/// Each character of ASCII that is no letter or digit, some that are, line
/// ends and blanks of Unicode, and what is not seen; then what Tera's own
/// function makes of that. It is escaped in each tag, so it is no longer.
static PROBE: LazyLock<(String, Option<String>)> = LazyLock::new(|| {
    let ascii = ('\0'..='\x7f').filter(|c| !c.is_ascii_alphanumeric());
    let others = "aZ0\u{85}\u{a0}\u{ad}\u{e9}\u{200b}\u{2028}\u{2029}\u{202e}\u{feff}\u{1f600}";
    let probe: String = ascii.chain(others.chars()).collect();
    let escaped = State::new(&Context::new()).escape(&probe).ok();
    (probe, escaped)
});

/// Writes how text is escaped. A clone of a Tera may have another function for
/// that, which does not tell its name, so it is tried.
fn write_escaping(state: &State<'_>, key: &mut KeyWriter) {
    key.bool(state.autoescaping_enabled());
    if !state.autoescaping_enabled() {
        return;
    }
    let (probe, usual) = &*PROBE;
    match state.escape(probe) {
        Ok(escaped) if usual.as_ref() == Some(&escaped) => {}
        Ok(escaped) => key.str(&escaped),
        Err(error) => key.str(&error.to_string()),
    }
}

fn look_up(
    shared: &Shared,
    state: &State<'_>,
    asked: &Asked<'_>,
    key: &mut KeyWriter,
) -> TeraResult<bool> {
    frames::sweep();
    let tag = asked.tag;
    let mut skip = asked.options.skip;
    if tag.has_blocks {
        // Which page fills the blocks; one that did not come through the
        // plugin does not say.
        match state.get::<Value>(PAGE)? {
            Some(page) => key.str(page.as_str().unwrap_or_default()),
            None => skip = true,
        }
        skip |= !rendering::knows_blocks(shared);
    }
    let key = key.finish();
    let page = rendering::page(shared);
    let request = Request {
        querysets: asked.querysets,
        name: asked.options.name,
        variant: asked.options.variant.as_deref(),
        place: &tag.place,
        time_to_live: asked.options.time_to_live,
        lock: asked.options.lock,
        skip,
        page: page.as_ref(),
        ..Request::new(key)
    };
    let found = if asked.options.passes {
        shared.cache.pass(&request).map(|()| Found::Bypass)
    } else {
        shared.cache.find(&request, &|_| true)
    };
    let mark = asked.marks.then_some(Mark { key });
    let fail =
        |error: cacheops::Error| rendering::caused(format!("`{}`: {error}", tag.text), error);
    match found.map_err(fail)? {
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

/// Ends a tag whose body has run: stores what it rendered.
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
