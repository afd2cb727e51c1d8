//! Tags of the application's own.

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use super::encode::{Distinctions, write_name, write_value};
use super::engine::Engine;
use super::options::TagOptions;
use crate::key::KeyWriter;
use crate::queryset::QuerySet;

/// How the body of a tag of your own is cached.
///
/// Plain arguments of the tag (numbers, text, booleans) are always part of the
/// key. Add everything else that the body varies by to [`extra`](Caching::extra).
#[must_use]
pub struct Caching<E> {
    skip: bool,
    querysets: Vec<QuerySet>,
    extra: Option<(KeyWriter, Distinctions)>,
    name: Option<String>,
    time_to_live: Option<Duration>,
    lock: bool,
    engine: PhantomData<fn() -> E>,
}

impl<E: Engine> Caching<E> {
    /// Like `cached_as`: until a change affects `queryset`, or another one
    /// that is given with [`also`](Caching::also).
    pub fn cached_as(queryset: impl Into<QuerySet>) -> Self {
        Caching::cached().also(queryset)
    }

    /// Like `cached`: until the time limit.
    pub fn cached() -> Self {
        Caching {
            skip: false,
            querysets: Vec::new(),
            extra: None,
            name: None,
            time_to_live: None,
            lock: true,
            engine: PhantomData,
        }
    }

    /// Not cached at all, and no fragment around it either.
    pub fn skip() -> Self {
        Caching { skip: true, ..Caching::cached() }
    }

    /// Names another queryset that the body is made from.
    pub fn also(mut self, queryset: impl Into<QuerySet>) -> Self {
        self.querysets.push(queryset.into());
        self
    }

    /// What else the body varies by. A second call replaces the first.
    ///
    /// # Errors
    ///
    /// If the value is undefined, or cannot distinguish fragments.
    pub fn extra(mut self, extra: &E::Value) -> Result<Self, E::Error> {
        let mut key = KeyWriter::new();
        let mut distinctions = Distinctions::default();
        write_value::<E>(extra, &mut key, &mut distinctions).map_err(E::error)?;
        self.extra = Some((key, distinctions));
        Ok(self)
    }

    /// The name for `invalidate_fragment`.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// The time limit.
    pub fn time_to_live(mut self, time_to_live: Duration) -> Self {
        self.time_to_live = Some(time_to_live);
        self
    }

    /// Whether requests that miss at the same time share one fill; true by
    /// default.
    pub fn lock(mut self, lock: bool) -> Self {
        self.lock = lock;
        self
    }

    /// The querysets. For plugins.
    #[must_use]
    pub fn querysets(&self) -> Vec<&QuerySet> {
        self.querysets.iter().collect()
    }

    /// Writes what represents it into a key, and returns the rest. For
    /// plugins.
    #[must_use]
    pub fn options(&self, key: &mut KeyWriter) -> TagOptions<'_> {
        key.list(self.querysets.len());
        self.querysets.iter().for_each(|queryset| queryset.write_key(key));
        write_name(self.name.as_deref(), key);
        key.bytes(self.extra.as_ref().map_or(&[], |(extra, _)| extra.as_bytes()));
        if let Some((_, distinctions)) = &self.extra {
            distinctions.write(key);
        }
        TagOptions {
            time_to_live: self.time_to_live,
            name: self.name.as_deref(),
            lock: self.lock,
            skip: self.skip,
            passes: false,
            variant: self.extra.as_ref().map(|(extra, _)| extra.as_bytes().to_vec()),
        }
    }
}

impl<E> fmt::Debug for Caching<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Caching")
            .field("skip", &self.skip)
            .field("querysets", &self.querysets)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl<E> Clone for Caching<E> {
    fn clone(&self) -> Self {
        Caching {
            skip: self.skip,
            querysets: self.querysets.clone(),
            extra: self.extra.clone(),
            name: self.name.clone(),
            time_to_live: self.time_to_live,
            lock: self.lock,
            engine: PhantomData,
        }
    }
}
