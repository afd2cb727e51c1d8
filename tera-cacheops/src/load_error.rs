//! What is wrong with a template that is loaded.

/// What is wrong with a template, and where.
#[derive(Debug)]
pub(crate) struct LoadError {
    pub(crate) template: String,
    pub(crate) line: usize,
    pub(crate) detail: String,
}

impl LoadError {
    /// A tag that is wrong by itself.
    pub(crate) fn tag(template: &str, error: &cacheops::Error) -> Self {
        LoadError {
            template: template.to_owned(),
            line: error.line().unwrap_or(1),
            detail: error.detail().to_owned(),
        }
    }
}
