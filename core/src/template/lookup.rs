//! Looking up the fragment of a tag, for the plugins of all engines.

use std::time::UNIX_EPOCH;

use super::engine::{Datum, Engine};
use super::options::TagOptions;
use crate::cache::handle::Cacheops;
use crate::error::Error;
use crate::fragment::TemplateUse;
use crate::key::FragmentKey;
use crate::queryset::QuerySet;
use crate::read::Page;
use crate::read::{Found, Request};

/// A tag whose fragment is to be looked up.
#[derive(Debug)]
pub struct TagLookup<'a> {
    /// The querysets that it names.
    pub querysets: &'a [&'a QuerySet],
    /// Its other arguments.
    pub options: &'a TagOptions<'a>,
    /// Its place, for observers: `page.html:12`.
    pub place: &'a str,
    /// The page that is being rendered, if the plugin knows it.
    pub page: Option<&'a Page>,
    /// Whether the plugin forbids caching here, whatever the options say.
    pub skip: bool,
}

impl TagLookup<'_> {
    /// Looks the fragment up. Where `if` or `unless` forbids caching, the fill
    /// around it still gets the querysets as dependencies. `is_same` tells
    /// whether a template that the fragment used is unchanged.
    ///
    /// # Errors
    ///
    /// As [`Cacheops::find`].
    pub fn find(
        &self,
        cache: &Cacheops,
        key: FragmentKey,
        is_same: &dyn Fn(&TemplateUse) -> bool,
    ) -> Result<Found, Error> {
        let request = Request {
            querysets: self.querysets,
            name: self.options.name,
            variant: self.options.variant.as_deref(),
            place: self.place,
            time_to_live: self.options.time_to_live,
            lock: self.options.lock,
            skip: self.skip || self.options.skip,
            page: self.page,
            ..Request::new(key)
        };
        if self.options.passes {
            return cache.pass(&request).map(|()| Found::Bypass);
        }
        cache.find(&request, is_same)
    }
}

/// What `get_last_invalidation` gives a template: seconds since 1970, or
/// nothing if none of the tables was invalidated.
///
/// # Errors
///
/// A value that is not the name of a table.
pub fn last_invalidation<'v, E: Engine>(
    cache: &Cacheops,
    tables: impl IntoIterator<Item = &'v E::Value>,
) -> Result<Option<f64>, E::Error>
where
    E::Value: 'v,
{
    let mut names = Vec::new();
    for table in tables {
        match E::read(table).map_err(E::error)? {
            Datum::Text(name) => names.push(name),
            other => {
                return Err(E::error(format!(
                    "get_last_invalidation() takes names of tables, and got {}",
                    other.kind()
                )));
            }
        }
    }
    let last = cache.get_last_invalidation(names);
    Ok(last.and_then(|at| at.duration_since(UNIX_EPOCH).ok()).map(|time| time.as_secs_f64()))
}
