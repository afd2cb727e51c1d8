//! Tags that an application adds.

use std::cell::RefCell;
use std::collections::BTreeSet;

use cacheops::QuerySet;
use tera::{Error, Kwargs, State, Value};

use crate::engine::TeraEngine;
use crate::querysets;

/// How the body of such a tag is cached.
pub type Caching = cacheops::template::Caching<TeraEngine>;

/// One use of such a tag: what the author passed, and where.
pub struct TagCall<'a> {
    state: &'a State<'a>,
    kwargs: &'a Kwargs,
    arguments: Vec<Value>,
    used: RefCell<BTreeSet<String>>,
}

impl<'a> TagCall<'a> {
    pub(crate) fn new(state: &'a State<'_>, kwargs: &'a Kwargs) -> Self {
        let numbered = |at: usize| argument(kwargs, &format!("_{at}")).cloned();
        // Those without a keyword come first.
        let arguments = (0..).map_while(numbered).collect();
        TagCall { state, kwargs, arguments, used: RefCell::default() }
    }

    /// A variable of the template; undefined if there is none with this name.
    #[must_use]
    pub fn lookup(&self, name: &str) -> Value {
        self.state.get::<Value>(name).ok().flatten().unwrap_or_else(Value::undefined)
    }

    /// The arguments without a keyword.
    #[must_use]
    pub fn arguments(&self) -> &[Value] {
        &self.arguments
    }

    /// The argument of a keyword; undefined if it was not given.
    #[must_use]
    pub fn keyword(&self, name: &str) -> Value {
        self.used.borrow_mut().insert(name.to_owned());
        argument(self.kwargs, name).cloned().unwrap_or_else(Value::undefined)
    }

    /// The querysets in a value, such as an argument of the tag. It accepts
    /// everything that `cached_as` accepts.
    ///
    /// # Errors
    ///
    /// If the value is not a queryset.
    pub fn querysets(&self, value: &Value) -> Result<Vec<QuerySet>, Error> {
        querysets::all_of(value).map_err(Error::message)
    }

    /// The state of the engine.
    #[must_use]
    pub fn state(&self) -> &State<'_> {
        self.state
    }

    /// All arguments, in an order that is always the same.
    pub(crate) fn all(&self) -> Vec<(&str, &Value)> {
        let named = self.kwargs.iter().filter_map(|(key, value)| Some((key.as_str()?, value)));
        let mut all: Vec<(&str, &Value)> = named.collect();
        all.sort_unstable_by_key(|(name, _)| *name);
        all
    }

    pub(crate) fn check_all_used(&self) -> Result<(), String> {
        let used = self.used.borrow();
        let unused = self.all().into_iter().map(|(name, _)| name).find(|name| {
            let is_keyword = !name.starts_with('_') || name[1..].parse::<usize>().is_err();
            is_keyword && !used.contains(*name)
        });
        unused.map_or(Ok(()), |name| Err(format!("unknown keyword argument '{name}'")))
    }
}

/// An argument by its name.
pub(crate) fn argument<'k>(kwargs: &'k Kwargs, name: &str) -> Option<&'k Value> {
    kwargs.iter().find(|(key, _)| key.as_str() == Some(name)).map(|(_, value)| value)
}

impl std::fmt::Debug for TagCall<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TagCall").field("arguments", &self.arguments).finish_non_exhaustive()
    }
}
