//! The plugin: what it adds to an environment, and how templates pass it.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use cacheops::template::{EnvironmentId, Rules, Syntax, rewrite, source_digest};
use cacheops::{Cacheops, FragmentKey, KeyWriter, TemplateUse};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Object};
use minijinja::{Environment, Error, ErrorKind, Output, State, Value};

use crate::custom::{Caching, TagCall};
use crate::dialect::{self, MiniJinja};
use crate::fragment::{PrintMode, around_fragments};
use crate::source::{self, TemplateSource};
use crate::templates::{Language, Source, Templates, Versions};
use crate::{call, custom, errors, guards, querysets, runtime};

/// The cache tags of an environment.
///
/// Templates get their tags as they are loaded: through
/// [`add_template`](Tags::add_template), [`set_loader`](Tags::set_loader) or
/// [`set_path_loader`](Tags::set_path_loader) in place of the environment's
/// own methods of these names. The handle is cheap to clone.
///
/// ```
/// use minijinja::{Environment, context};
/// use minijinja_cacheops::{Tags, cacheops::{Cacheops, QuerySet}, queryset};
///
/// let cache = Cacheops::in_memory();
/// let mut env = Environment::new();
/// let tags = Tags::install(&mut env, &cache);
/// tags.add_template(&mut env, "page", "{% cached_as articles %}{{ n }}{% endcached_as %}")?;
///
/// let page = |n: u32| {
///     let articles = queryset(QuerySet::table("articles"));
///     env.get_template("page")?.render(context!(articles, n))
/// };
/// assert_eq!(page(1)?, "1");
/// assert_eq!(page(2)?, "1");
/// cache.invalidate_model("articles");
/// assert_eq!(page(3)?, "3");
/// # Ok::<_, minijinja::Error>(())
/// ```
#[derive(Clone)]
pub struct Tags {
    shared: Arc<Shared>,
    /// Whether the environment has the tags of another cache.
    is_second: bool,
}

/// What the tags of an environment stand on. All but the key are those of its
/// clones, too, also under another name.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) cache: Cacheops,
    /// Stands for the environment in the keys of its fragments.
    pub(crate) environment: FragmentKey,
    pub(crate) templates: Arc<Templates>,
    pub(crate) print_mode: Arc<PrintMode>,
    custom: Arc<RwLock<HashMap<String, Arc<Decorator>>>>,
    marks: Arc<OnceLock<Box<MarkFilter>>>,
}

/// Stands before the key of an environment.
const ENGINE: &str = "minijinja";

