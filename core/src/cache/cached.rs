//! Caching the value of any closure.

use std::any::type_name;
use std::future::Future;
use std::panic::Location;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::cache::handle::Cacheops;
use crate::error::{Error, FillError};
use crate::key::{FragmentKey, KeyWriter};
use crate::queryset::QuerySet;
use crate::read::attempt::{Found, Hit};
use crate::read::page::Page;
use crate::read::request::{LookupContext, Request, any_template, zero_time_to_live};
use crate::sync::block_on;
use crate::sync::scoped::ScopedFuture;

impl Cacheops {
    /// Caches a value until a change affects `queryset`, or another one that
    /// is given with [`also`](Cached::also).
    ///
    /// ```
    /// # use cacheops::{Cacheops, Error, QuerySet, eq};
    /// # let cache = Cacheops::in_memory();
    /// # fn load(_: &str) -> Result<Vec<String>, Error> { Ok(vec![]) }
    /// let lang = "de";
    /// let titles: Vec<String> = cache
    ///     .cached_as(QuerySet::table("articles").filter(eq("lang", lang)))
    ///     .also("tags")
    ///     .extra(lang)
    ///     .get_or_fill(|| load(lang))?;
    /// # Ok::<_, Error>(())
    /// ```
    #[track_caller]
    pub fn cached_as(&self, queryset: impl Into<QuerySet>) -> Cached<'_> {
        Cached::new(self, vec![queryset.into()])
    }

    /// Caches a value until its time limit, or until something inside it
    /// changes.
    #[track_caller]
    pub fn cached(&self) -> Cached<'_> {
        Cached::new(self, Vec::new())
    }
}

/// A value that is about to be cached; see [`Cacheops::cached_as`] and
/// [`Cacheops::cached`].
///
/// Its key covers the place of the call in the source, the types of the value and
/// of the closure, the querysets, and what is given here. Add everything else
/// that the value depends on to [`extra`](Cached::extra). A helper is one place
/// for all its callers, and their closures may have the same type name. Mark it
/// `#[track_caller]`, or distinguish the callers by `extra` or `name`. One use of
/// a macro is also one place: if its body has two calls, give each a `name`.
#[must_use]
pub struct Cached<'a> {
    cache: &'a Cacheops,
    querysets: Vec<QuerySet>,
    place: &'static Location<'static>,
    name: Option<String>,
    extra: KeyWriter,
    /// The same with the signs of zeros, if there are negative ones.
    signed_extra: Option<KeyWriter>,
    has_extra: bool,
    time_to_live: Option<Duration>,
    lock: bool,
    page: Option<Page>,
    mistake: Option<Error>,
}

impl<'a> Cached<'a> {
    #[track_caller]
    fn new(cache: &'a Cacheops, querysets: Vec<QuerySet>) -> Self {
        Cached {
            cache,
            querysets,
            place: Location::caller(),
            name: None,
            extra: KeyWriter::empty(),
            signed_extra: None,
            has_extra: false,
            time_to_live: None,
            lock: true,
            page: None,
            mistake: None,
        }
    }

    /// Names another queryset that the value is made from.
    pub fn also(mut self, queryset: impl Into<QuerySet>) -> Self {
        self.querysets.push(queryset.into());
        self
    }

    /// What else the value varies by. A second call replaces the first. Maps
    /// and `HashSet`s have no order; see [`KeyWriter::serialize`].
    pub fn extra<T: Serialize + ?Sized>(mut self, extra: &T) -> Self {
        self.extra.clear();
        self.has_extra = true;
        self.signed_extra = None;
        if let Err(error) = self.extra.serialize(extra) {
            self.mistake.get_or_insert(error);
        }
        if self.extra.has_negative_zero() {
            let mut signed = KeyWriter::with_signs();
            // It succeeded without signs; a second mistake is the same.
            let written = signed.serialize(extra);
            self.signed_extra = written.is_ok().then_some(signed);
        }
        self
    }

    /// The name for [`invalidate_fragment`](Cacheops::invalidate_fragment)
    /// and for observers.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// The time limit, from the moment at which the value is stored; above
    /// zero.
    pub fn time_to_live(mut self, time_to_live: Duration) -> Self {
        if time_to_live.is_zero() {
            self.mistake.get_or_insert_with(zero_time_to_live);
        }
        self.time_to_live = Some(time_to_live);
        self
    }

    /// Whether callers that miss at the same time share one fill; true by
    /// default.
    pub fn lock(mut self, lock: bool) -> Self {
        self.lock = lock;
        self
    }

    /// The page of the lookup. Over a shared tier, the lookups of a page are
    /// fetched together.
    pub fn page(mut self, page: &Page) -> Self {
        self.page = Some(page.clone());
        self
    }

