//! Comments around fragments, by which a page can show what is cached.

use crate::key::FragmentKey;

/// Where a fragment begins and ends in a page.
#[derive(Clone, Copy, Debug)]
pub struct Mark {
    /// The key of the fragment.
    pub key: FragmentKey,
}

impl Mark {
    /// What stands before it.
    #[must_use]
    pub fn begin(&self) -> String {
        format!("<!--cacheops {}-->", self.key)
    }

    /// What stands behind it.
    #[must_use]
    pub fn end(&self) -> String {
        format!("<!--/cacheops {}-->", self.key)
    }
}
