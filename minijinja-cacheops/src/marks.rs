//! Comments around fragments, by which a page can show what is cached.

use cacheops::FragmentKey;

/// Where a fragment begins and ends in a page.
pub(crate) struct Mark {
    pub(crate) key: FragmentKey,
}

impl Mark {
    pub(crate) fn begin(&self) -> String {
        format!("<!--cacheops {}-->", self.key)
    }

    pub(crate) fn end(&self) -> String {
        format!("<!--/cacheops {}-->", self.key)
    }
}
