//! Querysets as values in templates, with or without rows.

use std::cell::RefCell;
use std::collections::HashMap;
use std::error::Error as StdError;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use cacheops::template::{
    Engine, Querysets, Rows, RowsError, build_queryset, collect_querysets, queryset_digest,
};
use cacheops::{Cacheops, KeyWriter, QuerySet};
use serde::{Serialize, Serializer};
use tera::value::Key;
use tera::{Error, Kwargs, TeraResult, Value};

use crate::engine::TeraEngine;
use crate::live_rows::LiveRows;
use crate::rendering;
use crate::seal::{DIGEST, SEAL, Sealed, seal_of};

/// A queryset as a value for templates, without rows.
///
/// If the template iterates over the rows, use [`lazy`]. A [`QuerySet`] that
/// entered the context through serde works as well. This function is faster,
/// because it hashes the queryset once.
///
/// ```
/// use tera::Context;
/// use tera_cacheops::{cacheops::QuerySet, queryset};
///
/// let mut context = Context::new();
/// context.insert_value("articles", queryset(QuerySet::table("articles")));
/// ```
pub fn queryset(queryset: impl Into<QuerySet>) -> Value {
    Value::try_from_serializable(&Sealed::new(&queryset.into(), None))
        .unwrap_or_else(|_| Value::undefined())
}

/// A queryset with its rows. Put it into the context, and let the template
/// iterate over `articles | rows`. The query runs when the template first does
/// so. If the fragment around it is a hit, the query does not run.
///
/// The query runs at most once while no change matches the queryset, however
/// often the template iterates. A fragment that gets the rows depends on them,
/// with the stamps from before the query. Create one value for each rendering,
/// and keep it until the rendering has ended: Tera's values are plain data, so
/// the context does not hold the query.
///
/// Get the rows **inside** the fragment that shows them. `rows` returns a plain
/// list. In a variable from outside of the tag, it cannot tell the fragment what
/// it depends on, unless the tag names the queryset, or names the variable in
/// `extra`. Pass the queryset to includes and components, not its rows.
///
/// ```
/// # use tera::Tera;
/// # use tera_cacheops::{Tags, cacheops::Cacheops};
/// # let mut tera = Tera::default();
/// # let tags = Tags::install(&mut tera, &Cacheops::in_memory());
/// let source = "{% cached %}{{ articles | rows | join }}{% endcached %}";
/// tags.add_template(&mut tera, "page", source)?;
/// # Ok::<_, tera::Error>(())
/// ```
///
/// ```
/// use tera::{Context, Tera};
/// use tera_cacheops::{Tags, cacheops::{Cacheops, QuerySet}, lazy};
///
/// let cache = Cacheops::in_memory();
/// let mut tera = Tera::default();
/// let tags = Tags::install(&mut tera, &cache);
/// let list = "{% cached_as titles %}{{ titles | rows | join }}{% endcached_as %}";
/// tags.add_template(&mut tera, "list", list)?;
/// let page = || {
///     let titles = lazy(&cache, QuerySet::table("articles"), || {
///         Ok::<_, std::io::Error>(vec!["a", "b"]) // here the database is asked
///     });
///     let mut context = Context::new();
///     context.insert("titles", &titles);
///     tera.render("list", &context)
/// };
/// assert_eq!(page()?, "ab");
/// assert_eq!(page()?, "ab"); // the query did not run
/// # Ok::<_, tera::Error>(())
/// ```
pub fn lazy<T, E, F>(cache: &Cacheops, queryset: impl Into<QuerySet>, run: F) -> Lazy
where
    T: Serialize,
    E: Into<Box<dyn StdError + Send + Sync>>,
    F: Fn() -> Result<Vec<T>, E> + Send + Sync + 'static,
{
    let run = move || match run() {
        Ok(rows) => Ok(Value::try_from_serializable(&rows)?),
        Err(error) => Err(error.into()),
    };
    Lazy(Arc::new(LiveRows::new(Rows::new(cache, queryset.into(), run))))
}

/// A queryset with its rows; see [`lazy`]. The context contains the queryset, and
/// a number that finds its rows while this value lives. Clones share their rows.
#[derive(Clone)]
pub struct Lazy(Arc<LiveRows>);

impl Lazy {
    /// The value for [`insert_value`](tera::Context::insert_value).
    #[must_use]
    pub fn value(&self) -> Value {
        Value::try_from_serializable(self).unwrap_or_else(|_| Value::undefined())
    }

    /// For functions of templates: the value, with rows that live until the
    /// current rendering of this thread ends. This must be a rendering by
    /// [`Tags::render`](crate::Tags::render) or another method of `Tags`.
    ///
    /// ```
    /// use tera::{Context, Kwargs, State, Tera};
    /// use tera_cacheops::{Tags, cacheops::{Cacheops, QuerySet, eq}, lazy};
    ///
    /// let cache = Cacheops::in_memory();
    /// let mut tera = Tera::default();
    /// let tags = Tags::install(&mut tera, &cache);
    /// tera.register_function("comments", move |kwargs: Kwargs, _: &State| {
    ///     let article: u64 = kwargs.must_get("of")?;
    ///     let set = QuerySet::table("comments").filter(eq("article", article));
    ///     let rows = lazy(&cache, set, move || Ok::<_, std::io::Error>(vec![article]));
    ///     Ok::<_, tera::Error>(rows.keep())
    /// });
    /// let source = "{% set c = comments(of=7) %}{% cached_as c %}{{ c | rows | join }}{% endcached_as %}";
    /// tags.add_template(&mut tera, "page", source)?;
    /// assert_eq!(tags.render(&tera, "page", &Context::new())?, "7");
    /// # Ok::<_, tera::Error>(())
    /// ```
    #[must_use]
    pub fn keep(self) -> Value {
        let value = self.value();
        rendering::keep_rows(self.0);
        value
    }
}

