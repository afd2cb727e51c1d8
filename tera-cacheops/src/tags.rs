//! The plugin: what it adds to a Tera, and how templates pass it.

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

impl Tags {
    /// Adds to a Tera what the tags become, and the functions and filters
    /// `queryset`, `rows` and `get_last_invalidation`.
    ///
    /// All templates that the ones with tags use are to be loaded through
    /// this, and all that extend them, those without tags too: a layout's
    /// fragment differs by what fills its blocks, and of a child that passed by
    /// nothing is known. [`Tags::render`] renders that without such fragments;
    /// Tera's own methods never keep what stands in a tag around blocks, unless
    /// [`assume_all_loaded`](Tags::assume_all_loaded) says that there is no such
    /// child. A Tera with delimiters of its own is to be told of them by
    /// [`set_delimiters`](Tags::set_delimiters).
    ///
    /// Over a shared cache the fragments are those of the first Tera in each
    /// process. Every further one in the same cache has its own, which it shares
    /// with nobody, since it may render the same sources otherwise, by other
    /// globals, functions or filters: see [`install_as`](Tags::install_as).
    /// Clones go on with the fragments of the one they are of. Other templates
    /// in a clone are seen, and so are other prefixes, and whether and how it
    /// escapes: by what its function makes of each character of ASCII that is
    /// no letter or digit, and of some others, such as `U+2028`. **Nothing else
    /// is**: a clone with other functions, filters, tests or globals, or with a
    /// function that treats only other characters or whole words otherwise,
    /// needs a value in `extra` that tells it apart, or an installation of its
    /// own.
    ///
    /// Tera does not tell which functions and filters it has, so those of the
    /// application with one of the three names are replaced; registered after
    /// this, they replace those here.
    ///
    /// With the first template comes one more, `_cacheops_templates()`, by which a
    /// Tera and its clones are told from those that only got their functions
    /// by [`Tera::register_from`].
    ///
    /// A clone of a Tera needs no `Tags` of its own: it goes on with what it
    /// has, and may be given other templates by these. But whoever installs
    /// `Tags` again, into a clone or the same Tera, is to **add all sources
    /// again**: what was there has been rewritten for the first `Tags`, and
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

    /// The same under a name: Teras of one name share the fragments of templates
    /// with the same name and source, in this process and in others. So they
    /// are to render these alike. For the second Tera of an application, and for
    /// one that is made anew while the application runs.
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
        let added = self.shared.custom.add(name.into(), Arc::new(decorate), &STATEMENTS);
        added.map_err(Error::message)
    }

    /// Says that no template extends one of these that did not come through
    /// here. Then tags around blocks cache in renderings by Tera's own methods,
    /// too. Those cannot tell such a child from its layout, so without this
    /// they render what stands in such a tag each time.
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
