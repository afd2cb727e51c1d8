//! The plugin: what it adds to a Tera, and how templates pass it.

#[cfg(feature = "glob_fs")]
use std::collections::BTreeSet;
use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::UNIX_EPOCH;

use cacheops::Cacheops;
use cacheops::template::{Syntax, check_tag_name};
use tera::{Context, Delimiters, Error, Kwargs, State, Tera, TeraResult, Value};

use crate::custom::{Caching, TagCall};
use crate::engine::{RULES, STATEMENTS};
use crate::library::{Library, Loaded, Names};
use crate::plan::{Asks, Wrong};
use crate::{begin, dialect, errors, frames, querysets};

/// The cache tags of a Tera.
///
/// Templates get their tags as they are loaded: through
/// [`add_template`](Tags::add_template) and its kin in place of the methods of
/// [`Tera`]. They are rendered as ever, by the methods of [`Tera`], or by
/// those here, whose errors show what the author wrote. The handle is cheap to
/// clone.
///
/// ```
/// use tera::{Context, Tera};
/// use tera_cacheops::{Tags, cacheops::{Cacheops, QuerySet}, queryset};
///
/// let cache = Cacheops::in_memory();
/// let mut tera = Tera::default();
/// let tags = Tags::install(&mut tera, &cache);
/// tags.add_template(&mut tera, "page", "{% cached_as articles %}{{ n }}{% endcached_as %}")?;
///
/// let page = |n: u32| {
///     let mut context = Context::new();
///     context.insert_value("articles", queryset(QuerySet::table("articles")));
///     context.insert("n", &n);
///     tags.render(&tera, "page", &context)
/// };
/// assert_eq!(page(1)?, "1");
/// assert_eq!(page(2)?, "1");
/// cache.invalidate_model("articles");
/// assert_eq!(page(3)?, "3");
/// # Ok::<_, tera::Error>(())
/// ```
#[derive(Clone)]
pub struct Tags {
    pub(crate) shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub(crate) cache: Cacheops,
    pub(crate) library: Library,
    syntax: RwLock<Syntax>,
    custom: RwLock<HashMap<String, Arc<Decorator>>>,
    marks: OnceLock<Box<Marks>>,
    #[cfg(feature = "glob_fs")]
    glob: RwLock<Glob>,
}

/// What was loaded by a glob.
#[cfg(feature = "glob_fs")]
#[derive(Clone, Default)]
struct Glob {
    pattern: Option<String>,
    names: BTreeSet<String>,
}

