//! A fragment as it is printed.

use std::fmt;
use std::sync::{Arc, LazyLock};

use cacheops::Hit;
use cacheops::template::Mark;
use minijinja::value::{Object, ObjectRepr};
use minijinja::{Error, ErrorKind, Output, State, Value};

use crate::rendering::Rendering;

/// The final value of the variable of a tag: its text, from the cache or as it
/// was rendered. It is false, because there is no body to run.
struct Fragment {
    text: Text,
    mark: Option<Mark>,
}

/// A hit, for the variable of its tag.
pub(crate) fn found(hit: Hit, mark: Option<Mark>) -> Value {
    Value::from_object(Fragment { text: Text::Found(hit), mark })
}

/// A body that has run, for the variable of its tag.
pub(crate) fn rendered(text: Arc<str>, mark: Option<Mark>) -> Value {
    Value::from_object(Fragment { text: Text::Rendered(text), mark })
}

enum Text {
    Found(Hit),
    Rendered(Arc<str>),
}

impl Fragment {
    fn text(&self) -> &str {
        match &self.text {
            Text::Found(hit) => hit.text().unwrap_or_default(),
            Text::Rendered(text) => text,
        }
    }
}

impl Object for Fragment {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn is_true(self: &Arc<Self>) -> bool {
        false
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.text();
        match &self.mark {
            Some(mark) => write!(f, "{}{text}{}", mark.begin(), mark.end()),
            None => f.write_str(text),
        }
    }
}

impl fmt::Debug for Fragment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<fragment>")
    }
}

/// How the environment prints a fragment unchanged. A tag prints it where nothing
/// is escaped. But the application may have set a formatter, to which the engine
/// passes everything that a template prints. A clone of the environment may have
/// another one, so each rendering tries it out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PrintMode {
    AsObject,
    AsSafeText,
}

/// Contains everything that a formatter may change.
const PROBE: &str = " <a href=\"'\\/&amp;\">[{1.50}]\n\t\u{e9}</a> ";

static PROBE_FRAGMENT: LazyLock<Value> = LazyLock::new(|| rendered(PROBE.into(), None));

/// The value that a tag prints. The fragment of a body that has run is stored if
/// it can be printed.
pub(crate) fn print(state: &mut State<'_, '_>, value: &Value) -> Result<Value, Error> {
    let Some(fragment) = value.downcast_object_ref::<Fragment>() else {
        return Err(fail("it prints, and has not ended"));
    };
    let known = state.get_extension::<Rendering>().and_then(|rendering| rendering.print_mode);
    let mode = match (&fragment.text, known) {
        // With the very text: a formatter may change some texts only.
        (Text::Rendered(text), _) => try_out(state, text, rendered(text.clone(), None))?,
        (Text::Found(_), Some(mode)) => mode,
        (Text::Found(_), None) => try_out(state, PROBE, PROBE_FRAGMENT.clone())?,
    };
    if let Some(rendering) = state.get_extension_mut::<Rendering>() {
        rendering.print_mode = Some(mode);
        if let (Text::Rendered(text), Some(fill)) = (&fragment.text, rendering.unprinted.take()) {
            fill.finish(text.clone());
        }
    }
    Ok(match mode {
        PrintMode::AsObject => value.clone(),
        PrintMode::AsSafeText => Value::from_safe_string(value.to_string()),
    })
}

fn try_out(state: &mut State<'_, '_>, text: &str, fragment: Value) -> Result<PrintMode, Error> {
    let mut prints = |value| state.format(value).is_ok_and(|printed| printed == text);
    if prints(fragment) {
        return Ok(PrintMode::AsObject);
    }
    if prints(Value::from_safe_string(text.to_owned())) {
        return Ok(PrintMode::AsSafeText);
    }
    Err(fail(
        "the formatter of this environment would change cached fragments again: set it with `Tags::set_formatter` instead of `Environment::set_formatter`, which passes fragments to it",
    ))
}

fn fail(why: &str) -> Error {
    Error::new(ErrorKind::InvalidOperation, format!("a cache tag: {why}"))
}

/// A formatter that receives everything except fragments.
pub(crate) fn around_fragments<F>(
    formatter: F,
) -> impl Fn(&mut Output<'_>, &mut State<'_, '_>, &Value) -> Result<(), Error>
where
    F: Fn(&mut Output<'_>, &mut State<'_, '_>, &Value) -> Result<(), Error>,
{
    move |out, state, value| match value.downcast_object_ref::<Fragment>() {
        Some(_) => write!(out, "{value}").map_err(Error::from),
        None => formatter(out, state, value),
    }
}