impl Serialize for Lazy {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Sealed::new(self.0.rows.queryset(), Some(self.0.number)).serialize(serializer)
    }
}

impl fmt::Debug for Lazy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lazy").field("queryset", self.0.rows.queryset()).finish_non_exhaustive()
    }
}

/// `articles | rows` and `rows(of=articles)`: runs the query, unless it has run.
/// An ordinary list is returned unchanged.
pub(crate) fn rows(value: &Value) -> TeraResult<Value> {
    if value.is_array() {
        return Ok(value.clone());
    }
    let Some((_, number)) = seal_of(value) else {
        return Err(Error::message(format!(
            "rows: {} is not a queryset with rows: pass the result of `lazy(…)`",
            value.name()
        )));
    };
    let Some(number) = number else {
        return Err(Error::message("rows: this queryset has none: create it with `lazy(…)`"));
    };
    let Some(rows) = LiveRows::find(number) else {
        return Err(Error::message(
            "rows: the result of `lazy(…)` has been dropped: keep it until the rendering has ended",
        ));
    };
    rows.load().map_err(|why| match why {
        RowsError::Queryset(error) => rendering::caused(error.to_string(), error),
        RowsError::Query(error) => rendering::caused("a queryset's query failed".to_owned(), error),
    })
}

/// A queryset, and the map that it was read from.
type Known = (Value, Rc<QuerySet>);

thread_local! {
    /// Querysets by their digests, each with the map that it was read from.
    static READ: RefCell<HashMap<[u8; DIGEST], Known>> = RefCell::default();
}

/// Whether two maps are equal except for the number of their rows. An author can
/// change a map, and spreading it copies its digest.
fn is_same(one: &Value, other: &Value) -> bool {
    let (Some(one), Some(other)) = (one.as_map(), other.as_map()) else { return false };
    let is_own = |key: &Key<'_>| key.as_str() != Some(SEAL);
    let mut own = one.iter().filter(|(key, _)| is_own(key));
    std::ptr::eq(one, other)
        || one.len() == other.len() && own.all(|(key, value)| other.get(key) == Some(value))
}

/// How many parsed querysets each thread remembers.
const MOST_READ: usize = 512;

fn read(value: &Value, digest: &[u8; DIGEST]) -> Result<Rc<QuerySet>, String> {
    let known = READ.try_with(|read| {
        let read = read.borrow();
        let (map, queryset) = read.get(digest)?;
        is_same(map, value).then(|| queryset.clone())
    });
    if let Some(known) = known.ok().flatten() {
        return Ok(known);
    }
    let queryset = TeraEngine::read_queryset(value)
        .map_err(|error| format!("a map that is not a queryset: {error}"))?;
    if queryset_digest(&queryset).as_bytes() != digest {
        return Err("a map that is not a queryset: it has been changed".to_owned());
    }
    let queryset = Rc::new(queryset);
    let _ = READ.try_with(|read| {
        let mut read = read.borrow_mut();
        if read.len() >= MOST_READ {
            read.clear();
        }
        read.insert(*digest, (value.clone(), queryset.clone()));
    });
    Ok(queryset)
}

/// Reads the querysets of a tag, and writes what represents them into the key.
pub(crate) fn read_all(
    arguments: &[&Value],
    key: &mut KeyWriter,
) -> Result<Querysets<Rc<QuerySet>>, String> {
    key.list(arguments.len());
    if let [value] = arguments
        && let Some((digest, _)) = seal_of(value)
    {
        key.bytes(digest);
        return Ok(Querysets::One(read(value, digest)?));
    }
    Querysets::read_all::<TeraEngine>(arguments.iter().copied(), &|_| None, key)
}

/// The querysets in a value, in order.
pub(crate) fn all_of(value: &Value) -> Result<Vec<QuerySet>, String> {
    let mut querysets = Vec::new();
    collect_querysets::<TeraEngine>(value, &|_| None, &mut querysets)?;
    Ok(querysets)
}

/// `"articles" | queryset(category=3, status=["a", "b"])`, and
/// `queryset(table="articles", …)`.
pub(crate) fn build(table: &Value, conditions: &Kwargs, but: &str) -> TeraResult<Value> {
    let mut names: Vec<(&str, &Value)> =
        conditions.iter().filter_map(|(key, value)| Some((key.as_str()?, value))).collect();
    names.retain(|(name, _)| *name != but);
    names.sort_unstable_by_key(|(name, _)| *name);
    Ok(queryset(build_queryset::<TeraEngine>(table, &names)?))
}
