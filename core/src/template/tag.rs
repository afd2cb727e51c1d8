//! Tags of loaded templates.

use super::open_tag::{OpenTag, TagKind};
use super::rewrite::Rewritten;
use crate::cache::handle::Cacheops;
use crate::key::{FragmentKey, KeyWriter};

/// A tag of a loaded template.
#[derive(Debug)]
pub struct Tag {
    /// Stands for all about the tag that does not change: its kind, its place
    /// and the source of its template.
    pub key: FragmentKey,
    /// `cached_as`, `cached`, or a name of the application's own.
    pub name: String,
    /// As the author wrote it.
    pub text: String,
    /// `page.html:12`.
    pub place: String,
    /// The arguments that it has.
    pub layout: ArgumentLayout,
    /// The templates whose sources the body is made of besides its own.
    pub references: Vec<String>,
    /// Whether the body holds blocks, or calls `super`, or may by a macro.
    pub has_blocks: bool,
    /// Whether its template imports macros by names that only rendering tells.
    pub dynamic_imports: bool,
    /// Names that its template uses, and that may be macros of one around it.
    pub uses: Vec<String>,
    /// Whether its template includes some that may use any name.
    pub may_use_any: bool,
}

/// Which arguments a tag has, in the order in which they are passed on.
#[derive(Clone, Copy, Debug, Default)]
pub struct ArgumentLayout {
    /// How many querysets.
    pub querysets: usize,
    /// Whether a time limit.
    pub timeout: bool,
    /// Whether a name.
    pub name: bool,
    /// Whether `lock`.
    pub lock: bool,
    /// Whether `if`.
    pub when: bool,
    /// Whether `unless`.
    pub unless: bool,
    /// How many values of `extra`.
    pub extra: usize,
}

impl Tag {
    /// Begins the key of its fragment. What else the fragment varies by follows:
    /// how text is escaped, the arguments, the sources of other templates.
    /// `is_marked` is whether comments with the key go around it.
    #[must_use]
    pub fn begin_key(&self, cache: &Cacheops, is_marked: bool) -> KeyWriter {
        let mut key = KeyWriter::new();
        key.key(&self.key);
        key.str(cache.prefix());
        key.bool(is_marked);
        key
    }

    /// A tag that was found in the template `template`, whose source `digest`
    /// stands for.
    #[must_use]
    pub fn new(
        template: &str,
        digest: &FragmentKey,
        tag: &OpenTag<'_>,
        found: &Rewritten<'_>,
    ) -> Self {
        let layout = match &tag.kind {
            TagKind::CachedAs(arguments) | TagKind::Cached(arguments) => ArgumentLayout {
                querysets: arguments.positional.len(),
                timeout: arguments.timeout.is_some(),
                name: arguments.name.is_some(),
                lock: arguments.lock.is_some(),
                when: arguments.when.is_some(),
                unless: arguments.unless.is_some(),
                extra: arguments.extra.len(),
            },
            TagKind::Custom(_) => ArgumentLayout::default(),
        };
        let mut key = KeyWriter::new();
        key.variant("tag", 3);
        key.str(tag.name);
        key.key(digest);
        key.int(tag.index as i128);
        let references = tag.includes.union(&found.imports);
        Tag {
            key: key.finish(),
            name: tag.name.to_owned(),
            text: tag.text.to_owned(),
            place: format!("{template}:{}", tag.line),
            layout,
            references: references.map(|name| (*name).to_owned()).collect(),
            has_blocks: tag.has_blocks || found.macros_use_blocks,
            dynamic_imports: found.dynamic_imports,
            uses: found.macros.uses.iter().map(|name| (*name).to_owned()).collect(),
            may_use_any: found.macros.may_use_any,
        }
    }
}

/// Stands for a source under a name: a changed template is a new fragment,
/// and so is the same text under another name.
#[must_use]
pub fn source_digest(name: &str, source: &str) -> FragmentKey {
    let mut key = KeyWriter::new();
    key.str(name);
    key.str(source);
    key.finish()
}
