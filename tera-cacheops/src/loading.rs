//! Loading templates into a Tera.

use std::cell::OnceCell;
#[cfg(feature = "glob_fs")]
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use cacheops::template::Syntax;
use tera::{Context, Delimiters, Error, Tera, TeraResult};

use crate::load_error::LoadError;
use crate::loaded::LoadedTemplate;
use crate::plan::LoadContext;
use crate::shared::syntax_of;
use crate::source::{ByName, Language};
use crate::tags::Tags;
#[cfg(feature = "glob_fs")]
use crate::template_set::Glob;
use crate::template_set::TemplateSet;
use crate::{errors, removed};

impl Tags {
    /// Sets the delimiters, instead of [`Tera::set_delimiters`].
    ///
    /// # Errors
    ///
    /// As [`Tera::set_delimiters`].
    pub fn set_delimiters(&self, tera: &mut Tera, delimiters: Delimiters) -> TeraResult<()> {
        let syntax = syntax_of(&delimiters);
        tera.set_delimiters(delimiters)?;
        self.shared.set_syntax(syntax);
        Ok(())
    }

    /// Adds a template from a string, instead of [`Tera::add_raw_template`].
    ///
    /// # Errors
    ///
    /// If a tag is wrong, unknown, not closed or crossed, or the engine finds
    /// another mistake. The error shows the name, line and text of the
    /// author.
    pub fn add_template(
        &self,
        tera: &mut Tera,
        name: impl Into<String>,
        source: impl Into<String>,
    ) -> TeraResult<()> {
        self.add_templates(tera, [(name, source)])
    }

    /// Adds templates from strings, instead of [`Tera::add_raw_templates`].
    /// Add templates that use each other together.
    ///
    /// # Errors
    ///
    /// As [`add_template`](Tags::add_template). If there is an error, no
    /// template is added.
    pub fn add_templates<N: Into<String>, S: Into<String>>(
        &self,
        tera: &mut Tera,
        templates: impl IntoIterator<Item = (N, S)>,
    ) -> TeraResult<()> {
        let batch: Vec<(String, String)> =
            templates.into_iter().map(|(name, source)| (name.into(), source.into())).collect();
        self.add(tera, &batch, &[])
    }

    /// Adds templates from files, instead of [`Tera::add_template_files`].
    /// Without a name, a template has its path as its name.
    ///
    /// # Errors
    ///
    /// As [`add_template`](Tags::add_template), or if a file cannot be read.
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

    /// Loads all templates that a glob matches, instead of
    /// [`Tera::load_from_glob`]. Templates that were loaded otherwise stay.
    ///
    /// # Errors
    ///
    /// As [`add_template_files`](Tags::add_template_files), or if the glob is
    /// not valid. If there is an error, nothing changes.
    #[cfg(feature = "glob_fs")]
    pub fn load_from_glob(&self, tera: &mut Tera, glob: &str) -> TeraResult<()> {
        let mut batch = Vec::new();
        for (path, name) in tera::load_from_glob(glob)? {
            batch.push((name, read_file(&path)?));
        }
        let before = self.template_set(tera);
        let names: BTreeSet<String> = batch.iter().map(|(name, _)| name.clone()).collect();
        let is_removed =
            |name: &&String| !names.contains(*name) && before.templates.contains_key(*name);
        let removed: Vec<String> = before.glob.names.iter().filter(is_removed).cloned().collect();
        self.add(tera, &batch, &removed)?;
        let glob = Glob { pattern: Some(glob.to_owned()), names };
        TemplateSet { glob, ..TemplateSet::clone(&self.template_set(tera)) }.attach_to(tera);
        Ok(())
    }

    /// Loads what the glob matches now, instead of [`Tera::full_reload`].
    /// Tera cannot forget a template. So a template whose file is gone stays
    /// as a source that fails. The methods of [`Tags`] report that there is
    /// no such template.
    ///
    /// # Errors
    ///
    /// As [`load_from_glob`](Tags::load_from_glob), or if no glob was loaded.
    /// Also if a template uses one whose file is gone, or if Tera would take
    /// another one through a prefix instead, which needs a new Tera. In these
    /// cases nothing changes.
    #[cfg(feature = "glob_fs")]
    pub fn full_reload(&self, tera: &mut Tera) -> TeraResult<()> {
        match &self.template_set(tera).glob.pattern {
            Some(glob) => self.load_from_glob(tera, glob),
            None => Err(Error::message("Reloading is only available if you are using a glob")),
        }
    }

