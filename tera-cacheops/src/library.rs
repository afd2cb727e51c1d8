//! What is known of the templates: their tags, and which sources they are
//! made of.
//!
//! In Tera all names of templates are plain, and templates do not change while
//! they are rendered. So all that a tag's body can be made of is known when it
//! is loaded, and its number stands for that: a template is rewritten anew
//! when another has changed that it uses.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use cacheops::template::{Moved, Numbered, Rewritten, Sets, Syntax, Tag, rewrite, source_digest};
use cacheops::{FragmentKey, KeyWriter};

use crate::dialect;

/// A template as the author wrote it.
#[derive(Debug)]
pub(crate) struct Author {
    pub(crate) text: Arc<str>,
    digest: FragmentKey,
    extends: Option<String>,
    /// The templates that it includes or extends.
    references: Vec<String>,
    /// The components that it may use.
    components: Vec<String>,
    /// The components that it defines.
    defines: Vec<String>,
    /// What its blocks set.
    block_sets: BTreeMap<String, Sets>,
    has_tags: bool,
    /// Whether a body of its tags holds blocks.
    has_block_tags: bool,
}

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
    templates: Names<Loaded>,
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

/// What goes wrong with a template, and in which one.
#[derive(Debug)]
pub(crate) enum Wrong {
    /// A tag that is wrong.
    Tag(String, cacheops::Error),
    /// A template that did not come through the plugin: the one that uses it,
    /// and its name.
    Foreign(String, String),
}

/// What Tera is asked for while templates are looked at.
pub(crate) struct Asks<'a> {
    pub(crate) has_template: &'a dyn Fn(&str) -> bool,
    pub(crate) has_component: &'a dyn Fn(&str) -> bool,
}

impl Library {
    pub(crate) fn tag(&self, number: usize) -> Option<&Tag> {
        self.tags.get(number.checked_sub(self.base.0)?)
    }

    pub(crate) fn templates(&self) -> Names<Loaded> {
        self.inner.read().unwrap_or_else(PoisonError::into_inner).templates.clone()
    }

    /// Takes note of what Tera has taken.
    pub(crate) fn commit(&self, changed: Names<Loaded>, gone: &[String]) {
        let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        gone.iter().for_each(|name| drop(inner.templates.remove(name)));
        inner.templates.extend(changed);
    }

