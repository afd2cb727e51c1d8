//! What is known of the templates: their tags, and which sources they are
//! made of.
//!
//! In Tera all names of templates are plain, and templates do not change while
//! they are rendered. So all that a tag's body can be made of is known when it
//! is loaded, and its number stands for that: a template is rewritten anew
//! when another has changed that it uses.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use cacheops::FragmentKey;
use cacheops::template::{Moved, Numbered, Syntax, Tag, rewrite};

use crate::author::Author;
use crate::checks::Checks;
use crate::dialect;
use crate::families::Families;
use crate::plan::{Asks, NO_SETS, Plan, Wrong};

/// A template as Tera has it.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) author: Arc<Author>,
    /// Stands for all that its rewriting hangs on.
    signature: FragmentKey,
    pub(crate) rewritten: Arc<str>,
    pub(crate) moved: Vec<Moved>,
}

/// The templates by name.
pub(crate) type Names<T> = BTreeMap<String, Arc<T>>;

/// All that was loaded. Numbers of tags are never given twice: a page that is
/// being rendered keeps the version of a template that it began with.
#[derive(Default)]
pub(crate) struct Library {
    base: Base,
    tags: Numbered<Tag>,
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
    pub(crate) fn tag(&self, number: usize) -> Option<&Tag> {
        self.tags.get(number.checked_sub(self.base.0)?)
    }

    /// The latest templates, in whichever Tera they are.
    pub(crate) fn latest(&self) -> Names<Loaded> {
        self.inner.read().unwrap_or_else(PoisonError::into_inner).latest.clone()
    }

    /// Takes note of what a Tera has taken.
    pub(crate) fn commit(&self, changed: Names<Loaded>) {
        self.inner.write().unwrap_or_else(PoisonError::into_inner).latest.extend(changed);
    }

    /// Reads templates, and rewrites them and all others whose rewriting hangs
    /// on them; `before` are those that the Tera has.
    pub(crate) fn rewrite(
        &self,
        before: &Names<Loaded>,
        batch: &[(String, String)],
        gone: &[String],
        syntax: &Syntax,
        custom: &[String],
        asks: &Asks<'_>,
    ) -> Result<Names<Loaded>, Wrong> {
        let mut authors: Names<Author> =
            before.iter().map(|(name, loaded)| (name.clone(), loaded.author.clone())).collect();
        gone.iter().for_each(|name| drop(authors.remove(name)));
        for (name, text) in batch {
            authors.insert(name.clone(), Arc::new(Author::read(name, text, syntax, custom)?));
        }
        let families = Families::of(&authors);
        Checks::of(&authors, &families).all()?;
        let mut changed = Names::new();
        for (name, author) in &authors {
            let plan = Plan::of(name, author, &authors, &families, asks)?;
            let signature = plan.signature(syntax, custom);
            let known = before.get(name).is_some_and(|loaded| loaded.signature == signature);
            if !known || batch.iter().any(|(other, _)| other == name) {
                let loaded = self.number(name, author, &plan, signature, syntax, custom)?;
                changed.insert(name.clone(), Arc::new(loaded));
            }
        }
        Ok(changed)
    }

    /// The templates of an inheritance, with nothing in place of the tags whose
    /// bodies hold blocks; none where there is no such tag.
    pub(crate) fn without_block_tags(
        &self,
        templates: &Names<Loaded>,
        name: &str,
        syntax: &Syntax,
        custom: &[String],
    ) -> Names<Loaded> {
        let authors: Names<Author> =
            templates.iter().map(|(name, loaded)| (name.clone(), loaded.author.clone())).collect();
        let families = Families::of(&authors);
        let heads = families.with_block_tags(&authors, name);
        let with_tags = templates.iter().filter(|(name, loaded)| {
            loaded.author.has_block_tags
                && families.head(name).is_some_and(|head| heads.contains(head))
        });
        let plain = with_tags.filter_map(|(name, loaded)| {
            let inner = self.inner.read().unwrap_or_else(PoisonError::into_inner);
            let first_tag = *inner.numbered.get(loaded.signature.as_bytes())?;
            let sets = families.get(name).map_or(&NO_SETS, |family| &family.block_sets);
            let dialect = dialect::Tera {
                first_tag,
                page: Some("plain"),
                drops_block_tags: true,
                ..dialect::Tera::reader(syntax, sets)
            };
            let done = rewrite(&loaded.author.text, syntax, custom, &dialect).ok()?;
            let plain = Loaded {
                author: loaded.author.clone(),
                signature: loaded.signature,
                rewritten: done.source.as_str().into(),
                moved: done.moved,
            };
            Some((name.clone(), Arc::new(plain)))
        });
        plain.collect()
    }

    /// Rewrites a template, and numbers its tags unless that has been done.
    fn number(
        &self,
        name: &str,
        author: &Arc<Author>,
        plan: &Plan<'_>,
        signature: FragmentKey,
        syntax: &Syntax,
        custom: &[String],
    ) -> Result<Loaded, Wrong> {
        let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        let known = inner.numbered.get(signature.as_bytes()).copied();
        let first_tag = known.unwrap_or(self.base.0 + inner.count);
        let dialect = dialect::Tera {
            syntax,
            first_tag,
            page: plan.page.as_deref(),
            block_sets: plan.block_sets,
            drops_block_tags: false,
            escaped: RefCell::default(),
        };
        let done = rewrite(&author.text, syntax, custom, &dialect)
            .map_err(|error| Wrong::tag(name, &error))?;
        if known.is_none() {
            for tag in &done.tags {
                let place = first_tag - self.base.0 + tag.index;
                self.tags.set(place, Tag::new(name, &plan.closure, tag, &done));
            }
            inner.count = first_tag - self.base.0 + done.tags.len();
            inner.numbered.insert(*signature.as_bytes(), first_tag);
        }
        Ok(Loaded {
            author: author.clone(),
            signature,
            rewritten: done.source.as_str().into(),
            moved: done.moved,
        })
    }
}
