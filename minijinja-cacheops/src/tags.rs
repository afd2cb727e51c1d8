//! The plugin: what it adds to an environment, and how templates pass it.

use std::path::Path;
use std::sync::Arc;

use cacheops::Cacheops;
use cacheops::template::{EnvironmentId, rewrite, source_digest};
use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, Error, ErrorKind, Output, State, Value};

use crate::custom::{Caching, STATEMENTS, TagCall};
use crate::dialect::{self, MiniJinja, read_syntax};
use crate::errors;
use crate::fragment::around_fragments;
use crate::registration::{installed, register};
use crate::shared::{ENGINE, Shared};
use crate::source::{self, TemplateSource};
use crate::templates::Language;

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
        let named = EnvironmentId::named(name);
        match installed(env) {
            Some(shared) if !shared.cache.is_same(cache) => Tags { shared, is_second: true },
            Some(shared) => Tags::add(env, shared.renamed(&named)),
            None => Tags::add(env, Shared::new(cache, &named)),
        }
    }

    fn add(env: &mut Environment<'_>, shared: Shared) -> Tags {
        let shared = Arc::new(shared);
        register(env, &shared);
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
        let custom = self.shared.custom.names();
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
        let added = self.shared.custom.add(name.into(), Arc::new(decorate), &STATEMENTS);
        added.map_err(|why| Error::new(ErrorKind::InvalidOperation, why))
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
