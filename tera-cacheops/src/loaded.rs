//! Templates, as a Tera has them.

use std::sync::Arc;

use cacheops::FragmentKey;
use cacheops::template::{Rewritten, SourceMapEntry};

use crate::source::{ByName, Source};

/// A template, as Tera has it.
#[derive(Debug)]
pub(crate) struct LoadedTemplate {
    pub(crate) source: Arc<Source>,
    /// Represents everything that its rewriting depends on.
    pub(crate) signature: FragmentKey,
    pub(crate) rewritten: Arc<str>,
    pub(crate) source_map: Vec<SourceMapEntry>,
    /// The same without the tags whose bodies contain blocks, if it has any.
    pub(crate) plain: Option<Arc<LoadedTemplate>>,
    /// Whether it replaces a template whose file is gone.
    pub(crate) is_removed: bool,
}

impl LoadedTemplate {
    pub(crate) fn of(source: &Arc<Source>, signature: FragmentKey, done: Rewritten<'_>) -> Self {
        let rewritten = done.source.as_str().into();
        LoadedTemplate {
            source: source.clone(),
            signature,
            rewritten,
            source_map: done.source_map,
            plain: None,
            is_removed: false,
        }
    }

    /// A template without tags.
    pub(crate) fn unchanged(source: Arc<Source>) -> Self {
        let (signature, rewritten) = (source.digest, source.text.clone());
        LoadedTemplate {
            source,
            signature,
            rewritten,
            source_map: Vec::new(),
            plain: None,
            is_removed: false,
        }
    }

    /// The replacement for a template whose file is gone.
    pub(crate) fn tombstone(before: &LoadedTemplate, rewritten: Arc<str>) -> Self {
        let (source, signature) = (before.source.clone(), before.signature);
        LoadedTemplate {
            source,
            signature,
            rewritten,
            source_map: Vec::new(),
            plain: None,
            is_removed: true,
        }
    }
}

/// The sources of templates.
pub(crate) fn sources_of(templates: &ByName<LoadedTemplate>) -> ByName<Source> {
    templates.iter().map(|(name, loaded)| (name.clone(), loaded.source.clone())).collect()
}
