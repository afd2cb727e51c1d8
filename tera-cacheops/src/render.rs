//! Rendering by the plugin: what Tera's own methods do, and more.

use std::io::Write;
use std::sync::Arc;

use tera::{Context, Error, Tera, TeraResult};

use crate::errors;
use crate::loaded::LoadedTemplate;
use crate::rendering::RenderGuard;
use crate::source::ByName;
use crate::tags::Tags;
use crate::template_set::TemplateSet;

/// Tera's name for a template that is not added.
const ONE_OFF: &str = "__tera_one_off";

impl Tags {
    /// Renders a template, as [`Tera::render`] does.
    ///
    /// # Errors
    ///
    /// As [`Tera::render`], with the text that the authors wrote. `source()`
    /// returns the error of the query of a lazy queryset, of a tag of your
    /// own, or of the cache. Other errors of functions, filters and tests are
    /// messages, as in Tera.
    pub fn render(&self, tera: &Tera, name: &str, context: &Context) -> TeraResult<String> {
        self.within_page(tera, name, || tera.render(name, context))
    }

    /// Renders a template into a writer, as [`Tera::render_to`] does.
    ///
    /// # Errors
    ///
    /// As [`render`](Tags::render).
    pub fn render_to(
        &self,
        tera: &Tera,
        name: &str,
        context: &Context,
        write: impl Write,
    ) -> TeraResult<()> {
        self.within_page(tera, name, || tera.render_to(name, context, write))
    }

    /// Renders a source that is not added, as [`Tera::render_str`] does; see
    /// [`rewrite`](Tags::rewrite).
    ///
    /// # Errors
    ///
    /// As [`add_template`](Tags::add_template) and [`render`](Tags::render).
    pub fn render_str(
        &self,
        tera: &Tera,
        source: &str,
        context: &Context,
        autoescape: bool,
    ) -> TeraResult<String> {
        let loaded = self.one_off(tera, ONE_OFF, source)?;
        let templates = || {
            let mut templates = self.template_set(tera).all();
            templates.insert(ONE_OFF.to_owned(), loaded.clone());
            templates
        };
        self.within(templates, || tera.render_str(&loaded.rewritten, context, autoescape))
    }

    /// Renders a block of a template, as [`Tera::render_block`] does. Tera's
    /// method returns nothing for a block inside a cache tag, as for a block
    /// inside a filter section. This method renders a copy of the Tera in
    /// which such tags do not cache.
    ///
    /// # Errors
    ///
    /// As [`render`](Tags::render).
    pub fn render_block(
        &self,
        tera: &Tera,
        name: &str,
        block: &str,
        context: &Context,
    ) -> TeraResult<String> {
        let render = || tera.render_block(name, block, context);
        if !self.shared.library.has_block_tags() {
            return self.within_of(tera, render);
        }
        let template_set = self.template_set(tera);
        let plain = template_set.without_block_tags(name);
        if plain.is_empty() {
            return self.within_page(tera, name, render);
        }
        let mut copy = tera.clone();
        let sources = plain.iter().map(|(name, loaded)| (name.as_str(), &*loaded.rewritten));
        copy.add_raw_templates(sources)?;
        let templates = || template_set.all().into_iter().chain(plain).collect();
        self.within(templates, || copy.render_block(name, block, context))
    }

    /// Renders a component, as [`Tera::render_component`] does.
    ///
    /// # Errors
    ///
    /// As [`render`](Tags::render).
    pub fn render_component(
        &self,
        tera: &Tera,
        name: &str,
        context: &Context,
        body: Option<&str>,
        autoescape: bool,
    ) -> TeraResult<String> {
        self.within_of(tera, || tera.render_component(name, context, body, autoescape))
    }

    fn begin_rendering(&self) -> RenderGuard {
        RenderGuard::new(self.shared.owner(), self.shared.cache.page())
    }

    /// `templates` is called if there is an error.
    fn within<R>(
        &self,
        templates: impl FnOnce() -> ByName<LoadedTemplate>,
        render: impl FnOnce() -> TeraResult<R>,
    ) -> TeraResult<R> {
        let guard = self.begin_rendering();
        render().map_err(|error| translate(&guard, error, &templates()))
    }

    fn within_of<R>(&self, tera: &Tera, render: impl FnOnce() -> TeraResult<R>) -> TeraResult<R> {
        let guard = self.begin_rendering();
        render().map_err(|error| translate(&guard, error, &self.template_set(tera).all()))
    }

    /// The same for a template by its name.
    fn within_page<R>(
        &self,
        tera: &Tera,
        name: &str,
        render: impl FnOnce() -> TeraResult<R>,
    ) -> TeraResult<R> {
        let is_known = self.knows(tera, name);
        let guard = self.begin_rendering();
        if !is_known {
            guard.bypass_blocks();
        }
        render().map_err(|error| translate(&guard, error, &self.template_set(tera).all()))
    }

    /// Whether tags can know which page is rendered. A template that was not
    /// loaded through the plugin may extend a layout with tags around blocks,
    /// and would be mistaken for the layout.
    fn knows(&self, tera: &Tera, name: &str) -> bool {
        // Sites without such tags are not to pay for the question.
        if !self.shared.library.has_block_tags() {
            return true;
        }
        let template_set = self.template_set(tera);
        if template_set.templates.contains_key(name) {
            return template_set.knows_parents(name);
        }
        let mut meant = tera.get_template_names().filter(|other| other.ends_with(name));
        meant.all(|other| {
            template_set.templates.contains_key(other) && template_set.knows_parents(other)
        })
    }

    pub(crate) fn template_set(&self, tera: &Tera) -> Arc<TemplateSet> {
        TemplateSet::of(tera, &self.shared.syntax())
    }

    /// An error from Tera's own methods, with the text that the authors
    /// wrote. If it does not concern a rewritten line, it is returned
    /// unchanged.
    #[must_use]
    pub fn author_error(&self, error: Error) -> Error {
        errors::translate(error, &self.shared.library.latest())
    }

    /// An error with all its causes, each with the line that the author
    /// wrote. A cause is not repeated if the message of the error already
    /// contains it.
    #[must_use]
    pub fn explain(&self, error: &Error) -> String {
        let templates = self.shared.library.latest();
        let mut out = errors::translate_text(&error.to_string(), &templates);
        let mut next = std::error::Error::source(error);
        while let Some(cause) = next {
            let translate = errors::translate_text(&cause.to_string(), &templates);
            if !out.contains(&translate) {
                out.push_str(&format!("\ncaused by: {translate}"));
            }
            next = cause.source();
        }
        out
    }

    /// The rewritten form of a source with tags that is not added, for
    /// [`Tera::render_str`] on this Tera, **as long as it has the same
    /// templates**. The result keeps using the fragments of the templates
    /// that the source used at the time of this call. So rewrite the source
    /// again after a template has changed, or render it with
    /// [`Tags::render_str`], which does this. Each different source leaves
    /// its tags in memory, so use it for a bounded number of sources.
    ///
    /// # Errors
    ///
    /// As [`add_template`](Tags::add_template).
    pub fn rewrite(&self, tera: &Tera, source: &str) -> TeraResult<String> {
        self.one_off(tera, ONE_OFF, source).map(|loaded| loaded.rewritten.to_string())
    }
}

/// An error that ended a rendering, with the text that the authors wrote.
fn translate(guard: &RenderGuard, error: Error, templates: &ByName<LoadedTemplate>) -> Error {
    let cause = guard.cause_of(&error);
    let error = errors::translate(error, templates);
    match cause {
        Some(cause) => Error::chain(error, cause),
        None => error,
    }
}
