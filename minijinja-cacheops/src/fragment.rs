//! A fragment between the beginning and the end of its tag.

use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use cacheops::template::Mark;
use cacheops::{Fill, FragmentKey, Hit};
use minijinja::Value;
use minijinja::value::{Object, ObjectRepr};

/// What the variable of a tag holds: the text, or the duty to make it. It is
/// true while the body has to run. Dropped by an error on the way, it drops
/// the fill.
pub(crate) struct Fragment {
    text: OnceLock<Text>,
    making: Mutex<Option<Making>>,
    mark: Option<Mark>,
}

/// What is printed: as it lies in the cache, or as it was rendered.
enum Text {
    Found(Hit),
    Rendered(Arc<str>),
}

/// A fill, and what its key says of the sources of other templates.
pub(crate) struct Making {
    pub(crate) fill: Fill,
    /// The number of the tag, and the versions at its beginning.
    pub(crate) sources: Option<(Vec<String>, FragmentKey)>,
}

impl Fragment {
    pub(crate) fn found(hit: Hit, mark: Option<Mark>) -> Value {
        let text = OnceLock::from(Text::Found(hit));
        let fragment = Fragment { text, making: Mutex::new(None), mark };
        Value::from_object(fragment)
    }

    pub(crate) fn missing(making: Option<Making>, mark: Option<Mark>) -> Value {
        let fragment = Fragment { text: OnceLock::new(), making: Mutex::new(making), mark };
        Value::from_object(fragment)
    }

    /// Takes what the body rendered, for printing; answers the fill, which is
    /// to be ended.
    pub(crate) fn take(&self, text: Arc<str>) -> Option<Making> {
        let _ = self.text.set(Text::Rendered(text));
        self.making.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Object for Fragment {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn is_true(self: &Arc<Self>) -> bool {
        self.text.get().is_none()
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self.text.get() {
            Some(Text::Found(hit)) => hit.text().unwrap_or_default(),
            Some(Text::Rendered(text)) => text,
            None => "",
        };
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
