//! Templates that other code adds to an environment.

use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, Error};

use crate::tags::Tags;

/// Delimiters that occur in no template: everything is text then.
const DELIMITERS: [(&str, &str); 3] =
    [("\0{%cacheops", "%}\0"), ("\0{{cacheops", "}}\0"), ("\0{#cacheops", "#}\0")];

impl Tags {
    /// Adds the templates that `load` adds with the engine's own methods,
    /// whose parser does not know the tags, such as
    /// `minijinja_embed::load_templates!`.
    ///
    /// `load` receives an environment that treats every source as text. Only
    /// names and sources are copied from it to `env`.
    ///
    /// ```
    /// use minijinja::{Environment, context};
    /// use minijinja_cacheops::{Tags, cacheops::Cacheops};
    ///
    /// let mut env = Environment::new();
    /// let tags = Tags::install(&mut env, &Cacheops::in_memory());
    /// tags.add_loaded(&mut env, |raw| {
    ///     raw.add_template("page", "{% cached %}{{ n }}{% endcached %}").unwrap();
    /// })?;
    /// let page = |n: u8| env.get_template("page")?.render(context!(n));
    /// assert_eq!(page(1)?, "1");
    /// assert_eq!(page(2)?, "1");
    /// # Ok::<_, minijinja::Error>(())
    /// ```
    ///
    /// With minijinja-embed, `load` is
    /// `|raw| minijinja_embed::load_templates!(*raw)`.
    ///
    /// # Errors
    ///
    /// As [`add_template`](Tags::add_template), for the first template that
    /// is wrong. The templates before it were added.
    pub fn add_loaded(
        &self,
        env: &mut Environment<'_>,
        load: impl FnOnce(&mut Environment<'static>),
    ) -> Result<(), Error> {
        let mut raw = Environment::empty();
        raw.set_syntax(unread()?);
        load(&mut raw);
        raw.templates()
            .try_for_each(|(name, template)| self.add_template(env, name, template.source()))
    }
}

fn unread() -> Result<SyntaxConfig, Error> {
    let [block, variable, comment] = DELIMITERS;
    SyntaxConfig::builder()
        .block_delimiters(block.0, block.1)
        .variable_delimiters(variable.0, variable.1)
        .comment_delimiters(comment.0, comment.1)
        .build()
}