    fn add(
        &self,
        tera: &mut Tera,
        batch: &[(String, String)],
        removed: &[String],
    ) -> TeraResult<()> {
        let syntax = self.shared.syntax();
        let template_set = self.readable(tera, &syntax)?;
        let custom = self.shared.custom.names();
        let language = Language { syntax: &syntax, custom: &custom };
        let tombstones: ByName<LoadedTemplate> = removed
            .iter()
            .filter_map(|name| Some((name.clone(), template_set.templates.get(name)?)))
            .map(|(name, before)| (name, Arc::new(removed::tombstone(before, &syntax))))
            .collect();
        let all_removed =
            template_set.removed.clone().into_iter().chain(tombstones.clone()).collect();
        let context = LoadContext {
            tera,
            removed: &all_removed,
            before: &template_set.templates,
            environment: self.shared.library.environment(),
            syntax: &syntax,
            resolver: OnceCell::new(),
        };
        let changed = self.shared.library.rewrite(
            &template_set.templates,
            batch,
            removed,
            &language,
            &context,
        );
        let changed = changed.map_err(|error| tell(&error, batch, &template_set))?;
        let mut given = changed.templates.clone();
        given.extend(tombstones.clone());
        let after = template_set.after(changed, tombstones);
        if let Some(error) = removed::fault(tera, &after, &syntax) {
            return Err(error);
        }
        let (marker, id) = after.marker();
        let sources = given.iter().map(|(name, loaded)| (name.as_str(), &*loaded.rewritten));
        tera.add_raw_templates(sources.chain([(marker.as_str(), id.as_str())]))
            .map_err(|error| errors::translate(error, &after.all()))?;
        after.attach_to(tera);
        self.shared.library.commit(given);
        Ok(())
    }

    /// A source that is not added, in the form for Tera.
    pub(crate) fn one_off(
        &self,
        tera: &Tera,
        name: &str,
        source: &str,
    ) -> TeraResult<Arc<LoadedTemplate>> {
        let syntax = self.shared.syntax();
        let template_set = self.readable(tera, &syntax)?;
        let custom = self.shared.custom.names();
        let language = Language { syntax: &syntax, custom: &custom };
        let context = LoadContext {
            tera,
            removed: &template_set.removed,
            before: &template_set.templates,
            environment: self.shared.library.environment(),
            syntax: &syntax,
            resolver: OnceCell::new(),
        };
        let one = (name, source);
        let loaded = self.shared.library.one_off(&template_set.templates, one, &language, &context);
        let batch = || [(name.to_owned(), source.to_owned())];
        loaded.map(Arc::new).map_err(|error| tell(&error, &batch(), &template_set))
    }

    /// The templates of a Tera, if it parses sources in the same way as the
    /// plugin.
    fn readable(&self, tera: &Tera, syntax: &Syntax) -> TeraResult<Arc<TemplateSet>> {
        check_delimiters(tera, syntax)?;
        Ok(TemplateSet::of(tera, syntax))
    }
}

fn tell(error: &LoadError, batch: &[(String, String)], template_set: &TemplateSet) -> Error {
    let LoadError { template, line, detail } = error;
    let new = batch.iter().rev().find(|(name, _)| name == template);
    let known = || template_set.templates.get(template).map(|loaded| &*loaded.source.text);
    let source = new.map(|(_, source)| source.as_str()).or_else(known);
    errors::in_loading(template, source.unwrap_or_default(), *line, detail)
}

/// Tera does not reveal its delimiters: those here must be the ones that it uses.
fn check_delimiters(tera: &Tera, syntax: &Syntax) -> TeraResult<()> {
    let (start, end) = &syntax.variable;
    let (comment, uncomment) = &syntax.comment;
    let (open, close) = &syntax.block;
    let probe = format!(
        "{start} 1 {end}{comment} 2 {uncomment}{open} if true {close}3{open} endif {close}"
    );
    match tera.render_str(&probe, &Context::new(), false) {
        Ok(text) if text == "13" => Ok(()),
        _ => Err(Error::message(
            "the Tera has delimiters of its own: set them with `Tags::set_delimiters`",
        )),
    }
}

fn read_file(path: &Path) -> TeraResult<String> {
    std::fs::read_to_string(path).map_err(|error| {
        Error::chain(format!("Failed to read template '{}'", path.display()), error)
    })
}