type Decorator = dyn Fn(&TagCall<'_>) -> Result<Caching, Error> + Send + Sync;
type MarkFilter = dyn Fn(&State<'_, '_>) -> bool + Send + Sync;

impl Tags {
    /// Adds to an environment what the tags become, and the functions
    /// `queryset` and `get_last_invalidation`.
    ///
    /// All templates of an inheritance are to be loaded through this, those
    /// without tags too: a layout's fragment differs by what fills its blocks,
    /// and a child that passed by is not known.
    ///
    /// An environment has one cache. A second call with the same one answers
    /// the same tags, as it does for a clone of the environment; with another
    /// one, the first stays, and whatever is loaded through the second tags is
    /// an error.
    ///
    /// Over a shared cache the fragments are those of the first environment in
    /// each process. Every further one in the same cache has its own, which it
    /// shares with nobody, since it may render the same sources otherwise, by
    /// other globals, functions or filters: see
    /// [`install_as`](Tags::install_as). A clone goes on with the fragments of
    /// the one it is of, until it gets a name by that.
    pub fn install(env: &mut Environment<'_>, cache: &Cacheops) -> Tags {
        match installed(env) {
            Some(shared) => Tags { is_second: !shared.cache.is_same(cache), shared },
            None => Tags::add(env, Shared::new(cache, &EnvironmentId::next(cache, ENGINE))),
        }
    }

    /// The same under a name: environments of one name share the fragments of
    /// templates with the same name and source, in this process and in others.
    /// So they are to render these alike. For the second environment of an
    /// application, for one that is made anew while the application runs, and
    /// for a clone that gets other globals, functions or filters.
    ///
    /// ```
    /// use minijinja::{Environment, context};
    /// use minijinja_cacheops::{Tags, cacheops::Cacheops};
    ///
    /// let cache = Cacheops::in_memory();
    /// let mut env = Environment::new();
    /// let tags = Tags::install(&mut env, &cache);
    /// tags.add_template(&mut env, "p", "{% cached %}{{ lang }}{{ n }}{% endcached %}")?;
    /// let page = |lang: &'static str, n: u8| {
    ///     let mut of_lang = env.clone();
    ///     of_lang.add_global("lang", lang);
    ///     Tags::install_as(&mut of_lang, &cache, lang);
    ///     of_lang.get_template("p")?.render(context!(n))
    /// };
    /// assert_eq!(page("de", 1)?, "de1");
    /// assert_eq!(page("en", 2)?, "en2");
    /// assert_eq!(page("de", 3)?, "de1");
    /// # Ok::<_, minijinja::Error>(())
    /// ```
    pub fn install_as(env: &mut Environment<'_>, cache: &Cacheops, name: &str) -> Tags {
        let own = EnvironmentId::named(name);
        match installed(env) {
            Some(shared) if !shared.cache.is_same(cache) => Tags { shared, is_second: true },
            Some(shared) => {
                Tags::add(env, Shared { environment: key_of(&own), ..Shared::clone(&shared) })
            }
            None => Tags::add(env, Shared::new(cache, &own)),
        }
    }

    fn add(env: &mut Environment<'_>, shared: Shared) -> Tags {
        let shared = Arc::new(shared);
        add_filters(env, &shared);
        add_functions(env, &shared);
        Tags { shared, is_second: false }
    }

    /// Adds a template from a string, in place of
    /// [`Environment::add_template_owned`].
    ///
    /// # Errors
    ///
    /// A tag that is wrong, unknown, not closed or crossed, or what the engine
    /// finds wrong with the rest; name, line and text are the author's.
    pub fn add_template(
        &self,
        env: &mut Environment<'_>,
        name: impl Into<String>,
        source: impl Into<String>,
    ) -> Result<(), Error> {
        let (name, source) = (name.into(), source.into());
        let rewritten = self.rewrite(env.syntax(), &name, &source)?;
        match env.add_template_owned(name.clone(), rewritten) {
            Ok(()) => Ok(()),
            Err(error) => Err(errors::in_source(&name, &source, &error)),
        }
    }

    /// Sets the loader, in place of [`Environment::set_loader`]. Set the
    /// environment's syntax and the [`decorator_tag`](Tags::decorator_tag)s
    /// before. Auto-reload works with
    /// [`TemplateSource::with_uptodate_check`].
    pub fn set_loader<F, S>(&self, env: &mut Environment<'_>, loader: F)
    where
        F: Fn(&str) -> Result<Option<S>, Error> + Send + Sync + 'static,
        S: Into<TemplateSource>,
    {
        let tags = self.clone();
        let syntax = env.syntax().clone();
        env.set_loader(move |name| match loader(name)? {
            Some(source) => tags.load(&syntax, name, source.into()).map(Some),
            None => Ok(None),
        });
    }

    /// Loads templates from the files of a folder, in place of
    /// [`minijinja::path_loader`]; a changed file is loaded anew where the
    /// environment has auto-reload on, as it does by default.
    pub fn set_path_loader(&self, env: &mut Environment<'_>, folder: impl AsRef<Path>) {
        self.set_loader(env, source::path_loader(folder));
    }

    fn load(
        &self,
        syntax: &SyntaxConfig,
        name: &str,
        source: TemplateSource,
    ) -> Result<minijinja::TemplateSource, Error> {
        let rewritten = self.rewrite(syntax, name, &source.text)?;
        if rewritten != source.text {
            check(syntax, name, &source.text, &rewritten)?;
        }
        let loaded = minijinja::TemplateSource::new(rewritten);
        Ok(match source.uptodate {
            Some(uptodate) => loaded.with_uptodate_check(uptodate),
            None => loaded,
        })
    }

    /// What the engine is to get for a source with tags, for templates that
    /// are neither added nor loaded, such as those of
    /// [`Environment::render_named_str`].
    ///
    /// # Errors
    ///
    /// A tag that is wrong, not closed or crossed.
    pub fn rewrite(
        &self,
        syntax: &SyntaxConfig,
        name: &str,
        source: &str,
    ) -> Result<String, Error> {
        if self.is_second {
            return Err(Error::new(
                ErrorKind::InvalidOperation,
                "the environment has the tags of another cache already: an environment has one cache",
            ));
        }
        let mut syntax = read_syntax(syntax);
        syntax.rules.reserved = Some(dialect::FRAGMENT);
        let custom = self.shared.custom_names();
        let digest = source_digest(name, source);
        self.shared
            .templates
            .add(name, source, &Language { syntax: &syntax, custom: &custom }, |first_tag| {
                rewrite(source, &syntax, &custom, &MiniJinja { syntax: &syntax, first_tag, digest })
            })
            .map_err(|error| errors::in_tag(name, &error))
    }

    /// Adds a tag of the application's own, `{% name … %}` to `{% endname %}`,
    /// before the templates that use it are loaded. `decorate` sees its
    /// arguments and the context, and decides how its body is cached, or that
    /// it is not; a keyword that it does not ask for is an error. From
    /// django-cacheops.
    ///
    /// ```
    /// use minijinja::{Environment, context};
    /// use minijinja_cacheops::{Caching, Tags, cacheops::{Cacheops, QuerySet}};
    ///
    /// let mut env = Environment::new();
    /// let tags = Tags::install(&mut env, &Cacheops::in_memory());
    /// tags.decorator_tag("cache_menu", |call| {
    ///     if call.lookup("is_staff").is_true() {
    ///         return Ok(Caching::skip());
    ///     }
    ///     let items = QuerySet::table("menu_items");
    ///     Ok(Caching::cached_as(items).extra(&call.lookup("lang"))?.name("menu"))
    /// })?;
    /// tags.add_template(&mut env, "a", "{% cache_menu 'top' %}{{ n }}{% endcache_menu %}")?;
    /// let page = |lang, n| env.get_template("a")?.render(context!(lang, n, is_staff => n > 8));
    /// assert_eq!(page("de", 1)?, "1");
    /// assert_eq!(page("de", 2)?, "1");
    /// assert_eq!(page("en", 3)?, "3");
    /// assert_eq!(page("de", 9)?, "9");
    /// # Ok::<_, minijinja::Error>(())
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
    ) -> Result<(), Error> {
        let name = name.into();
        custom::check_name(&name)?;
        let mut custom = self.shared.custom.write().unwrap_or_else(PoisonError::into_inner);
        custom.insert(name, Arc::new(decorate));
        Ok(())
    }

    /// Sets the formatter, in place of [`Environment::set_formatter`]: the
    /// engine hands it whatever a template prints, and what is cached has
    /// passed through it already. Formatters that leave safe strings as they
    /// are, as those do that end in [`minijinja::escape_formatter`], may be
    /// set either way; with another one that is not set by this, tags are
    /// errors.
    pub fn set_formatter<F>(&self, env: &mut Environment<'_>, formatter: F)
    where
        F: Fn(&mut Output, &mut State, &Value) -> Result<(), Error> + Send + Sync + 'static,
    {
        env.set_formatter(around_fragments(formatter));
    }

    /// Surrounds fragments with comments that carry their keys,
    /// `<!--cacheops 0a1b…-->` to `<!--/cacheops 0a1b…-->`, while `is_on` says
    /// so, in templates that escape HTML: for tools that show what is cached.
    /// Fragments with marks are others than those without. Only the first call
    /// counts.
    pub fn mark_fragments(&self, is_on: impl Fn(&State<'_, '_>) -> bool + Send + Sync + 'static) {
        // The first one stays: what is rendered already may rely on it.
        let _ = self.shared.marks.set(Box::new(is_on));
    }

    /// An error of rendering with all its causes, each with the lines around
    /// it as the author wrote them. What the engine itself shows in debug mode
    /// is the rewritten source.
    #[must_use]
    pub fn explain(&self, error: &Error) -> String {
        errors::explain(error, |name| self.shared.templates.original(name))
    }
}

impl std::fmt::Debug for Tags {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tags").field("cache", &self.shared.cache).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("cache", &self.cache).finish_non_exhaustive()
    }
}

impl Shared {
    fn new(cache: &Cacheops, own: &EnvironmentId) -> Self {
        Shared {
            cache: cache.clone(),
            environment: key_of(own),
            templates: Arc::default(),
            print_mode: Arc::default(),
            custom: Arc::default(),
            marks: Arc::default(),
        }
    }

    fn custom_names(&self) -> Vec<String> {
        let custom = self.custom.read().unwrap_or_else(PoisonError::into_inner);
        let mut names: Vec<String> = custom.keys().cloned().collect();
        names.sort_unstable();
        names
    }

    pub(crate) fn decorator(&self, name: &str) -> Option<Arc<Decorator>> {
        self.custom.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    pub(crate) fn marks(&self, state: &State<'_, '_>) -> bool {
        self.marks.get().is_some_and(|is_on| {
            matches!(state.auto_escape(), minijinja::AutoEscape::Html) && is_on(state)
        })
    }

    /// Whether a template that a body used is still what it was.
    pub(crate) fn is_same(&self, state: &State<'_, '_>, used: &TemplateUse) -> bool {
        self.with_versions(state, |versions| versions.again(state, used) == *used)
    }

    /// Reads versions of templates with the syntax of the environment.
    pub(crate) fn with_versions<R>(
        &self,
        state: &State<'_, '_>,
        f: impl FnOnce(&Versions<'_>) -> R,
    ) -> R {
        let scan = |name: &str, text: &str| {
            let syntax = read_syntax(state.env().syntax());
            let digest = source_digest(name, text);
            let dialect = MiniJinja { syntax: &syntax, first_tag: 0, digest };
            Source::foreign(name, text, rewrite(text, &syntax, &[], &dialect).ok().as_ref())
        };
        f(&Versions { templates: &self.templates, scan: &scan })
    }
}

fn key_of(own: &EnvironmentId) -> FragmentKey {
    let mut key = KeyWriter::new();
    own.write_key(ENGINE, &mut key);
    key.finish()
}

/// Hands the tags of an environment to whoever installs some again.
#[derive(Debug)]
struct Installed(Arc<Shared>);

impl Object for Installed {}

fn installed(env: &Environment<'_>) -> Option<Arc<Shared>> {
    let found = env.empty_state().apply_filter(dialect::INSTALLED, &[Value::from(0)]).ok()?;
    found.downcast_object_ref::<Installed>().map(|installed| installed.0.clone())
}

fn read_syntax(syntax: &SyntaxConfig) -> Syntax {
    let pair = |(start, end): (&str, &str)| (start.to_owned(), end.to_owned());
    Syntax {
        block: pair(syntax.block_delimiters()),
        variable: pair(syntax.variable_delimiters()),
        comment: pair(syntax.comment_delimiters()),
        line_statement: syntax.line_statement_prefix().map(str::to_owned),
        line_comment: syntax.line_comment_prefix().map(str::to_owned),
        rules: Rules::default(),
    }
}

/// Has the engine read a rewritten source, so that its error can be told of
/// what the author wrote.
fn check(syntax: &SyntaxConfig, name: &str, author: &str, rewritten: &str) -> Result<(), Error> {
    let mut env = Environment::empty();
    env.set_syntax(syntax.clone());
    match env.template_from_named_str(name, rewritten) {
        Ok(_) => Ok(()),
        Err(error) => Err(errors::in_source(name, author, &error)),
    }
}

fn add_filters(env: &mut Environment<'_>, shared: &Arc<Shared>) {
    let it = shared.clone();
    env.add_filter(dialect::BEGIN, move |state: &mut State, number: usize, arguments: &[Value]| {
        runtime::begin(&it, state, number, arguments)
    });
    let it = shared.clone();
    env.add_filter(
        dialect::BEGIN_CUSTOM,
        move |state: &mut State, number: usize, arguments: &[Value], kwargs: Kwargs| {
            runtime::begin_custom(&it, state, number, arguments, &kwargs)
        },
    );
    let it = shared.clone();
    env.add_filter(dialect::STORE, move |state: &mut State, body: &Value, number: u64| {
        runtime::store(&it, state, body, number)
    });
    let it = shared.clone();
    env.add_filter(dialect::PRINT, move |state: &mut State, fragment: &Value| {
        it.print_mode.print(state, fragment)
    });
    let it = shared.clone();
    env.add_filter(dialect::USES, move |state: &mut State, name: &Value| {
        runtime::uses(&it, state, name)
    });
    let it = shared.clone();
    env.add_filter(dialect::EXTENDS, move |state: &mut State, name: &Value, source: &str| {
        runtime::extends(&it, state, name, source)
    });
    let it = shared.clone();
    env.add_filter(dialect::IMPORTS_PLAINLY, move |state: &mut State, name: &Value| {
        runtime::imports_plainly(&it, state, name)
    });
    let it = shared.clone();
    env.add_filter(dialect::IMPORTS, move |state: &mut State, name: &Value| {
        runtime::imports(&it, state, name)
    });
    let it = shared.clone();
    env.add_filter(dialect::PAGE, move |state: &mut State, of: u8| {
        match of {
            dialect::IN_BLOCK => _ = crate::rendering::Rendering::of(&it, state),
            has_macros => runtime::enter(&it, state, has_macros == 1),
        }
        false
    });
    let it = shared.clone();
    env.add_filter(dialect::INSTALLED, move |_: &Value| Value::from_object(Installed(it.clone())));
    let it = shared.clone();
    env.add_filter(dialect::CALLER, move |caller: &Value, number: usize| {
        let text = it.templates.tag(number).map_or("", |tag| &tag.text);
        guards::caller(caller, text)
    });
    env.add_filter(dialect::COPY, runtime::copy);
}

fn add_functions(env: &mut Environment<'_>, shared: &Arc<Shared>) {
    for name in ["cached_as", "cached"] {
        let it = shared.clone();
        env.add_function(name, move |state: &mut State, arguments: &[Value], kwargs: Kwargs| {
            call::call(&it, state, name, arguments, &kwargs)
        });
    }
    let cache = shared.cache.clone();
    env.add_function("get_last_invalidation", move |tables: &[Value]| {
        call::last_invalidation(&cache, tables)
    });
    env.add_function("queryset", |table: &Value, conditions: Kwargs| {
        querysets::queryset_function(table, conditions)
    });
}