type Decorator = dyn Fn(&TagCall<'_>) -> Result<Caching, Error> + Send + Sync;
type Marks = dyn Fn(&State<'_>) -> bool + Send + Sync;

impl Tags {
    /// Adds to a Tera what the tags become, and the functions and filters
    /// `queryset`, `rows` and `get_last_invalidation`.
    ///
    /// All templates that the ones with tags use are to be loaded through
    /// this, and all that extend them, those without tags too: a layout's
    /// fragment differs by what fills its blocks, and a child that passed by
    /// is not known. A Tera with delimiters of its own is to be told of them
    /// by [`set_delimiters`](Tags::set_delimiters). Teras that share a cache
    /// share the fragments of templates with the same name and source: where
    /// they would render those differently, by other globals or filters, give
    /// each a cache of its own.
    ///
    /// A clone of a Tera works with the `Tags` of the one it was made of, as
    /// long as it has the same templates. One that is to get others needs
    /// `Tags` of its own: install them into the clone, and **add all sources
    /// again**. What it brought along was rewritten for the first `Tags`, and
    /// rendering it is an error that says so.
    ///
    /// ```
    /// use tera::{Context, Tera};
    /// use tera_cacheops::{Tags, cacheops::Cacheops};
    ///
    /// let sources = [("page", "{% cached %}{% include 'part' %}{% endcached %}"), ("part", "1")];
    /// let mut tera = Tera::default();
    /// let tags = Tags::install(&mut tera, &Cacheops::in_memory());
    /// tags.add_templates(&mut tera, sources)?;
    ///
    /// let mut clone = tera.clone();
    /// let others = Tags::install(&mut clone, &Cacheops::in_memory());
    /// assert!(others.render(&clone, "page", &Context::new()).is_err());
    /// others.add_templates(&mut clone, sources)?;
    /// others.add_template(&mut clone, "part", "2")?;
    /// assert_eq!(others.render(&clone, "page", &Context::new())?, "2");
    /// assert_eq!(tags.render(&tera, "page", &Context::new())?, "1");
    /// # Ok::<_, tera::Error>(())
    /// ```
    pub fn install(tera: &mut Tera, cache: &Cacheops) -> Tags {
        let shared = Arc::new(Shared {
            cache: cache.clone(),
            library: Library::default(),
            syntax: RwLock::new(syntax_of(&Delimiters::default())),
            custom: RwLock::default(),
            marks: OnceLock::new(),
            #[cfg(feature = "glob_fs")]
            glob: RwLock::default(),
        });
        register_tags(tera, &shared);
        register_functions(tera, cache);
        Tags { shared }
    }

    /// Sets the delimiters, in place of [`Tera::set_delimiters`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn set_delimiters(&self, tera: &mut Tera, delimiters: Delimiters) -> TeraResult<()> {
        let syntax = syntax_of(&delimiters);
        tera.set_delimiters(delimiters)?;
        *self.shared.syntax.write().unwrap_or_else(PoisonError::into_inner) = syntax;
        Ok(())
    }

    /// Adds a template from a string, in place of [`Tera::add_raw_template`].
    ///
    /// # Errors
    ///
    /// A tag that is wrong, unknown, not closed or crossed, or what the engine
    /// finds wrong with the rest; name, line and text are the author's.
    pub fn add_template(
        &self,
        tera: &mut Tera,
        name: impl Into<String>,
        source: impl Into<String>,
    ) -> TeraResult<()> {
        self.add_templates(tera, [(name, source)])
    }

    /// Adds templates from strings, in place of [`Tera::add_raw_templates`]:
    /// those that use each other at once.
    ///
    /// # Errors
    ///
    /// As [`add_template`](Tags::add_template); then none is added.
    pub fn add_templates<N: Into<String>, S: Into<String>>(
        &self,
        tera: &mut Tera,
        templates: impl IntoIterator<Item = (N, S)>,
    ) -> TeraResult<()> {
        let batch: Vec<(String, String)> =
            templates.into_iter().map(|(name, source)| (name.into(), source.into())).collect();
        self.add(tera, &batch, &[])
    }

    /// Adds templates from files, in place of [`Tera::add_template_files`];
    /// without a name, a template is called like its path.
    ///
    /// # Errors
    ///
    /// As [`add_template`](Tags::add_template), and a file that cannot be read.
    pub fn add_template_files<P: AsRef<Path>, N: AsRef<str>>(
        &self,
        tera: &mut Tera,
        files: impl IntoIterator<Item = (P, Option<N>)>,
    ) -> TeraResult<()> {
        let mut batch = Vec::new();
        for (path, name) in files {
            let path = path.as_ref();
            let name = match (name, path.to_str()) {
                (Some(name), _) => name.as_ref().to_owned(),
                (None, Some(path)) => path.to_owned(),
                (None, None) => {
                    let why = format!("Template path is not valid UTF-8: {}", path.display());
                    return Err(Error::message(why));
                }
            };
            batch.push((name, read_file(path)?));
        }
        self.add(tera, &batch, &[])
    }

    /// Loads all templates that a glob finds, in place of
    /// [`Tera::load_from_glob`]; those loaded otherwise stay.
    ///
    /// # Errors
    ///
    /// As [`add_template_files`](Tags::add_template_files), and a glob that is
    /// none; then nothing is changed.
    #[cfg(feature = "glob_fs")]
    pub fn load_from_glob(&self, tera: &mut Tera, glob: &str) -> TeraResult<()> {
        let mut batch = Vec::new();
        for (path, name) in tera::load_from_glob(glob)? {
            batch.push((name, read_file(&path)?));
        }
        let before = self.shared.glob.read().unwrap_or_else(PoisonError::into_inner).clone();
        let names: BTreeSet<String> = batch.iter().map(|(name, _)| name.clone()).collect();
        let known = self.shared.library.templates();
        let is_gone = |name: &&String| !names.contains(*name) && known.contains_key(*name);
        let gone: Vec<String> = before.names.iter().filter(is_gone).cloned().collect();
        self.add(tera, &batch, &gone)?;
        let mut now = self.shared.glob.write().unwrap_or_else(PoisonError::into_inner);
        *now = Glob { pattern: Some(glob.to_owned()), names };
        Ok(())
    }

    /// Loads anew what the glob finds now, in place of [`Tera::full_reload`].
    /// Tera cannot be told to forget a template, so one whose file is gone
    /// throws an error when it is rendered.
    ///
    /// # Errors
    ///
    /// As [`load_from_glob`](Tags::load_from_glob), and where there was none.
    #[cfg(feature = "glob_fs")]
    pub fn full_reload(&self, tera: &mut Tera) -> TeraResult<()> {
        let glob = self.shared.glob.read().unwrap_or_else(PoisonError::into_inner).pattern.clone();
        match glob {
            Some(glob) => self.load_from_glob(tera, &glob),
            None => Err(Error::message("Reloading is only available if you are using a glob")),
        }
    }

    fn add(&self, tera: &mut Tera, batch: &[(String, String)], gone: &[String]) -> TeraResult<()> {
        let syntax = self.shared.syntax();
        let changed = self.rewritten(tera, batch, gone)?;
        let mut rewritten: Vec<(String, Arc<str>)> =
            changed.iter().map(|(name, loaded)| (name.clone(), loaded.rewritten.clone())).collect();
        rewritten.extend(gone.iter().map(|name| (name.clone(), tombstone(&syntax))));
        let shared = &self.shared;
        if let Err(error) = tera.add_raw_templates(rewritten) {
            let mut all = shared.library.templates();
            all.extend(changed);
            return Err(errors::of_authors(error, &all));
        }
        shared.library.commit(changed, gone);
        Ok(())
    }

    pub(crate) fn rewritten(
        &self,
        tera: &Tera,
        batch: &[(String, String)],
        gone: &[String],
    ) -> TeraResult<Names<Loaded>> {
        let shared = &self.shared;
        let syntax = shared.syntax();
        check_delimiters(tera, &syntax)?;
        let custom = shared.custom_names();
        let held: Vec<String> = tera.get_template_names().map(str::to_owned).collect();
        let mut all_gone = shared.library.gone();
        all_gone.extend(gone.iter().cloned());
        let asks = Asks {
            templates: &held,
            gone: &all_gone,
            has_component: &|name| tera.contains_component(name),
        };
        let changed = shared.library.rewrite(batch, gone, &syntax, &custom, &asks);
        changed.map_err(|wrong| self.tell(wrong, batch))
    }

    fn tell(&self, wrong: Wrong, batch: &[(String, String)]) -> Error {
        match wrong {
            Wrong::Place { template: name, line, detail } => {
                let new = batch.iter().rev().find(|(other, _)| *other == name);
                let author = match new {
                    Some((_, source)) => source.as_str().into(),
                    None => self
                        .shared
                        .library
                        .templates()
                        .get(&name)
                        .map_or_else(|| Arc::from(""), |loaded| loaded.author.text.clone()),
                };
                errors::in_loading(&name, &author, line, &detail)
            }
            Wrong::Foreign(name, used) => Error::message(format!(
                "`{name}` has cache tags around or beside `{used}`, which was not loaded through `Tags`: what it holds would not be part of their keys"
            )),
        }
    }

    /// Adds a tag of the application's own, `{% name … %}` to `{% endname %}`,
    /// before the templates that use it are loaded. `decorate` sees its
    /// arguments and the context, and decides how its body is cached, or that
    /// it is not; a keyword that it does not ask for is an error. From
    /// django-cacheops.
    ///
    /// ```
    /// use tera::{Context, Tera};
    /// use tera_cacheops::{Caching, Tags, cacheops::{Cacheops, QuerySet}};
    ///
    /// let mut tera = Tera::default();
    /// let tags = Tags::install(&mut tera, &Cacheops::in_memory());
    /// tags.decorator_tag("cache_menu", |call| {
    ///     if call.lookup("is_staff").is_truthy() {
    ///         return Ok(Caching::skip());
    ///     }
    ///     let items = QuerySet::table("menu_items");
    ///     Ok(Caching::cached_as(items).extra(&call.lookup("lang"))?.name("menu"))
    /// })?;
    /// tags.add_template(&mut tera, "a", "{% cache_menu 'top' %}{{ n }}{% endcache_menu %}")?;
    /// let page = |lang: &str, n: u8| {
    ///     let mut context = Context::new();
    ///     context.insert("lang", lang);
    ///     context.insert("n", &n);
    ///     context.insert("is_staff", &(n > 8));
    ///     tags.render(&tera, "a", &context)
    /// };
    /// assert_eq!(page("de", 1)?, "1");
    /// assert_eq!(page("de", 2)?, "1");
    /// assert_eq!(page("en", 3)?, "3");
    /// assert_eq!(page("de", 9)?, "9");
    /// # Ok::<_, tera::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// A name that is no identifier, or one of the engine's or of this
    /// library's own.
    pub fn decorator_tag(
        &self,
        name: impl Into<String>,
        decorate: impl Fn(&TagCall<'_>) -> Result<Caching, Error> + Send + Sync + 'static,
    ) -> TeraResult<()> {
        let name = name.into();
        check_tag_name(&name, &STATEMENTS).map_err(Error::message)?;
        let mut custom = self.shared.custom.write().unwrap_or_else(PoisonError::into_inner);
        custom.insert(name, Arc::new(decorate));
        Ok(())
    }

    /// Surrounds fragments with comments that carry their keys,
    /// `<!--cacheops 0a1b…-->` to `<!--/cacheops 0a1b…-->`, while `is_on` says
    /// so, in templates that are escaped: for tools that show what is cached.
    /// Fragments with marks are others than those without. Only the first call
    /// counts.
    pub fn mark_fragments(&self, is_on: impl Fn(&State<'_>) -> bool + Send + Sync + 'static) {
        // The first one stays: what is rendered already may rely on it.
        let _ = self.shared.marks.set(Box::new(is_on));
    }
}

impl std::fmt::Debug for Tags {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tags").field("cache", &self.shared.cache).finish_non_exhaustive()
    }
}

impl Shared {
    pub(crate) fn syntax(&self) -> Syntax {
        self.syntax.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn custom_names(&self) -> Vec<String> {
        let custom = self.custom.read().unwrap_or_else(PoisonError::into_inner);
        custom.keys().cloned().collect()
    }

    pub(crate) fn decorator(&self, name: &str) -> Option<Arc<Decorator>> {
        self.custom.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    pub(crate) fn marks(&self, state: &State<'_>) -> bool {
        self.marks.get().is_some_and(|is_on| state.autoescaping_enabled() && is_on(state))
    }
}

fn syntax_of(delimiters: &Delimiters) -> Syntax {
    let pair = |start: &str, end: &str| (start.to_owned(), end.to_owned());
    Syntax {
        block: pair(&delimiters.block_start, &delimiters.block_end),
        variable: pair(&delimiters.variable_start, &delimiters.variable_end),
        comment: pair(&delimiters.comment_start, &delimiters.comment_end),
        line_statement: None,
        line_comment: None,
        rules: RULES,
    }
}

/// What a template becomes whose file is gone.
fn tombstone(syntax: &Syntax) -> Arc<str> {
    let (start, end) = &syntax.variable;
    format!("{start} throw(message=\"the file of this template is gone\") {end}").into()
}

/// Tera does not tell its delimiters: those here must be what it reads.
fn check_delimiters(tera: &Tera, syntax: &Syntax) -> TeraResult<()> {
    let (start, end) = &syntax.variable;
    let probe = format!("{start}1{end}");
    match tera.render_str(&probe, &Context::new(), false) {
        Ok(text) if text == "1" => Ok(()),
        _ => Err(Error::message(
            "the Tera has delimiters of its own: set them by `Tags::set_delimiters`",
        )),
    }
}

fn read_file(path: &Path) -> TeraResult<String> {
    std::fs::read_to_string(path).map_err(|error| {
        Error::chain(format!("Failed to read template '{}'", path.display()), error)
    })
}

fn register_tags(tera: &mut Tera, shared: &Arc<Shared>) {
    let it = shared.clone();
    tera.register_filter(dialect::BEGIN, move |number: usize, kwargs: Kwargs, state: &State| {
        begin::begin(&it, number, &kwargs, state)
    });
    let it = shared.clone();
    tera.register_filter(
        dialect::BEGIN_CUSTOM,
        move |number: usize, kwargs: Kwargs, state: &State| {
            begin::begin_custom(&it, number, &kwargs, state)
        },
    );
    tera.register_function(dialect::FILL, |_: Kwargs, _: &State| frames::token());
    tera.register_filter(dialect::STORE, |body: Value, kwargs: Kwargs, _: &State| {
        begin::store(&body, &kwargs)
    });
    tera.register_function(dialect::HIT, |_: Kwargs, _: &State| frames::take_found());
}

fn register_functions(tera: &mut Tera, cache: &Cacheops) {
    tera.register_filter("rows", |value: Value, _: Kwargs, _: &State| querysets::rows(&value));
    tera.register_function("rows", |kwargs: Kwargs, _: &State| {
        querysets::rows(&kwargs.must_get::<Value>("of")?)
    });
    tera.register_filter("queryset", |table: String, kwargs: Kwargs, _: &State| {
        querysets::build(&table, &kwargs, "")
    });
    tera.register_function("queryset", |kwargs: Kwargs, _: &State| {
        querysets::build(kwargs.must_get::<&str>("table")?, &kwargs, "table")
    });
    let cache = cache.clone();
    tera.register_function("get_last_invalidation", move |kwargs: Kwargs, _: &State| {
        last_invalidation(&cache, &kwargs)
    });
}

/// `get_last_invalidation(of="articles")`, or of a list of names: seconds
/// since 1970, or none.
fn last_invalidation(cache: &Cacheops, kwargs: &Kwargs) -> TeraResult<Option<f64>> {
    let wrong = |value: &Value| {
        Error::message(format!(
            "get_last_invalidation() takes names of tables, and got {}",
            value.name()
        ))
    };
    let mut names: Vec<&str> = Vec::new();
    if let Some(of) = begin::argument(kwargs, "of") {
        let one = std::slice::from_ref(of);
        for name in of.as_array().unwrap_or(one) {
            names.push(name.as_str().ok_or_else(|| wrong(name))?);
        }
    }
    let last = cache.get_last_invalidation(names);
    Ok(last.and_then(|at| at.duration_since(UNIX_EPOCH).ok()).map(|time| time.as_secs_f64()))
}
