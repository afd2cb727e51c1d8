//! The shared data of the tags of an environment: the cache, the templates, and
//! the settings of the application.

use std::sync::{Arc, OnceLock};

use cacheops::template::{CustomTags, EnvironmentId, rewrite};
use cacheops::{Cacheops, FragmentKey, KeyWriter, TemplateUse};
use minijinja::{AutoEscape, Error, State};

use crate::custom::{Caching, TagCall};
use crate::dialect::{MiniJinja, digest_in, read_syntax};
use crate::templates::{Source, Templates, Versions, digest_of};

/// The shared data of the tags of an environment. A clone of the environment
/// shares it too and, under another name, everything except the key.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) cache: Cacheops,
    /// Represents the environment in the keys of its fragments.
    pub(crate) environment: FragmentKey,
    pub(crate) templates: Arc<Templates>,
    pub(crate) custom: Arc<CustomTags<Decorator>>,
    /// Where comments surround fragments.
    pub(crate) marks: Arc<OnceLock<Box<MarkFilter>>>,
}

/// The name of the engine in keys.
pub(crate) const ENGINE: &str = "minijinja";

pub(crate) type Decorator = dyn Fn(&TagCall<'_>) -> Result<Caching, Error> + Send + Sync;
pub(crate) type MarkFilter = dyn Fn(&State<'_, '_>) -> bool + Send + Sync;

impl Shared {
    pub(crate) fn new(cache: &Cacheops, environment: &EnvironmentId) -> Self {
        Shared {
            cache: cache.clone(),
            environment: key_of(environment),
            templates: Arc::default(),
            custom: Arc::default(),
            marks: Arc::default(),
        }
    }

    /// The same for an environment with another name.
    pub(crate) fn renamed(&self, environment: &EnvironmentId) -> Self {
        Shared { environment: key_of(environment), ..self.clone() }
    }

    /// Whether comments surround fragments here.
    pub(crate) fn has_marks(&self, state: &State<'_, '_>) -> bool {
        let is_html = || matches!(state.auto_escape(), AutoEscape::Html);
        self.marks.get().is_some_and(|is_on| is_html() && is_on(state))
    }

    /// Whether a template that a body used is unchanged.
    pub(crate) fn is_same(&self, state: &State<'_, '_>, used: &TemplateUse) -> bool {
        self.with_versions(state, |versions| versions.again(state, used) == *used)
    }

    /// Reads the versions of templates with the syntax of the environment.
    pub(crate) fn with_versions<R>(
        &self,
        state: &State<'_, '_>,
        f: impl FnOnce(&Versions<'_>) -> R,
    ) -> R {
        let scan = |name: &str, text: &str| {
            let syntax = read_syntax(state.env().syntax());
            let digest = digest_in(text).unwrap_or_else(|| digest_of(name, text, &syntax));
            let dialect = MiniJinja { syntax: &syntax, first_tag: 0, digest };
            Source::new(digest, rewrite(text, &syntax, &[], &dialect).ok().as_ref())
        };
        f(&Versions { templates: &self.templates, scan: &scan })
    }
}

fn key_of(environment: &EnvironmentId) -> FragmentKey {
    let mut key = KeyWriter::new();
    environment.write_key(ENGINE, &mut key);
    key.finish()
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("cache", &self.cache).finish_non_exhaustive()
    }
}
