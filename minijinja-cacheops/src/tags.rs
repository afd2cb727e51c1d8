//! The plugin: what it adds to an environment, and how templates are loaded.

use std::path::Path;
use std::sync::Arc;

use cacheops::Cacheops;
use cacheops::template::{EnvironmentId, rewrite};
use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, Error, ErrorKind, Output, State, Value};

use crate::custom::{Caching, STATEMENTS, TagCall};
use crate::dialect::{self, MiniJinja, read_syntax};
use crate::errors;
use crate::fragment::around_fragments;
use crate::registration::{installed, register};
use crate::shared::{ENGINE, Shared};
use crate::source::{self, TemplateSource};
use crate::templates::{Language, Source};

/// The cache tags of an environment.
///
/// Load templates through [`add_template`](Tags::add_template),
/// [`set_loader`](Tags::set_loader) or
/// [`set_path_loader`](Tags::set_path_loader), instead of the environment's own
/// methods. The tags are rewritten during loading. The handle is cheap to clone.
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
    /// Adds the filters and functions of the tags to an environment, among
    /// them `queryset` and `get_last_invalidation`.
    ///
    /// Load all templates of an inheritance through this, also those without
    /// tags. The fragment of a layout differs by the templates that fill its
    /// blocks, and the plugin does not know a child that was loaded
    /// otherwise.
    ///
    /// An environment has one cache. A second call with the same cache
    /// returns the same tags, also for a clone of the environment. A second
    /// call with another cache changes nothing: templates that are loaded
    /// through the second tags are errors.
    ///
    /// In a cache that processes share, the first environment of each process
    /// shares its fragments with the first ones of the others. Every further
    /// environment in the same cache has its own fragments, because it may
    /// render the same sources differently, with other globals, functions or
    /// filters: see [`install_as`](Tags::install_as). A clone uses the
    /// fragments of its original, until `install_as` gives it a name.
    pub fn install(env: &mut Environment<'_>, cache: &Cacheops) -> Tags {
        match installed(env) {
            Some(shared) => Tags { is_second: !shared.cache.is_same(cache), shared },
            None => Tags::add(env, Shared::new(cache, &EnvironmentId::next(cache, ENGINE))),
        }
    }

    /// Like [`install`](Tags::install), with a name. Environments with the
    /// same name share the fragments of templates with the same name and
    /// source, in this process and in others. So they must render these
    /// templates alike. Use it for the second environment of an application,
    /// for one that is recreated while the application runs, and for a clone
    /// that gets other globals, functions or filters, or escapes, formats or
    /// parses otherwise.
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

    /// Adds a template from a string, instead of
    /// [`Environment::add_template_owned`].
    ///
    /// # Errors
    ///
    /// If a tag is wrong, unknown, not closed or crossed, or the engine finds
    /// another mistake. The error shows the name, line and text of the
    /// author.
    pub fn add_template(
        &self,
        env: &mut Environment<'_>,
        name: impl Into<String>,
        source: impl Into<String>,
    ) -> Result<(), Error> {
        let (name, source) = (name.into(), source.into());
        let (rewritten, found) = self.read(env.syntax(), &name, &source)?;
        match env.add_template_owned(name.clone(), rewritten) {
            Ok(()) => {
                self.shared.templates.keep(found);
                Ok(())
            }
            Err(error) => Err(errors::in_source(&name, &source, &error)),
        }
    }

    /// Sets the loader, instead of [`Environment::set_loader`]. First set the
    /// environment's syntax and the [`decorator_tag`](Tags::decorator_tag)s.
    /// Auto-reload works with [`TemplateSource::with_uptodate_check`].
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

    /// Loads templates from the files of a folder, instead of
    /// [`minijinja::path_loader`]. A changed file is loaded again if the
    /// environment has auto-reload on, as it has by default.
    pub fn set_path_loader(&self, env: &mut Environment<'_>, folder: impl AsRef<Path>) {
        self.set_loader(env, source::path_loader(folder));
    }

    fn load(
        &self,
        syntax: &SyntaxConfig,
        name: &str,
        source: TemplateSource,
    ) -> Result<minijinja::TemplateSource, Error> {
        let (rewritten, found) = self.read(syntax, name, &source.text)?;
        if rewritten != source.text {
            check(syntax, name, &source.text, &rewritten)?;
        }
        self.shared.templates.keep(found);
        let loaded = minijinja::TemplateSource::new(rewritten);
        Ok(match source.uptodate {
            Some(uptodate) => loaded.with_uptodate_check(uptodate),
            None => loaded,
        })
    }

    /// The rewritten form of a source with tags, for templates that are
    /// neither added nor loaded, such as those of
    /// [`Environment::render_named_str`].
    ///
    /// `Tags` keeps the newest source of each name, and about 600 bytes for
    /// each tag of each different source, as long as it lives. So do not write
    /// data into the sources of tags: pass it to the rendering. A source without
    /// tags takes no memory besides its name.
    ///
    /// # Errors
    ///
    /// If a tag is wrong, not closed or crossed.
    pub fn rewrite(
        &self,
        syntax: &SyntaxConfig,
        name: &str,
        source: &str,
    ) -> Result<String, Error> {
        self.read(syntax, name, source).map(|(rewritten, _)| rewritten)
    }

    fn read(
        &self,
        syntax: &SyntaxConfig,
        name: &str,
        source: &str,
    ) -> Result<(String, Source), Error> {
        if self.is_second {
            return Err(Error::new(
                ErrorKind::InvalidOperation,
                "the environment has the tags of another cache already: an environment has one cache",
            ));
        }
        let mut syntax = read_syntax(syntax);
        syntax.rules.reserved = Some(dialect::FRAGMENT);
        let custom = self.shared.custom.names();
        let language = Language { syntax: &syntax, custom: &custom };
        let templates = &self.shared.templates;
        let added = templates.add(name, source, &language, |first_tag, digest| {
            rewrite(source, &syntax, &custom, &MiniJinja { syntax: &syntax, first_tag, digest })
        });
        added.map_err(|error| errors::in_tag(name, &error))
    }

    /// Adds a tag of your own, from `{% name … %}` to `{% endname %}`. Call
    /// it before you load templates that use the tag. `decorate` receives the
    /// arguments and the context, and decides how the body is cached, or that
    /// it is not. A keyword that it does not read is an error. This comes
    /// from django-cacheops.
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
    /// If the name is not an identifier, or is a name of the engine or of
    /// this library.
    pub fn decorator_tag(
        &self,
        name: impl Into<String>,
        decorate: impl Fn(&TagCall<'_>) -> Result<Caching, Error> + Send + Sync + 'static,
    ) -> Result<(), Error> {
        let added = self.shared.custom.add(name.into(), Arc::new(decorate), &STATEMENTS);
        added.map_err(|why| Error::new(ErrorKind::InvalidOperation, why))
    }

    /// Sets the formatter, instead of [`Environment::set_formatter`]. The
    /// engine passes everything that a template prints to the formatter, and
    /// a cached fragment has already passed through it. A formatter that
    /// leaves safe strings alone, as all do that end in
    /// [`minijinja::escape_formatter`], may be set either way. If another
    /// formatter is not set with this method, tags are errors.
    pub fn set_formatter<F>(&self, env: &mut Environment<'_>, formatter: F)
    where
        F: Fn(&mut Output, &mut State, &Value) -> Result<(), Error> + Send + Sync + 'static,
    {
        env.set_formatter(around_fragments(formatter));
    }

    /// While `is_on` returns true, surrounds fragments with comments that
    /// contain their keys, `<!--cacheops 0a1b…-->` to `<!--/cacheops
    /// 0a1b…-->`, in templates that escape HTML. This is for tools that show
    /// what is cached. Fragments with marks have other keys than those
    /// without. Only the first call counts.
    pub fn mark_fragments(&self, is_on: impl Fn(&State<'_, '_>) -> bool + Send + Sync + 'static) {
        // The first one stays: what is rendered already may rely on it.
        let _ = self.shared.marks.set(Box::new(is_on));
    }

    /// An error of rendering with all its causes, each with the lines around
    /// it as the author wrote them. The engine's own debug output shows the
    /// rewritten source.
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

/// Lets the engine parse a rewritten source, so that its error can be translated
/// to the text of the author.
fn check(syntax: &SyntaxConfig, name: &str, author: &str, rewritten: &str) -> Result<(), Error> {
    let mut env = Environment::empty();
    env.set_syntax(syntax.clone());
    match env.template_from_named_str(name, rewritten) {
        Ok(_) => Ok(()),
        Err(error) => Err(errors::in_source(name, author, &error)),
    }
}
