//! The sources that loaders return.

use std::fmt;
use std::fs;
use std::path::Path;
use std::time::SystemTime;

use minijinja::{Error, ErrorKind};

/// Tells whether a loaded source is still current.
pub(crate) type UpToDate = Box<dyn Fn() -> bool + Send + Sync>;

/// The source of a template, as a loader of
/// [`Tags::set_loader`](crate::Tags::set_loader) returns it: a text and,
/// optionally, a check that tells the engine when to load it again. It replaces
/// MiniJinja's type of the same name, whose check cannot be passed on.
///
/// ```
/// use minijinja_cacheops::TemplateSource;
///
/// let fixed = TemplateSource::from("{{ a }}");
/// let checked = TemplateSource::new("{{ a }}").with_uptodate_check(|| true);
/// # let _ = (fixed, checked);
/// ```
pub struct TemplateSource {
    pub(crate) text: String,
    pub(crate) uptodate: Option<UpToDate>,
}

impl TemplateSource {
    /// A source that does not change.
    pub fn new(text: impl Into<String>) -> Self {
        TemplateSource { text: text.into(), uptodate: None }
    }

    /// Adds a check. If it returns false, the engine loads the template
    /// again.
    #[must_use]
    pub fn with_uptodate_check(mut self, check: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        self.uptodate = Some(Box::new(check));
        self
    }
}

impl fmt::Debug for TemplateSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TemplateSource").field("text", &self.text).finish_non_exhaustive()
    }
}

impl From<String> for TemplateSource {
    fn from(text: String) -> Self {
        TemplateSource::new(text)
    }
}

impl From<&str> for TemplateSource {
    fn from(text: &str) -> Self {
        TemplateSource::new(text)
    }
}

/// A loader for the files of a folder. As in MiniJinja's own loader, names with a
/// backslash, or with a segment that begins with a dot, do not exist.
pub(crate) fn path_loader(
    folder: impl AsRef<Path>,
) -> impl Fn(&str) -> Result<Option<TemplateSource>, Error> + Send + Sync + 'static {
    let folder = folder.as_ref().to_path_buf();
    move |name| {
        let hidden = |segment: &str| segment.starts_with('.') || segment.contains('\\');
        if name.split('/').any(hidden) {
            return Ok(None);
        }
        let path = folder.join(name.trim_start_matches('/'));
        // Before the reading, so that a change between the two is noticed.
        let stamp = file_stamp(&path);
        match fs::read_to_string(&path) {
            Ok(text) => {
                let source = TemplateSource::new(text);
                Ok(Some(source.with_uptodate_check(move || file_stamp(&path) == stamp)))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::new(
                ErrorKind::InvalidOperation,
                format!("could not read the template {}", path.display()),
            )
            .with_source(error)),
        }
    }
}

fn file_stamp(path: &Path) -> Option<(SystemTime, u64)> {
    let metadata = fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}
