//! Comments around fragments, with which a page can show what is cached.

use crate::key::FragmentKey;

/// The comments at the beginning and the end of a fragment.
#[derive(Clone, Copy, Debug)]
pub struct Mark {
    /// The key of the fragment.
    pub key: FragmentKey,
}

impl Mark {
    /// The comment before it.
    #[must_use]
    pub fn begin(&self) -> String {
        format!("<!--cacheops {}-->", self.key)
    }

    /// The comment after it.
    #[must_use]
    pub fn end(&self) -> String {
        format!("<!--/cacheops {}-->", self.key)
    }
}
