//! What is known of the templates: their tags, and which sources they are
//! made of.
//!
//! In Tera all names of templates are plain, and templates do not change while
//! they are rendered. So all that a tag's body can be made of is known when it
//! is loaded, and its number stands for that: a template is rewritten anew
//! when another has changed that it uses.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use cacheops::FragmentKey;
use cacheops::template::{AppendOnlyVec, EnvironmentId, Rewritten, SourceMapEntry, Tag, rewrite};

use crate::author::{Author, Language};
use crate::chains::Chains;
use crate::checks::Checks;
use crate::dialect;
use crate::families::Families;
use crate::plan::{Asks, Plan, Wrong};
use crate::scope::Scope;

/// A template as Tera has it.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) author: Arc<Author>,
    /// Stands for all that its rewriting hangs on.
    signature: FragmentKey,
    pub(crate) rewritten: Arc<str>,
    pub(crate) source_map: Vec<SourceMapEntry>,
    /// The same with nothing in place of the tags whose bodies hold blocks, if
    /// it has any.
    pub(crate) plain: Option<Arc<Loaded>>,
    /// Whether it stands for a template whose file is gone.
    pub(crate) is_gone: bool,
}

/// The templates by name.
pub(crate) type Names<T> = BTreeMap<String, Arc<T>>;

/// What a Tera is to get, and what is known of all that it has then.
pub(crate) struct Changed {
    pub(crate) templates: Names<Loaded>,
    pub(crate) families: Families,
}

/// All that was loaded. Numbers of tags are never given twice: a page that is
/// being rendered keeps the version of a template that it began with.
pub(crate) struct Library {
    base: Base,
    environment: EnvironmentId,
    tags: AppendOnlyVec<Tag>,
    has_block_tags: AtomicBool,
    inner: RwLock<Inner>,
}

#[derive(Default)]
struct Inner {
    /// How many tags there are.
    count: usize,
    /// The first tag of each version loaded so far, by its signature: loading
    /// the same again gives the same numbers.
    numbered: BTreeMap<[u8; 20], usize>,
    /// The latest by name, in whichever Tera.
    latest: Names<Loaded>,
}

/// The first number of a library: no two give a tag the same one, so that a
/// template which was rewritten for another is refused.
#[derive(Debug)]
struct Base(usize);

impl Default for Base {
    fn default() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        Base(COUNT.fetch_add(1, Ordering::Relaxed) << (usize::BITS / 2))
    }
}

impl Library {
    pub(crate) fn of(environment: EnvironmentId) -> Self {
        Library {
            base: Base::default(),
            environment,
            tags: AppendOnlyVec::default(),
            has_block_tags: AtomicBool::default(),
            inner: RwLock::default(),
        }
    }

    /// The installation whose templates these are.
    pub(crate) fn environment(&self) -> &EnvironmentId {
        &self.environment
    }

    pub(crate) fn tag(&self, number: usize) -> Option<&Tag> {
        self.tags.get(number.checked_sub(self.base.0)?)
    }

    /// Whether any Tera has been given a tag whose body holds blocks.
    pub(crate) fn has_block_tags(&self) -> bool {
        self.has_block_tags.load(Ordering::Acquire)
    }

    /// The latest templates, in whichever Tera they are.
    pub(crate) fn latest(&self) -> Names<Loaded> {
        self.inner.read().unwrap_or_else(PoisonError::into_inner).latest.clone()
    }

    /// Takes note of what a Tera has taken.
    pub(crate) fn commit(&self, changed: Names<Loaded>) {
        if changed.values().any(|loaded| loaded.author.has_block_tags) {
            self.has_block_tags.store(true, Ordering::Release);
        }
        self.inner.write().unwrap_or_else(PoisonError::into_inner).latest.extend(changed);
    }

