//! Profiles: settings for the fragments of a table.

use std::time::Duration;

use crate::error::{Error, ErrorKind};
use crate::queryset::canonical;

/// Settings for fragments that are made from a table, unless a fragment has its
/// own.
///
/// ```
/// use std::time::Duration;
/// use cacheops::{Cacheops, Profile};
///
/// let cache = Cacheops::builder()
///     .profile("blog.*", Profile::new().time_to_live(Duration::from_secs(3600)))
///     .profile("sessions", Profile::never())
///     .profile("*", Profile::new())
///     .build()?;
/// # Ok::<_, cacheops::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Profile {
    pub(crate) time_to_live: Option<Duration>,
    pub(crate) never: bool,
}

impl Profile {
    /// Cached, without a time limit.
    #[must_use]
    pub fn new() -> Self {
        Profile::default()
    }

    /// Never cached, not even on request. A fragment that reads the table is
    /// rendered each time, and so is every fragment around it.
    #[must_use]
    pub fn never() -> Self {
        Profile { time_to_live: None, never: true }
    }

    /// The time limit of fragments that have none of their own. If a fragment
    /// has several tables, the shortest limit counts.
    #[must_use]
    pub fn time_to_live(mut self, time_to_live: Duration) -> Self {
        self.time_to_live = Some(time_to_live);
        self
    }
}

/// Profiles by pattern: the name of a table, `prefix.*`, or `*`. The longest
/// pattern wins.
#[derive(Debug)]
pub(crate) struct Profiles(Vec<(String, Profile)>);

/// The default profile for every table.
impl Default for Profiles {
    fn default() -> Self {
        Profiles(vec![("*".to_owned(), Profile::new())])
    }
}

impl Profiles {
    pub(crate) fn new(profiles: Vec<(String, Profile)>) -> Result<Self, Error> {
        let mut known: Vec<(String, Profile)> = Vec::with_capacity(profiles.len().max(1));
        for (pattern, profile) in profiles {
            let pattern = canonical(pattern);
            let stars = pattern.matches('*').count();
            if pattern.is_empty() || stars > 1 || (stars == 1 && !pattern.ends_with('*')) {
                return Err(Error::new(
                    ErrorKind::InvalidConfig,
                    format!(
                        "{pattern:?} is not a pattern of tables: use a name, `prefix.*` or `*`"
                    ),
                ));
            }
            if profile.time_to_live.is_some_and(|time_to_live| time_to_live.is_zero()) {
                return Err(Error::new(
                    ErrorKind::InvalidTimeToLive,
                    format!(
                        "the profile of {pattern:?} has a time limit of zero: leave it out for none, or use `Profile::never()` not to cache"
                    ),
                ));
            }
            if known.iter().any(|(other, _)| *other == pattern) {
                return Err(Error::new(
                    ErrorKind::InvalidConfig,
                    format!("the pattern {pattern:?} has two profiles"),
                ));
            }
            known.push((pattern, profile));
        }
        if known.is_empty() {
            return Ok(Profiles::default());
        }
        // Longest first; a name before a pattern of the same length.
        known.sort_by(|(a, _), (b, _)| b.len().cmp(&a.len()).then(a.cmp(b).reverse()));
        Ok(Profiles(known))
    }

    /// The profile of a table.
    pub(crate) fn of(&self, table: &str) -> Result<Profile, Error> {
        let matches = |pattern: &str| match pattern.strip_suffix('*') {
            Some(prefix) => table.starts_with(prefix),
            None => table == pattern,
        };
        let exact = self.0.iter().find(|(pattern, _)| pattern == table);
        exact
            .or_else(|| self.0.iter().find(|(pattern, _)| matches(pattern)))
            .map(|(_, profile)| *profile)
            .ok_or_else(|| {
                Error::new(
                    ErrorKind::NoProfile,
                    format!(
                        "the table `{table}` is covered by none of the profiles ({}): add `.profile(\"{table}\", Profile::new())`, or one for \"*\"",
                        self.0.iter().map(|(p, _)| p.as_str()).collect::<Vec<_>>().join(", ")
                    ),
                )
            })
    }
}
