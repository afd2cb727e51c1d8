//! A fragment as it is printed.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use cacheops::Hit;
use cacheops::template::Mark;
use minijinja::value::{Object, ObjectRepr};
use minijinja::{Error, ErrorKind, Output, State, Value};

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
/// passes everything that a template prints.
#[derive(Debug, Default)]
pub(crate) struct PrintMode(AtomicU8);

const UNKNOWN: u8 = 0;
const AS_OBJECT: u8 = 1;
const AS_SAFE_TEXT: u8 = 2;

/// Contains everything that a formatter may change.
const PROBE: &str = " <a href=\"'\\/&amp;\">[{1.50}]\n\t\u{e9}</a> ";

impl PrintMode {
    /// The value that the tag prints.
    pub(crate) fn print(&self, state: &mut State<'_, '_>, value: &Value) -> Result<Value, Error> {
        let Some(fragment) = value.downcast_object_ref::<Fragment>() else {
            return Err(fail("it prints, and has not ended"));
        };
        let probe = match &fragment.text {
            // With the very text: a formatter may have been set since, or
            // change some texts only.
            Text::Rendered(text) => Some(&**text),
            Text::Found(_) if self.0.load(Ordering::Relaxed) == UNKNOWN => Some(PROBE),
            Text::Found(_) => None,
        };
        if let Some(text) = probe {
            self.try_out(state, text)?;
        }
        Ok(match self.0.load(Ordering::Relaxed) {
            AS_SAFE_TEXT => Value::from_safe_string(value.to_string()),
            _ => value.clone(),
        })
    }

    fn try_out(&self, state: &mut State<'_, '_>, text: &str) -> Result<(), Error> {
        let mut prints = |value| state.format(value).is_ok_and(|printed| printed == text);
        let how = if prints(rendered(text.into(), None)) {
            AS_OBJECT
        } else if prints(Value::from_safe_string(text.to_owned())) {
            AS_SAFE_TEXT
        } else {
            return Err(fail(
                "the formatter of this environment would change cached fragments again: set it with `Tags::set_formatter` instead of `Environment::set_formatter`, which passes fragments to it",
            ));
        };
        if self.0.load(Ordering::Relaxed) != how {
            self.0.store(how, Ordering::Relaxed);
        }
        Ok(())
    }
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
