//! A mistake in a template that is loaded.

/// A mistake in a template, and its place.
#[derive(Debug)]
pub(crate) struct LoadError {
    pub(crate) template: String,
    pub(crate) line: usize,
    pub(crate) detail: String,
}

impl LoadError {
    /// A mistake in a tag itself.
    pub(crate) fn tag(template: &str, error: &cacheops::Error) -> Self {
        LoadError {
            template: template.to_owned(),
            line: error.line().unwrap_or(1),
            detail: error.detail().to_owned(),
        }
    }
}
