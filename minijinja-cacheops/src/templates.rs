//! The known templates: their tags, and the sources that they are made of.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use cacheops::template::{AppendOnlyVec, Rewritten, Rules, Syntax, Tag, source_digest};
use cacheops::{FragmentKey, KeyWriter, TemplateUse};
use minijinja::{ErrorKind, State, Template};

use crate::dialect::digest_in;

/// A source, as the engine has it.
#[derive(Debug)]
pub(crate) struct Source {
    digest: FragmentKey,
    references: Vec<String>,
    uses: Vec<String>,
    may_use_any: bool,
    /// As [`cacheops::template::Macros`] say.
    pub(crate) is_plain: bool,
    assigns_attributes: bool,
    /// For `{% call cached_as(…) %}`: how many there are, and whether their
    /// names distinguish them.
    pub(crate) calls: Calls,
}

/// The `{% call cached_as(…) %}` of a template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Calls {
    /// At most one, or all with different names.
    Distinct,
    /// On this line is one that could be mistaken for another.
    Ambiguous(usize),
}

/// All loaded templates. Numbers of tags are never reused: a page that is being
/// rendered keeps the version of a template that it began with.
#[derive(Default)]
pub(crate) struct Templates {
    tags: AppendOnlyVec<Tag>,
    inner: RwLock<Inner>,
    /// Whether a source changes namespaces.
    use_namespaces: AtomicBool,
    /// Whether macros of a source use blocks.
    macros_use_blocks: AtomicBool,
}

#[derive(Default)]
struct Inner {
    /// How many tags there are.
    count: usize,
    /// The first tag of each source loaded so far, by its language and its
    /// digest. If the same source is loaded again, it gets the same numbers.
    /// Sources without tags need no number.
    numbered: HashMap<FragmentKey, usize>,
    /// The loaded sources by digest. They stay, because a clone of the
    /// environment may hold one that its original has replaced.
    sources: HashMap<FragmentKey, Arc<Source>>,
    /// The newest sources of each name that were not loaded through this
    /// plugin.
    raw: HashMap<String, Vec<RawSource>>,
    /// What the author wrote, by name.
    originals: HashMap<String, Arc<str>>,
}

/// A text as the engine has it.
struct RawSource {
    text: Box<str>,
    source: Arc<Source>,
}

/// The number of texts kept of a name.
const MOST_RAW: usize = 16;

/// Represents a source with a name, as a syntax reads it.
pub(crate) fn digest_of(name: &str, source: &str, syntax: &Syntax) -> FragmentKey {
    let mut key = KeyWriter::new();
    key.key(&source_digest(name, source));
    let rules = Rules { reserved: None, ..syntax.rules };
    key.str(&format!("{:?}", Syntax { rules, ..syntax.clone() }));
    key.finish()
}

/// The language of a source.
pub(crate) struct Language<'a> {
    pub(crate) syntax: &'a Syntax,
    /// The custom tags, sorted.
    pub(crate) custom: &'a [String],
}

impl Language<'_> {
    /// Represents a source in this language.
    fn key(&self, source: &FragmentKey) -> FragmentKey {
        self.key_of(source, self.custom.iter().map(String::as_str))
    }

    /// The same in the keys of its tags. A custom tag that other templates
    /// use does not change it.
    fn key_of_tags(&self, source: &FragmentKey, done: &Rewritten<'_>) -> FragmentKey {
        self.key_of(source, done.tags.iter().map(|tag| tag.name))
    }

    fn key_of<'n>(
        &self,
        source: &FragmentKey,
        names: impl Iterator<Item = &'n str>,
    ) -> FragmentKey {
        let mut key = KeyWriter::new();
        key.key(source);
        names.for_each(|name| key.str(name));
        key.finish()
    }
}

impl Templates {
    pub(crate) fn tag(&self, number: usize) -> Option<&Tag> {
        self.tags.get(number)
    }

    pub(crate) fn use_namespaces(&self) -> bool {
        self.use_namespaces.load(Ordering::Relaxed)
    }

    /// Whether macros that are imported somewhere may use blocks.
    pub(crate) fn macros_use_blocks(&self) -> bool {
        self.macros_use_blocks.load(Ordering::Relaxed)
    }