    /// Reads templates, and rewrites them and all others whose rewriting hangs
    /// on them.
    pub(crate) fn rewrite(
        &self,
        batch: &[(String, String)],
        gone: &[String],
        syntax: &Syntax,
        custom: &[String],
        asks: &Asks<'_>,
    ) -> Result<Names<Loaded>, Wrong> {
        let before = self.templates();
        let mut authors: Names<Author> =
            before.iter().map(|(name, loaded)| (name.clone(), loaded.author.clone())).collect();
        gone.iter().for_each(|name| drop(authors.remove(name)));
        for (name, text) in batch {
            authors.insert(name.clone(), Arc::new(Author::read(name, text, syntax, custom)?));
        }
        let families = Families::of(&authors);
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
        name: &str,
        syntax: &Syntax,
        custom: &[String],
    ) -> Names<Loaded> {
        let templates = self.templates();
        let authors: Names<Author> =
            templates.iter().map(|(name, loaded)| (name.clone(), loaded.author.clone())).collect();
        let families = Families::of(&authors);
        let name = resolve(&authors, name).first().map_or(name, |(name, _)| name);
        if !families.get(name).is_some_and(|family| family.has_block_tags) {
            return Names::new();
        }
        let root = families.roots.get(name);
        let with_tags = templates.iter().filter(|(name, loaded)| {
            loaded.author.has_block_tags && families.roots.get(name.as_str()) == root
        });
        let plain = with_tags.filter_map(|(name, loaded)| {
            let inner = self.inner.read().unwrap_or_else(PoisonError::into_inner);
            let first_tag = *inner.numbered.get(loaded.signature.as_bytes())?;
            let dialect = dialect::Tera {
                first_tag,
                page: Some("plain"),
                drops_block_tags: true,
                ..dialect::Tera::reader(syntax, &NO_SETS)
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
            .map_err(|error| Wrong::Tag(name.to_owned(), error))?;
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

impl Author {
    fn read(name: &str, text: &str, syntax: &Syntax, custom: &[String]) -> Result<Self, Wrong> {
        let none = BTreeMap::new();
        let reader = dialect::Tera::reader(syntax, &none);
        let found = rewrite(text, syntax, custom, &reader)
            .map_err(|error| Wrong::Tag(name.to_owned(), error))?;
        let mut author = Author::of(name, text, &found);
        for (statement, name) in reader.escaped.take() {
            if statement == "extends" {
                author.extends = Some(name.clone());
            }
            author.references.push(name);
        }
        Ok(author)
    }

    fn of(name: &str, text: &str, found: &Rewritten<'_>) -> Self {
        let owned = |names: &BTreeSet<&str>| names.iter().map(|name| (*name).to_owned()).collect();
        Author {
            text: text.into(),
            digest: source_digest(name, text),
            extends: found.extends.map(str::to_owned),
            references: owned(&found.references),
            components: owned(&found.components),
            defines: owned(&found.defines),
            block_sets: found.block_sets.iter().map(|(n, s)| ((*n).to_owned(), *s)).collect(),
            has_tags: !found.tags.is_empty(),
            has_block_tags: found.tags.iter().any(|tag| tag.has_blocks),
        }
    }
}

/// The templates that a name may mean: that of just the name, or else all that
/// a prefix could make it.
fn resolve<'a>(authors: &'a Names<Author>, name: &str) -> Vec<(&'a str, &'a Author)> {
    if let Some((name, author)) = authors.get_key_value(name) {
        return vec![(name, author)];
    }
    let ends = authors.iter().filter(|(other, _)| other.ends_with(name));
    ends.map(|(name, author)| (name.as_str(), author.as_ref())).collect()
}

/// What the templates of one inheritance have in common.
#[derive(Default)]
struct Family {
    has_block_tags: bool,
    block_sets: BTreeMap<String, Sets>,
}

/// The families by the name of what all of them extend in the end.
struct Families<'a> {
    roots: BTreeMap<&'a str, &'a str>,
    by_root: BTreeMap<&'a str, Family>,
}

impl<'a> Families<'a> {
    fn of(authors: &'a Names<Author>) -> Self {
        let roots: BTreeMap<&str, &str> =
            authors.keys().map(|name| (name.as_str(), root(authors, name))).collect();
        let mut by_root: BTreeMap<&str, Family> = BTreeMap::new();
        for (name, author) in authors {
            let family = by_root.entry(roots[name.as_str()]).or_default();
            family.has_block_tags |= author.has_block_tags;
            for (name, how) in &author.block_sets {
                family.block_sets.entry(name.clone()).or_default().add(*how);
            }
        }
        Families { roots, by_root }
    }

    fn get(&self, name: &str) -> Option<&Family> {
        self.by_root.get(self.roots.get(name)?)
    }
}

/// The template that one extends in the end; in a circle, which the engine
/// refuses, any of it.
fn root<'a>(authors: &'a Names<Author>, name: &'a str) -> &'a str {
    let mut at = name;
    for _ in 0..authors.len() {
        let extends = authors.get(at).and_then(|author| author.extends.as_deref());
        let Some(parent) = extends.and_then(|parent| resolve(authors, parent).first().copied())
        else {
            return at;
        };
        at = parent.0;
    }
    at
}

/// What the rewriting of a template hangs on.
struct Plan<'a> {
    /// Stands for its source and for all that it uses.
    closure: FragmentKey,
    /// What tells a body with blocks which page is rendered.
    page: Option<String>,
    block_sets: &'a BTreeMap<String, Sets>,
}

static NO_SETS: BTreeMap<String, Sets> = BTreeMap::new();

impl<'a> Plan<'a> {
    fn of(
        name: &str,
        author: &Author,
        authors: &Names<Author>,
        families: &'a Families<'_>,
        asks: &Asks<'_>,
    ) -> Result<Self, Wrong> {
        let family = families.get(name).filter(|family| family.has_block_tags);
        if !author.has_tags && family.is_none() {
            return Ok(Plan { closure: author.digest, page: None, block_sets: &NO_SETS });
        }
        let closure = closure(name, authors, asks)?;
        Ok(Plan {
            closure,
            page: family.map(|_| closure.to_string()),
            block_sets: family.map_or(&NO_SETS, |family| &family.block_sets),
        })
    }

    fn signature(&self, syntax: &Syntax, custom: &[String]) -> FragmentKey {
        let mut key = KeyWriter::new();
        key.key(&self.closure);
        // What is a tag, and what is only text.
        key.str(&format!("{syntax:?}"));
        key.list(custom.len());
        custom.iter().for_each(|name| key.str(name));
        key.bool(self.page.is_some());
        key.list(self.block_sets.len());
        for (name, how) in self.block_sets {
            key.str(name);
            key.bool(how.local);
            key.bool(how.global);
        }
        key.finish()
    }
}

/// Stands for a template and all that it uses: what it includes and extends,
/// and where its components are defined.
fn closure(name: &str, authors: &Names<Author>, asks: &Asks<'_>) -> Result<FragmentKey, Wrong> {
    let mut seen: BTreeMap<&str, &Author> = BTreeMap::new();
    let mut next = resolve(authors, name);
    while let Some((at, author)) = next.pop() {
        if seen.insert(at, author).is_some() {
            continue;
        }
        let foreign = |used: &str| Wrong::Foreign(name.to_owned(), used.to_owned());
        for reference in &author.references {
            let found = resolve(authors, reference);
            if found.is_empty() && (asks.has_template)(reference) {
                return Err(foreign(reference));
            }
            next.extend(found);
        }
        for component in &author.components {
            let defines =
                |(_, author): &(&String, &Arc<Author>)| author.defines.contains(component);
            let found: Vec<_> = authors.iter().filter(defines).collect();
            if found.is_empty() && (asks.has_component)(component) {
                return Err(foreign(component));
            }
            next.extend(found.into_iter().map(|(name, author)| (name.as_str(), author.as_ref())));
        }
    }
    let mut key = KeyWriter::new();
    key.key(&authors.get(name).map_or_else(|| source_digest(name, ""), |author| author.digest));
    seen.values().for_each(|author| key.key(&author.digest));
    Ok(key.finish())
}
