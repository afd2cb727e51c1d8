//! The plugin: what it adds to a Tera, and how templates are loaded.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use cacheops::Cacheops;
use cacheops::template::EnvironmentId;
use tera::{Error, State, Tera, TeraResult};

use crate::custom::{Caching, TagCall};
use crate::engine::STATEMENTS;
use crate::names::ENGINE;
use crate::registration::register;
use crate::shared::Shared;
use crate::template_set::TemplateSet;

/// The cache tags of a Tera.
///
/// Load templates through [`add_template`](Tags::add_template) and the other
/// methods here, instead of the methods of [`Tera`]. The tags are rewritten
/// during loading. Render with the methods of [`Tera`], or with those of `Tags`,
/// whose errors show what the author wrote. The handle is cheap to clone.
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

impl Tags {
    /// Adds the filters and functions of the tags to a Tera, among them
    /// `queryset`, `rows` and `get_last_invalidation`.
    ///
    /// Load all templates through this that templates with tags use or that
    /// extend them, also those without tags. The fragment of a layout differs
    /// by the templates that fill its blocks, and the plugin does not know a
    /// child that was loaded otherwise. [`Tags::render`] renders such a child
    /// without these fragments. Tera's own methods never store a tag around
    /// blocks, unless [`assume_all_loaded`](Tags::assume_all_loaded) says
    /// that there is no such child. If a Tera has its own delimiters, set
    /// them with [`set_delimiters`](Tags::set_delimiters).
    ///
    /// In a cache that processes share, the first Tera of each process shares
    /// its fragments with the first ones of the others. Every further Tera in
    /// the same cache has its own fragments, because it may render the same
    /// sources differently, with other globals, functions or filters: see
    /// [`install_as`](Tags::install_as). Clones use the fragments of their
    /// original. The plugin notices other templates in a clone, other
    /// prefixes, and whether and how it escapes: by the result of its
    /// function for each ASCII character that is not a letter or digit, and
    /// for some others, such as `U+2028`. **It notices nothing else**. A
    /// clone with other functions, filters, tests or globals, or with a
    /// function that treats only other characters or whole words differently,
    /// needs a value in `extra` that distinguishes it, or an installation of
    /// its own.
    ///
    /// Tera does not reveal its functions and filters. So this replaces
    /// functions and filters of the application with one of the three names.
    /// If they are registered later, they replace those of the plugin.
    ///
    /// With the first template, the plugin adds another function,
    /// `_cacheops_templates()`. It distinguishes a Tera and its clones from
    /// those that only got its functions through [`Tera::register_from`].
    ///
    /// A clone of a Tera needs no `Tags` of its own: it keeps what it has,
    /// and you may add other templates to it with these. But if you install
    /// `Tags` again, into a clone or the same Tera, **add all sources
    /// again**. The earlier templates were rewritten for the first `Tags`,
    /// and rendering them is an error that says so.
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
    /// let mut next = tera.clone();
    /// tags.add_template(&mut next, "part", "2")?;
    /// assert_eq!(tags.render(&next, "page", &Context::new())?, "2");
    /// assert_eq!(tags.render(&tera, "page", &Context::new())?, "1");
    ///
    /// let others = Tags::install(&mut next, &Cacheops::in_memory());
    /// assert!(others.render(&next, "page", &Context::new()).is_err());
    /// others.add_templates(&mut next, sources)?;
    /// assert_eq!(others.render(&next, "page", &Context::new())?, "1");
    /// # Ok::<_, tera::Error>(())
    /// ```
    pub fn install(tera: &mut Tera, cache: &Cacheops) -> Tags {
        Tags::install_in(tera, cache, EnvironmentId::next(cache, ENGINE))
    }

    /// Like [`install`](Tags::install), with a name. Teras with the same name
    /// share the fragments of templates with the same name and source, in
    /// this process and in others. So they must render these templates alike.
    /// Use it for the second Tera of an application, and for one that is
    /// recreated while the application runs.
    ///
    /// ```
    /// use tera::{Context, Tera};
    /// use tera_cacheops::{Tags, cacheops::Cacheops};
    ///
    /// let cache = Cacheops::in_memory();
    /// let page = |lang: &str, n: u8| {
    ///     let mut tera = Tera::default();
    ///     tera.global_context().insert("lang", lang);
    ///     let tags = Tags::install_as(&mut tera, &cache, lang);
    ///     tags.add_template(&mut tera, "p", "{% cached %}{{ lang }}{{ n }}{% endcached %}")?;
    ///     let mut context = Context::new();
    ///     context.insert("n", &n);
    ///     tags.render(&tera, "p", &context)
    /// };
    /// assert_eq!(page("de", 1)?, "de1");
    /// assert_eq!(page("en", 2)?, "en2");
    /// assert_eq!(page("de", 3)?, "de1");
    /// # Ok::<_, tera::Error>(())
    /// ```
    pub fn install_as(tera: &mut Tera, cache: &Cacheops, name: &str) -> Tags {
        Tags::install_in(tera, cache, EnvironmentId::named(name))
    }

    fn install_in(tera: &mut Tera, cache: &Cacheops, environment: EnvironmentId) -> Tags {
        let shared = Arc::new(Shared::new(cache, environment));
        TemplateSet::default().attach_to(tera);
        register(tera, &shared);
        Tags { shared }
    }

    /// Adds a tag of your own, from `{% name … %}` to `{% endname %}`. Call
    /// it before you load templates that use the tag. `decorate` receives the
    /// arguments and the context, and decides how the body is cached, or that
    /// it is not. A keyword that it does not read is an error. This comes
    /// from django-cacheops.
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
    /// If the name is not an identifier, or is a name of the engine or of
    /// this library.
    pub fn decorator_tag(
        &self,
        name: impl Into<String>,
        decorate: impl Fn(&TagCall<'_>) -> Result<Caching, Error> + Send + Sync + 'static,
    ) -> TeraResult<()> {
        let added = self.shared.custom.add(name.into(), Arc::new(decorate), &STATEMENTS);
        added.map_err(Error::message)
    }

    /// Declares that every template that extends one of these was loaded
    /// through `Tags`. Then tags around blocks also cache when Tera's own
    /// methods render. These methods cannot distinguish a child that was
    /// loaded otherwise from its layout. So without this call they render
    /// such tags each time.
    ///
    /// ```
    /// # use tera::{Context, Tera};
    /// # use tera_cacheops::{Tags, cacheops::Cacheops};
    /// # let mut tera = Tera::default();
    /// # let tags = Tags::install(&mut tera, &Cacheops::in_memory());
    /// let source = "{% cached %}{% block b %}{{ n }}{% endblock %}{% endcached %}";
    /// tags.add_template(&mut tera, "page", source)?;
    /// let page = |n: u8| {
    ///     let mut context = Context::new();
    ///     context.insert("n", &n);
    ///     tera.render("page", &context)
    /// };
    /// assert_eq!((page(1)?, page(2)?), ("1".to_owned(), "2".to_owned()));
    /// tags.assume_all_loaded();
    /// assert_eq!((page(3)?, page(4)?), ("3".to_owned(), "3".to_owned()));
    /// # Ok::<_, tera::Error>(())
    /// ```
    pub fn assume_all_loaded(&self) {
        self.shared.all_are_loaded.store(true, Ordering::Relaxed);
    }

    /// While `is_on` returns true, surrounds fragments with comments that
    /// contain their keys, `<!--cacheops 0a1b…-->` to `<!--/cacheops
    /// 0a1b…-->`, in templates that are escaped. This is for tools that show
    /// what is cached. Fragments with marks have other keys than those
    /// without. Only the first call counts.
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