    pub(crate) fn original(&self, name: &str) -> Option<Arc<str>> {
        self.read().originals.get(name).cloned()
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Inner> {
        self.inner.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, Inner> {
        self.inner.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records what any source may affect.
    fn note(&self, done: &Rewritten<'_>) {
        if done.macros.assigns_attributes {
            self.use_namespaces.store(true, Ordering::Relaxed);
        }
        if done.macros_use_blocks {
            self.macros_use_blocks.store(true, Ordering::Relaxed);
        }
    }

    /// Numbers the tags of a source, unless that has been done. `rewrite`
    /// receives the number of the first tag and the digest of the source. In
    /// another language, the same source has other tags.
    pub(crate) fn add<'s, E>(
        &self,
        name: &str,
        original: &'s str,
        language: &Language<'_>,
        rewrite: impl FnOnce(usize, FragmentKey) -> Result<Rewritten<'s>, E>,
    ) -> Result<(String, Source), E> {
        let digest = digest_of(name, original, language.syntax);
        let read = language.key(&digest);
        let mut inner = self.write();
        let known = inner.numbered.get(&read).copied();
        let first = known.unwrap_or(inner.count);
        let done = rewrite(first, digest)?;
        self.note(&done);
        if known.is_none() && !done.tags.is_empty() {
            let of_tags = language.key_of_tags(&digest, &done);
            for tag in &done.tags {
                self.tags.set(first + tag.index, Tag::new(name, &of_tags, tag, &done));
            }
            inner.count = first + done.tags.len();
            inner.numbered.insert(read, first);
        }
        inner.originals.insert(name.to_owned(), original.into());
        let source = Source::new(digest, Some(&done));
        Ok((done.source, source))
    }

    /// Keeps the source of a template that is loaded now.
    pub(crate) fn keep(&self, source: Source) {
        self.write().sources.entry(source.digest).or_insert_with(|| Arc::new(source));
    }

    /// What is known about the source of a compiled template. If it was not
    /// loaded through this plugin, it is parsed now.
    pub(crate) fn source(
        &self,
        template: &Template<'_, '_>,
        scan: &dyn Fn(&str, &str) -> Source,
    ) -> Arc<Source> {
        let (name, text) = (template.name(), template.source());
        if let Some(known) = self.read().known(name, text) {
            return known;
        }
        let source = Arc::new(scan(name, text));
        if source.assigns_attributes {
            self.use_namespaces.store(true, Ordering::Relaxed);
        }
        let mut inner = self.write();
        let raw = inner.raw.entry(name.to_owned()).or_default();
        if raw.len() >= MOST_RAW {
            raw.remove(0);
        }
        raw.push(RawSource { text: text.into(), source: source.clone() });
        source
    }
}

impl Inner {
    fn known(&self, name: &str, text: &str) -> Option<Arc<Source>> {
        let raw = || self.raw.get(name)?.iter().find(|raw| *raw.text == *text);
        let loaded = || self.sources.get(&digest_in(text)?);
        raw().map(|raw| &raw.source).or_else(loaded).cloned()
    }
}

impl Source {
    /// `found` is what is known about it; `None` if it cannot be parsed.
    pub(crate) fn new(digest: FragmentKey, found: Option<&Rewritten<'_>>) -> Self {
        Source {
            digest,
            references: found.map(|found| owned(&found.references)).unwrap_or_default(),
            uses: found.map(|found| owned(&found.macros.uses)).unwrap_or_default(),
            is_plain: found.is_some_and(|found| found.macros.is_plain),
            assigns_attributes: found.is_none_or(|found| found.macros.assigns_attributes),
            may_use_any: found.is_none_or(|found| found.macros.may_use_any),
            calls: found.map_or(Calls::Ambiguous(1), Calls::of),
        }
    }

    pub(crate) fn digest(&self) -> &FragmentKey {
        &self.digest
    }

    pub(crate) fn uses(&self) -> Uses<'_> {
        Uses { names: &self.uses, is_plain: self.is_plain, any: self.may_use_any }
    }
}

/// Names that a source uses, and that may be macros of a template around it.
pub(crate) struct Uses<'a> {
    pub(crate) names: &'a [String],
    /// Whether the source is plain.
    pub(crate) is_plain: bool,
    /// Whether it may use any other.
    pub(crate) any: bool,
}

fn owned(names: &BTreeSet<&str>) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

impl Calls {
    fn of(found: &Rewritten<'_>) -> Self {
        let calls = &found.calls;
        let doubtful = calls.iter().enumerate().find(|(place, call)| {
            calls.len() > 1
                && (call.name.is_none()
                    || calls[..*place].iter().any(|other| other.name == call.name))
        });
        doubtful.map_or(Calls::Distinct, |(_, call)| Calls::Ambiguous(call.line))
    }
}

/// The other templates that a body is made of.
#[derive(Debug, Default)]
pub(crate) struct Dependencies {
    /// By the names in the template of the body.
    pub(crate) named: Vec<String>,
    /// By the resolved names in the rendering.
    pub(crate) resolved: Vec<String>,
}

impl Dependencies {
    pub(crate) fn one(name: &str) -> Self {
        Dependencies { named: Vec::new(), resolved: vec![name.to_owned()] }
    }
}

/// Visited sources by name; `None` if the environment has no template of the
/// name.
pub(crate) type Seen = Vec<(String, Option<Arc<Source>>)>;

/// Reads the current sources of templates, and of all templates that these name
/// literally.
pub(crate) struct Versions<'a> {
    pub(crate) templates: &'a Templates,
    pub(crate) scan: &'a dyn Fn(&str, &str) -> Source,
}

