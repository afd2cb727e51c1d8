//! The custom tags of an application.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

/// The functions that decide how the bodies of custom tags are cached, by the
/// name of the tag. `D` is a plugin's type of function.
#[derive(Debug)]
pub struct CustomTags<D: ?Sized>(RwLock<BTreeMap<String, Arc<D>>>);

impl<D: ?Sized> Default for CustomTags<D> {
    fn default() -> Self {
        CustomTags(RwLock::default())
    }
}

impl<D: ?Sized> CustomTags<D> {
    /// Adds a tag, or replaces the one with this name; `statements` are those
    /// of the engine.
    ///
    /// # Errors
    ///
    /// If the name cannot be that of a tag; the message says why.
    pub fn add(&self, name: String, decorate: Arc<D>, statements: &[&str]) -> Result<(), String> {
        check_tag_name(&name, statements)?;
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(name, decorate);
        Ok(())
    }

    /// The function of a tag.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Arc<D>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// The names of all tags, sorted.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect()
    }
}

fn check_tag_name(name: &str, statements: &[&str]) -> Result<(), String> {
    let is_word = |c: char| c == '_' || c.is_ascii_alphanumeric();
    let taken = statements.contains(&name) || ["cached", "cached_as"].contains(&name);
    let why = if !name.chars().all(is_word) || !name.starts_with(|c: char| !c.is_ascii_digit()) {
        "the name of a tag consists of letters, digits and underscores"
    } else if taken || name.starts_with("end") {
        "the engine or the library already uses that name, or treats it as the end of a tag"
    } else {
        return Ok(());
    };
    Err(format!("{name:?} cannot be a tag: {why}"))
}