    /// The value from the cache, or from `fill`.
    ///
    /// Everything that `fill` looks up in this cache on this thread becomes a
    /// dependency of the value. A value that serde cannot write is returned
    /// and not stored. A value that serde cannot read back is computed again,
    /// and replaced.
    ///
    /// # Errors
    ///
    /// [`FillError::Fill`] with the error of `fill`, which may be of any type;
    /// nothing is stored then. Before `fill` runs, [`FillError::Cache`] for an
    /// error in the call: an invalid queryset or extra, a time limit of zero, or
    /// a table without a profile.
    ///
    /// ```
    /// use cacheops::{Cacheops, FillError};
    /// use std::{fs, io};
    ///
    /// let cache = Cacheops::in_memory();
    /// let text: Result<String, FillError<io::Error>> =
    ///     cache.cached_as("files").get_or_fill(|| fs::read_to_string("no such file"));
    /// match text {
    ///     Err(FillError::Fill(error)) => assert_eq!(error.kind(), io::ErrorKind::NotFound),
    ///     other => panic!("{other:?}"),
    /// }
    /// ```
    pub fn get_or_fill<T, E, F>(self, fill: F) -> Result<T, FillError<E>>
    where
        T: Serialize + DeserializeOwned,
        F: FnOnce() -> Result<T, E>,
    {
        let key = self.key::<T, F>().map_err(FillError::Cache)?;
        let querysets: Vec<&QuerySet> = self.querysets.iter().collect();
        let request = self.request(key, &querysets);
        let address = self.cache.inner.address(key, self.querysets.iter());
        let context = LookupContext { request: &request, address: &address };
        let mut found = self.cache.find_in(&context, &any_template).map_err(FillError::Cache)?;
        if let Found::Hit(hit) = &found {
            if let Some(value) = read(hit) {
                return Ok(value);
            }
            found = block_on(self.cache.refill(&context, hit)).map_err(FillError::Cache)?;
        }
        let Found::Miss(pending) = found else { return fill().map_err(FillError::Fill) };
        pending.enter();
        let value = fill().map_err(FillError::Fill)?;
        block_on(pending.finish_value(write(&value)));
        Ok(value)
    }

    /// [`get_or_fill`](Self::get_or_fill) for the value of a future. It works
    /// with any runtime. A hit needs none.
    ///
    /// The caller is decided when this function is called, not when or where
    /// the future is polled. A [computed prefix](crate::Builder::prefix_by)
    /// is that of the calling thread. A future that misses waits for another
    /// one that fills the same value, at most for the
    /// [`wait_timeout`](crate::Builder::wait_timeout). Then it fills for
    /// itself. Hits never wait.
    ///
    /// ```
    /// # async fn handler(cache: cacheops::Cacheops) -> Result<u64, cacheops::Error> {
    /// let count = cache.cached_as("articles").get_or_fill_async(|| async {
    ///     Ok::<_, cacheops::Error>(42) // await the database here
    /// });
    /// Ok(count.await?)
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`get_or_fill`](Self::get_or_fill).
    pub fn get_or_fill_async<T, E, F, Fut>(
        self,
        fill: F,
    ) -> impl Future<Output = Result<T, FillError<E>>> + use<'a, T, E, F, Fut>
    where
        T: Serialize + DeserializeOwned,
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        let called = self.key::<T, F>().map(|key| {
            let address = self.cache.inner.address(key, self.querysets.iter());
            (key, address)
        });
        async move {
            let (key, address) = called.map_err(FillError::Cache)?;
            let querysets: Vec<&QuerySet> = self.querysets.iter().collect();
            let request = self.request(key, &querysets);
            let context = LookupContext { request: &request, address: &address };
            let mut found = self.cache.find_async(&context).await.map_err(FillError::Cache)?;
            if let Found::Hit(hit) = &found {
                if let Some(value) = read(hit) {
                    return Ok(value);
                }
                found = self.cache.refill(&context, hit).await.map_err(FillError::Cache)?;
            }
            let Found::Miss(pending) = found else {
                return fill().await.map_err(FillError::Fill);
            };
            let filled = ScopedFuture::new(pending.recorder().clone(), async move { fill().await });
            let value = filled.await.map_err(FillError::Fill)?;
            pending.finish_value(write(&value)).await;
            Ok(value)
        }
    }

    fn request<'r>(&'r self, key: FragmentKey, querysets: &'r [&'r QuerySet]) -> Request<'r> {
        let variant = (self.has_extra && self.name.is_some()).then(|| self.extra.as_bytes());
        Request {
            querysets,
            name: self.name.as_deref(),
            variant,
            place: self.place.file(),
            time_to_live: self.time_to_live,
            lock: self.lock,
            page: self.page.as_ref(),
            ..Request::new(key)
        }
    }

    fn key<T, F>(&self) -> Result<FragmentKey, Error> {
        if let Some(mistake) = &self.mistake {
            return Err(mistake.clone());
        }
        let mut key = KeyWriter::new();
        key.variant("call", 8);
        key.str(self.cache.prefix());
        key.str(self.place.file());
        key.int(self.place.line().into());
        key.int(self.place.column().into());
        key.str(type_name::<T>());
        key.str(type_name::<F>());
        match &self.name {
            Some(name) => key.str(name),
            None => key.none(),
        }
        key.list(self.querysets.len());
        self.querysets.iter().for_each(|queryset| queryset.write_key(&mut key));
        let extra = self.signed_extra.as_ref().unwrap_or(&self.extra);
        key.bytes(if self.has_extra { extra.as_bytes() } else { &[] });
        Ok(key.finish())
    }
}

impl std::fmt::Debug for Cached<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cached")
            .field("place", &self.place.to_string())
            .field("name", &self.name)
            .field("querysets", &self.querysets)
            .finish_non_exhaustive()
    }
}

fn write<T: Serialize>(value: &T) -> Option<Vec<u8>> {
    rmp_serde::to_vec_named(value).ok()
}

fn read<T: DeserializeOwned>(hit: &Hit) -> Option<T> {
    rmp_serde::from_slice(hit.value()?).ok()
}
