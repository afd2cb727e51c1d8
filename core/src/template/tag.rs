//! Tags of loaded templates.

use super::open_tag::{OpenTag, TagKind};
use super::rewrite::Rewritten;
use crate::cache::handle::Cacheops;
use crate::key::{FragmentKey, KeyWriter};

/// A tag of a loaded template.
#[derive(Debug)]
pub struct Tag {
    /// Represents everything about the tag that does not change: its kind,
    /// its position, and the source of its template.
    pub key: FragmentKey,
    /// `cached_as`, `cached`, or the name of a custom tag.
    pub name: String,
    /// The tag as the author wrote it.
    pub text: String,
    /// `page.html:12`.
    pub place: String,
    /// The arguments that it has.
    pub layout: ArgumentLayout,
    /// The other templates whose sources the body is made of.
    pub references: Vec<String>,
    /// The templates that any part of its source names literally. The body is
    /// made of them if it shows blocks.
    pub all_references: Vec<String>,
    /// Whether it is in a macro or in the body of a `call`. The blocks there
    /// are those of the caller.
    pub is_in_macro: bool,
    /// Whether the body contains blocks or calls `super`, or may do so
    /// through a macro.
    pub has_blocks: bool,
    /// Whether its template imports macros by names that are known only in
    /// rendering.
    pub dynamic_imports: bool,
    /// Names that its template uses, and that may be macros of a template
    /// around it.
    pub uses: Vec<String>,
    /// Whether its template is plain, as [`Macros`](super::Macros) say.
    pub is_plain: bool,
    /// Whether its template includes templates that may use any name.
    pub may_use_any: bool,
}

/// The arguments of a tag, in the order in which they are passed on.
#[derive(Clone, Copy, Debug, Default)]
pub struct ArgumentLayout {
    /// The number of querysets.
    pub querysets: usize,
    /// Whether it has a time limit.
    pub timeout: bool,
    /// Whether it has a name.
    pub name: bool,
    /// Whether it has `lock`.
    pub lock: bool,
    /// Whether it has `if`.
    pub when: bool,
    /// Whether it has `unless`.
    pub unless: bool,
    /// The number of values of `extra`.
    pub extra: usize,
}

impl Tag {
    /// Begins the key of its fragment. The caller adds what else the fragment
    /// varies by: the escaping mode, the arguments, the sources of other
    /// templates. `is_marked` tells whether comments with the key surround
    /// it.
    #[must_use]
    pub fn begin_key(&self, cache: &Cacheops, is_marked: bool) -> KeyWriter {
        let mut key = KeyWriter::new();
        key.key(&self.key);
        key.str(cache.prefix());
        key.bool(is_marked);
        key
    }

    /// A tag of the template `template`, whose source has the digest
    /// `digest`.
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
            all_references: found.references.iter().map(|name| (*name).to_owned()).collect(),
            is_in_macro: tag.is_in_macro,
            has_blocks: tag.has_blocks || found.macros_use_blocks,
            dynamic_imports: found.dynamic_imports,
            uses: found.macros.uses.iter().map(|name| (*name).to_owned()).collect(),
            is_plain: found.macros.is_plain,
            may_use_any: found.macros.may_use_any,
        }
    }
}

/// Represents a source with its name: a changed template is a new fragment, and
/// so is the same text under another name.
#[must_use]
pub fn source_digest(name: &str, source: &str) -> FragmentKey {
    let mut key = KeyWriter::new();
    key.str(name);
    key.str(source);
    key.finish()
}
