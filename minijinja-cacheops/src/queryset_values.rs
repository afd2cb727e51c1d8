//! Querysets as values in templates, with or without rows.

use std::fmt;
use std::sync::{Arc, OnceLock};

use cacheops::template::{Rows, RowsError, queryset_digest};
use cacheops::{Cacheops, FragmentKey, QuerySet};
use minijinja::value::{Enumerator, Object, ObjectRepr, Serde};
use minijinja::{Error, ErrorKind, Value};
use serde::Serialize;

/// A queryset with the digest that represents it in keys.
#[derive(Debug)]
pub(crate) struct HashedQueryset {
    pub(crate) queryset: QuerySet,
    digest: OnceLock<FragmentKey>,
}

impl HashedQueryset {
    fn new(queryset: QuerySet) -> Self {
        HashedQueryset { queryset, digest: OnceLock::new() }
    }

    pub(crate) fn digest(&self) -> &FragmentKey {
        self.digest.get_or_init(|| queryset_digest(&self.queryset))
    }
}

/// A queryset without rows: for tags only.
#[derive(Debug)]
struct PlainQueryset(HashedQueryset);

impl Object for PlainQueryset {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<queryset {}>", self.0.queryset.table_name())
    }
}

/// A queryset as a value for templates, without rows.
///
/// If the template iterates over the rows, use [`lazy`]. A [`QuerySet`] that
/// entered the context through serde works as well. This function is faster,
/// because it hashes the queryset once.
///
/// ```
/// use minijinja_cacheops::{cacheops::QuerySet, queryset};
///
/// let value = queryset(QuerySet::table("articles"));
/// assert_eq!(value.to_string(), "<queryset articles>");
/// ```
pub fn queryset(queryset: impl Into<QuerySet>) -> Value {
    Value::from_object(PlainQueryset(HashedQueryset::new(queryset.into())))
}

/// A queryset with its rows, as a value for templates: a list whose query runs
/// when the template first reads it. If the fragment around it is a hit, the
/// query does not run.
///
/// The query runs at most once while no change matches the queryset, however
/// often the template iterates. A fragment that iterates over the list depends on
/// it, with the stamps from before the query. Create one value for each
/// rendering.
///
/// If `run` fails, the rendering fails. The error is the `source()` of the error
/// that the engine returns.
///
/// ```
/// use minijinja::{Environment, context};
/// use minijinja_cacheops::{Tags, cacheops::{Cacheops, QuerySet}, lazy};
///
/// let cache = Cacheops::in_memory();
/// let mut env = Environment::new();
/// let tags = Tags::install(&mut env, &cache);
/// tags.add_template(&mut env, "list", "{% cached_as titles %}{{ titles|join }}{% endcached_as %}")?;
/// let page = || {
///     let titles = lazy(&cache, QuerySet::table("articles"), || {
///         Ok::<_, std::io::Error>(vec!["a", "b"]) // here the database is asked
///     });
///     env.get_template("list")?.render(context!(titles))
/// };
/// assert_eq!(page()?, "ab");
/// assert_eq!(page()?, "ab"); // the query did not run
/// # Ok::<_, minijinja::Error>(())
/// ```
pub fn lazy<T, E, F>(cache: &Cacheops, queryset: impl Into<QuerySet>, run: F) -> Value
where
    T: Serialize,
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
    F: Fn() -> Result<Vec<T>, E> + Send + Sync + 'static,
{
    let run = move || match run() {
        Ok(rows) => Ok(Arc::new(rows.into_iter().map(|row| Value::from(Serde(row))).collect())),
        Err(error) => Err(error.into()),
    };
    let queryset = queryset.into();
    Value::from_object(Lazy {
        known: HashedQueryset::new(queryset.clone()),
        rows: Rows::new(cache, queryset, run),
    })
}

fn failed(error: Box<dyn std::error::Error + Send + Sync>) -> Error {
    match error.downcast::<Error>() {
        Ok(error) => *error,
        Err(error) => Error::new(ErrorKind::InvalidOperation, "a queryset's query failed")
            .with_source(QueryFailure(error)),
    }
}

/// Carries the application's error as a source.
#[derive(Debug)]
struct QueryFailure(Box<dyn std::error::Error + Send + Sync>);

impl fmt::Display for QueryFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for QueryFailure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source()
    }
}

#[derive(Debug)]
pub(crate) struct Lazy {
    known: HashedQueryset,
    rows: Rows<Arc<Vec<Value>>>,
}

impl Lazy {
    /// The rows. The fill around this point depends on them from now on.
    fn load(&self) -> Result<Arc<Vec<Value>>, Error> {
        self.rows.load().map_err(|why| match why {
            RowsError::Queryset(error) => {
                Error::new(ErrorKind::InvalidOperation, error.to_string())
            }
            RowsError::Query(error) => failed(error),
        })
    }
}

/// An iterator over rows.
struct RowIter {
    rows: Arc<Vec<Value>>,
    next: usize,
}

impl Iterator for RowIter {
    type Item = Value;

    fn next(&mut self) -> Option<Value> {
        let row = self.rows.get(self.next)?.clone();
        self.next += 1;
        Some(row)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.rows.len() - self.next;
        (left, Some(left))
    }
}

/// One value, without a hint how many there are.
struct OneItem(Option<Value>);

impl Iterator for OneItem {
    type Item = Value;

    fn next(&mut self) -> Option<Value> {
        self.0.take()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, None)
    }
}

impl Object for Lazy {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Seq
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let place = key.as_usize()?;
        match self.load() {
            Ok(rows) => rows.get(place).cloned(),
            Err(error) => Some(Value::from(error)),
        }
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        match self.load() {
            Ok(rows) => Enumerator::Iter(Box::new(RowIter { rows, next: 0 })),
            // An invalid value, which the engine raises where it meets it; of
            // unknown length, so that nobody takes it for a row.
            Err(error) => Enumerator::Iter(Box::new(OneItem(Some(Value::from(error))))),
        }
    }
}

/// A queryset that is a value by itself.
pub(crate) fn known(value: &Value) -> Option<&HashedQueryset> {
    if let Some(PlainQueryset(known)) = value.downcast_object_ref::<PlainQueryset>() {
        return Some(known);
    }
    value.downcast_object_ref::<Lazy>().map(|lazy| &lazy.known)
}