impl Versions<'_> {
    /// Writes what represents the sources, and returns the sources. Reading a
    /// source makes the engine load it again if it has changed.
    pub(crate) fn write(
        &self,
        state: &State<'_, '_>,
        dependencies: &Dependencies,
        key: &mut KeyWriter,
    ) -> Seen {
        let mut seen = Vec::new();
        self.visit_all(state, dependencies, &mut seen, key);
        seen
    }

    /// The sources themselves.
    pub(crate) fn all(
        &self,
        state: &State<'_, '_>,
        dependencies: &Dependencies,
    ) -> Vec<Arc<Source>> {
        let mut seen = Vec::new();
        self.visit_all(state, dependencies, &mut seen, &mut KeyWriter::new());
        seen.into_iter().filter_map(|(_, source)| source).collect()
    }

    fn visit_all(
        &self,
        state: &State<'_, '_>,
        dependencies: &Dependencies,
        seen: &mut Seen,
        key: &mut KeyWriter,
    ) {
        for name in &dependencies.named {
            self.visit(name, &state.get_template(name), seen, key);
        }
        for name in &dependencies.resolved {
            self.visit(name, &state.env().get_template(name), seen, key);
        }
    }

    /// The sources whose macros a body calls only by the names that a source
    /// gives them: of the templates, and of those that plain sources name.
    pub(crate) fn trusted(
        &self,
        state: &State<'_, '_>,
        dependencies: &Dependencies,
    ) -> Vec<FragmentKey> {
        let mut seen = Vec::new();
        for name in &dependencies.named {
            self.trust(state.get_template(name), &mut seen);
        }
        for name in &dependencies.resolved {
            self.trust(state.env().get_template(name), &mut seen);
        }
        seen.into_iter().map(|(_, source)| source.digest).collect()
    }

    fn trust(
        &self,
        found: Result<Template<'_, '_>, minijinja::Error>,
        seen: &mut Vec<(String, Arc<Source>)>,
    ) {
        let Ok(template) = found else { return };
        if seen.iter().any(|(other, _)| other == template.name()) {
            return;
        }
        let source = self.templates.source(&template, self.scan);
        seen.push((template.name().to_owned(), source.clone()));
        if source.is_plain && !source.references.is_empty() {
            let state = template.new_state();
            for reference in &source.references {
                self.trust(state.get_template(reference), seen);
            }
        }
    }

    /// Represents the source of a compiled template alone.
    pub(crate) fn digest(&self, template: &Template<'_, '_>) -> FragmentKey {
        self.templates.source(template, self.scan).digest
    }

    fn visit(
        &self,
        name: &str,
        found: &Result<Template<'_, '_>, minijinja::Error>,
        seen: &mut Seen,
        key: &mut KeyWriter,
    ) {
        match found {
            Ok(template) => {
                if seen.iter().any(|(other, _)| other == template.name()) {
                    return;
                }
                let source = self.templates.source(template, self.scan);
                seen.push((template.name().to_owned(), Some(source.clone())));
                key.key(&source.digest);
                if !source.references.is_empty() {
                    // Names are relative to the template that names them.
                    let state = template.new_state();
                    for reference in &source.references {
                        self.visit(reference, &state.get_template(reference), seen, key);
                    }
                }
            }
            Err(error) => {
                seen.push((name.to_owned(), None));
                let missing = error.kind() == ErrorKind::TemplateNotFound;
                key.variant(if missing { "missing" } else { "broken" }, 1);
                key.str(name);
            }
        }
    }

    /// The current version of a template that a body used by a variable name,
    /// in the template of `state`. It is stored under its resolved name. If
    /// there is no template of the name, it is stored by where and how it was
    /// requested, because the name may mean another template elsewhere.
    pub(crate) fn of(&self, state: &State<'_, '_>, name: &str) -> TemplateUse {
        let found = state.get_template(name);
        let whole = match &found {
            Ok(template) => template.name().to_owned(),
            Err(_) => format!("{}\0{name}", state.name()),
        };
        self.used(whole, name, &found)
    }

    /// The current version of a template that was used before.
    pub(crate) fn again(&self, state: &State<'_, '_>, before: &TemplateUse) -> TemplateUse {
        let env = state.env();
        match before.name.split_once('\0') {
            None => {
                self.used(before.name.to_string(), &before.name, &env.get_template(&before.name))
            }
            Some((base, name)) => match env.get_template(base) {
                Ok(base) => self.of(&base.new_state(), name),
                Err(gone) => self.used(before.name.to_string(), name, &Err(gone)),
            },
        }
    }

    fn used(
        &self,
        whole: String,
        name: &str,
        found: &Result<Template<'_, '_>, minijinja::Error>,
    ) -> TemplateUse {
        let mut key = KeyWriter::new();
        self.visit(name, found, &mut Vec::new(), &mut key);
        let digest = key.finish();
        let version = digest.as_bytes().first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
        TemplateUse { name: whole.into(), version }
    }
}
