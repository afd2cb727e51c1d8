//! The servers that an application names.

use std::fmt;

use super::access::redacted;

/// The servers, by their URLs.
#[derive(Clone)]
pub(crate) enum Servers {
    One(String),
    Cluster(Vec<String>),
    Sentinel { master: String, sentinels: Vec<String> },
}

/// Without passwords.
impl fmt::Debug for Servers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |urls: &[String]| urls.iter().map(|url| redacted(url)).collect::<Vec<_>>();
        match self {
            Servers::One(url) => f.debug_tuple("One").field(&redacted(url)).finish(),
            Servers::Cluster(urls) => f.debug_tuple("Cluster").field(&shown(urls)).finish(),
            Servers::Sentinel { master, sentinels } => f
                .debug_struct("Sentinel")
                .field("master", master)
                .field("sentinels", &shown(sentinels))
                .finish(),
        }
    }
}
