//! Templates, as their authors wrote them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use cacheops::FragmentKey;
use cacheops::template::{
    Assignment, Block, Exposure, Loops, OpenTag, Position, Reference, Rewritten, Syntax, TagKind,
    rewrite, source_digest,
};

use crate::dialect;
use crate::load_error::LoadError;

/// The language of templates.
pub(crate) struct Language<'a> {
    pub(crate) syntax: &'a Syntax,
    /// The names of the custom tags.
    pub(crate) custom: &'a [String],
}

/// A template as the author wrote it.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) text: Arc<str>,
    pub(crate) digest: FragmentKey,
    pub(crate) extends: Option<String>,
    /// The templates that it includes or extends.
    pub(crate) references: Vec<String>,
    /// The components that it may use.
    pub(crate) components: Vec<String>,
    /// The components that it defines.
    pub(crate) defines: Vec<String>,
    /// Its blocks, by name.
    pub(crate) blocks: BTreeMap<String, BlockFacts>,
    /// The effect of its loops on names.
    pub(crate) loops: Loops,
    /// What it shows that a tag elsewhere may have to know.
    pub(crate) exposure: Exposure,
    /// Its references whose names are written with escapes.
    pub(crate) escaped: Vec<String>,
    pub(crate) tags: Vec<TagFacts>,
    /// Whether the body of one of its tags contains blocks.
    pub(crate) has_block_tags: bool,
}

/// What is known about a block.
#[derive(Debug)]
pub(crate) struct BlockFacts {
    pub(crate) assignments: BTreeMap<String, Assignment>,
    /// The blocks in it.
    pub(crate) holds: Vec<String>,
}

impl BlockFacts {
    fn of(block: &Block<'_>) -> Self {
        BlockFacts {
            assignments: block
                .assignments
                .iter()
                .map(|(name, how)| ((*name).to_owned(), *how))
                .collect(),
            holds: block.holds.iter().map(|name| (*name).to_owned()).collect(),
        }
    }
}

/// What is known about a tag and its body.
#[derive(Debug)]
pub(crate) struct TagFacts {
    /// The tag as the author wrote it.
    pub(crate) text: String,
    pub(crate) line: usize,
    /// The templates that the body includes by a literal name.
    pub(crate) includes: Vec<String>,
    pub(crate) assignments: BTreeMap<String, Assignment>,
    pub(crate) position: Position,
    /// The blocks in the body, and those around a `super()` in it.
    pub(crate) blocks: Vec<String>,
    /// The block around it.
    pub(crate) in_block: Option<String>,
    pub(crate) in_component: bool,
    pub(crate) names_body: bool,
    pub(crate) shows_body: bool,
}

impl TagFacts {
    fn of(tag: &OpenTag<'_>) -> Self {
        TagFacts {
            text: tag.text.to_owned(),
            line: tag.line,
            includes: tag.includes.iter().map(|name| (*name).to_owned()).collect(),
            assignments: tag
                .assignments
                .iter()
                .map(|(name, how)| ((*name).to_owned(), *how))
                .collect(),
            position: tag.position,
            blocks: tag.blocks.iter().map(|name| (*name).to_owned()).collect(),
            in_block: tag.in_block.map(str::to_owned),
            in_component: tag.in_component,
            names_body: tag.names_body,
            shows_body: tag.shows_body,
        }
    }
}

impl TagFacts {
    /// The error for a tag that cannot be exact.
    pub(crate) fn error(&self, template: &str, why: &str) -> LoadError {
        LoadError {
            template: template.to_owned(),
            line: self.line,
            detail: format!("`{}`: {why}", self.text),
        }
    }
}

/// Templates by name.
pub(crate) type ByName<T> = BTreeMap<String, Arc<T>>;

impl Source {
    pub(crate) fn read(name: &str, text: &str, language: &Language<'_>) -> Result<Self, LoadError> {
        let reader = dialect::Tera::reader(language.syntax);
        let found = rewrite(text, language.syntax, language.custom, &reader)
            .map_err(|error| LoadError::tag(name, &error))?;
        found.tags.iter().try_for_each(|tag| check_keywords(name, tag))?;
        let mut source = Source::of(name, text, &found);
        for (reference, name) in reader.escaped.take() {
            if reference == Reference::Extends {
                source.extends = Some(name.clone());
            }
            source.references.push(name.clone());
            source.escaped.push(name);
        }
        Ok(source)
    }

    fn of(name: &str, text: &str, found: &Rewritten<'_>) -> Self {
        let owned = |names: &BTreeSet<&str>| names.iter().map(|name| (*name).to_owned()).collect();
        Source {
            text: text.into(),
            digest: source_digest(name, text),
            extends: found.extends.map(str::to_owned),
            references: owned(&found.references),
            components: found.components.iter().cloned().collect(),
            defines: found.defines.iter().cloned().collect(),
            blocks: found
                .blocks
                .iter()
                .map(|(n, b)| ((*n).to_owned(), BlockFacts::of(b)))
                .collect(),
            loops: found.loops.clone(),
            exposure: found.exposure.clone(),
            escaped: Vec::new(),
            tags: found.tags.iter().map(TagFacts::of).collect(),
            has_block_tags: found.tags.iter().any(|tag| tag.has_blocks),
        }
    }
}

/// Functions of Tera have keywords only, so arguments without one get numbers.
fn check_keywords(template: &str, tag: &OpenTag<'_>) -> Result<(), LoadError> {
    let TagKind::Custom(arguments) = &tag.kind else { return Ok(()) };
    let is_number = |name: &&str| {
        let digits = name.strip_prefix('_').filter(|digits| !digits.is_empty());
        digits.is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))
    };
    match arguments.iter().filter_map(|argument| argument.name).find(is_number) {
        None => Ok(()),
        Some(name) => Err(LoadError {
            template: template.to_owned(),
            line: tag.line,
            detail: format!(
                "`{}`: `{name}=…`: a keyword that is a number is kept for arguments without one",
                tag.text
            ),
        }),
    }
}