    /// Reads templates, and rewrites them and all others whose rewriting hangs
    /// on them; `before` are those that the Tera has.
    pub(crate) fn rewrite(
        &self,
        before: &Names<Loaded>,
        batch: &[(String, String)],
        gone: &[String],
        language: &Language<'_>,
        asks: &Asks<'_>,
    ) -> Result<Changed, Wrong> {
        let mut authors = authors_of(before);
        gone.iter().for_each(|name| drop(authors.remove(name)));
        for (name, text) in batch {
            authors.insert(name.clone(), Arc::new(Author::read(name, text, language)?));
        }
        let chains = Chains::of(&authors);
        let families = Families::of(&authors, &chains);
        let checks = Checks::of(&authors);
        let mut scopes = Vec::with_capacity(authors.len());
        for (name, author) in &authors {
            let scope = Scope::of(name, author, &chains);
            checks.of_template(name, author, &scope)?;
            scopes.push(scope);
        }
        let mut templates = Names::new();
        for ((name, author), scope) in authors.iter().zip(&scopes) {
            let plan = Plan::of(name, author, &authors, families.contains(name), scope, asks)?;
            let signature = plan.signature(language);
            let known = before.get(name).is_some_and(|loaded| loaded.signature == signature);
            if !known || batch.iter().any(|(other, _)| other == name) {
                let loaded = self.number(name, author, &plan, signature, language)?;
                templates.insert(name.clone(), Arc::new(loaded));
            }
        }
        Ok(Changed { templates, families })
    }

    /// Reads a template that is not added, and rewrites it. No other is looked
    /// at beyond what this one uses.
    pub(crate) fn one_off(
        &self,
        templates: &Names<Loaded>,
        (name, text): (&str, &str),
        language: &Language<'_>,
        asks: &Asks<'_>,
    ) -> Result<Loaded, Wrong> {
        let author = Arc::new(Author::read(name, text, language)?);
        if author.tags.is_empty() && author.defines.is_empty() {
            return Ok(Loaded::unchanged(author));
        }
        let mut authors = authors_of(templates);
        authors.insert(name.to_owned(), author.clone());
        let scope = Scope::alone(&author);
        let checks = Checks::of(&authors);
        checks.of_template(name, &author, &scope)?;
        if !author.defines.is_empty() {
            // Its components may hand a `body` to what they include.
            checks.bodies()?;
        }
        let plan = Plan::of(name, &author, &authors, false, &scope, asks)?;
        self.number(name, &author, &plan, plan.signature(language), language)
    }

    /// Rewrites a template, and numbers its tags unless that has been done.
    fn number(
        &self,
        name: &str,
        author: &Arc<Author>,
        plan: &Plan<'_>,
        signature: FragmentKey,
        language: &Language<'_>,
    ) -> Result<Loaded, Wrong> {
        let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        let known = inner.numbered.get(signature.as_bytes()).copied();
        let first_tag = known.unwrap_or(self.base.0 + inner.count);
        let write = |page, drops_block_tags| {
            let dialect = dialect::Tera {
                syntax: language.syntax,
                first_tag,
                page,
                assignments: plan.assignments,
                drops_block_tags,
                escaped: RefCell::default(),
            };
            rewrite(&author.text, language.syntax, language.custom, &dialect)
                .map_err(|error| Wrong::tag(name, &error))
        };
        let done = write(plan.page.as_deref(), false)?;
        let plain = if author.has_block_tags { Some(write(Some("plain"), true)?) } else { None };
        if known.is_none() {
            for tag in &done.tags {
                let place = first_tag - self.base.0 + tag.index;
                self.tags.set(place, Tag::new(name, &plan.closure, tag, &done));
            }
            inner.count = first_tag - self.base.0 + done.tags.len();
            inner.numbered.insert(*signature.as_bytes(), first_tag);
        }
        let plain = plain.map(|done| Arc::new(Loaded::of(author, signature, done)));
        Ok(Loaded { plain, ..Loaded::of(author, signature, done) })
    }
}

impl Loaded {
    fn of(author: &Arc<Author>, signature: FragmentKey, done: Rewritten<'_>) -> Self {
        let rewritten = done.source.as_str().into();
        Loaded {
            author: author.clone(),
            signature,
            rewritten,
            source_map: done.source_map,
            plain: None,
            is_gone: false,
        }
    }

    /// A template without tags.
    fn unchanged(author: Arc<Author>) -> Self {
        let (signature, rewritten) = (author.digest, author.text.clone());
        Loaded { author, signature, rewritten, source_map: Vec::new(), plain: None, is_gone: false }
    }

    /// What a template becomes whose file is gone.
    pub(crate) fn tombstone(before: &Loaded, rewritten: Arc<str>) -> Self {
        let (author, signature) = (before.author.clone(), before.signature);
        Loaded { author, signature, rewritten, source_map: Vec::new(), plain: None, is_gone: true }
    }
}

pub(crate) fn authors_of(templates: &Names<Loaded>) -> Names<Author> {
    templates.iter().map(|(name, loaded)| (name.clone(), loaded.author.clone())).collect()
}
