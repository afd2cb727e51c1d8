//! What Redis holds, for the pages that show it.

use minijinja_cacheops::cacheops::{Cacheops, FragmentInfo, FragmentKey, LinkState};
use serde::Serialize;

/// What Redis holds of a fragment.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Held {
    /// `current`, `invalidated`, `missing`, or `unknown` where Redis does not
    /// answer.
    state: &'static str,
    /// What it takes there: compressed, and with its stamps.
    bytes: usize,
    /// What is known of it there.
    #[serde(skip)]
    pub(crate) info: Option<FragmentInfo>,
}

/// Asks Redis for fragments one by one; not any more once it did not answer.
pub(crate) struct Asker<'c> {
    cache: &'c Cacheops,
    is_away: bool,
}

impl<'c> Asker<'c> {
    /// Nothing without Redis.
    pub(crate) fn new(cache: &'c Cacheops) -> Option<Self> {
        cache.shared_status().map(|_| Asker { cache, is_away: false })
    }

    pub(crate) fn ask(&mut self, key: &FragmentKey) -> Held {
        let nothing = |state| Held { state, bytes: 0, info: None };
        if self.is_away {
            return nothing("unknown");
        }
        match self.cache.shared_fragment(key) {
            Ok(Some(shared)) => {
                let state = if shared.info.is_current { "current" } else { "invalidated" };
                Held { state, bytes: shared.bytes, info: Some(shared.info) }
            }
            Ok(None) => nothing("missing"),
            Err(_) => {
                self.is_away = true;
                nothing("unknown")
            }
        }
    }
}

/// The line to Redis, in words.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Line {
    pub(crate) is_live: bool,
    text: String,
}

impl Line {
    /// Nothing without Redis.
    pub(crate) fn of(cache: &Cacheops) -> Option<Self> {
        let status = cache.shared_status()?;
        let text = match &status.state {
            LinkState::Live if status.sessions > 1 => {
                "Connected to Redis again, after it was away.".to_owned()
            }
            LinkState::Live => "Connected to Redis.".to_owned(),
            LinkState::Reconnecting(why) => {
                format!("Redis is away, and asked again this moment: {why}.")
            }
            LinkState::Down(why) => {
                format!("Redis is away, and pages are made without the cache: {why}.")
            }
            other => format!("{other:?}"),
        };
        Some(Line { is_live: status.state == LinkState::Live, text })
    }
}
