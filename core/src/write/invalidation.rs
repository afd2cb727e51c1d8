//! What an invalidation is about. Changes are announced as events, merged by
//! table, and delivered as invalidations.

use std::borrow::Cow;
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use serde::Serialize;

use crate::error::{Error, ErrorKind};
use crate::key::KeyWriter;
use crate::prefix::Prefix;
use crate::queryset::{canonical, check_table};
use crate::value::Row;
use crate::write::keys::check_name;

/// What is invalidated, and the prefix that held when it was announced.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Invalidation {
    pub(crate) prefix: String,
    pub(crate) subject: Subject,
}

/// What an invalidation is about. Names of tables are canonical.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Subject {
    /// Rows of a table as they were before a change, or are after it.
    Rows {
        table: String,
        rows: Vec<Row>,
    },
    /// Any row of a table.
    Table(String),
    /// All fragments of a name.
    Fragment(String),
    /// The fragments of a name that vary by exactly this.
    Variant {
        name: String,
        variant: Vec<u8>,
    },
    Everything,
}

impl Subject {
    /// The subject, and the mistake in the name of its table, if there is one.
    /// Then the event may be about any table.
    fn of_table(table: String, subject: impl FnOnce(String) -> Self) -> WriteEvent {
        match check_table(&table) {
            Ok(()) => WriteEvent { subject: Some(subject(table)), error: None },
            Err(error) => WriteEvent { subject: Some(Subject::Everything), error: Some(error) },
        }
    }

    fn table(&self) -> Option<&str> {
        match self {
            Subject::Rows { table, .. } | Subject::Table(table) => Some(table),
            Subject::Fragment(_) | Subject::Variant { .. } | Subject::Everything => None,
        }
    }

    /// Rows become their table; the rest stays.
    #[cfg(feature = "redis")]
    fn without_rows(self) -> Self {
        match self {
            Subject::Rows { table, .. } => Subject::Table(table),
            other => other,
        }
    }

    fn prefix<'p>(&self, prefix: &'p Prefix) -> Cow<'p, str> {
        match (self, self.table()) {
            (Subject::Everything, _) => Cow::Borrowed(prefix.fixed()),
            (_, Some(table)) => prefix.of(&[table]),
            (_, None) => prefix.of(&[]),
        }
    }
}

impl Invalidation {
    /// Behind the prefix that is computed now. If the application's function
    /// panics, nobody knows which keys are meant: it is about everything.
    fn new(subject: Subject, prefix: &Prefix) -> (Self, Option<Error>) {
        let compute = || subject.prefix(prefix).into_owned();
        match catch_unwind(AssertUnwindSafe(compute)) {
            Ok(prefix) => (Invalidation { prefix, subject }, None),
            Err(_) => {
                let prefix = prefix.fixed().to_owned();
                (Invalidation { prefix, subject: Subject::Everything }, Some(prefix_panicked()))
            }
        }
    }

    /// Of everything, behind any prefix.
    #[cfg(feature = "redis")]
    pub(crate) fn everything() -> Self {
        Invalidation { prefix: String::new(), subject: Subject::Everything }
    }

    /// How many rows, tables and names it is about.
    #[cfg(feature = "redis")]
    pub(crate) fn len(&self) -> usize {
        match &self.subject {
            Subject::Rows { rows, .. } => rows.len(),
            _ => 1,
        }
    }

    /// Makes it wider: rows become their table, and anything else becomes
    /// everything. False if it is as wide as possible.
    #[cfg(feature = "redis")]
    pub(crate) fn widen(&mut self) -> bool {
        self.subject = match &mut self.subject {
            Subject::Rows { table, .. } => Subject::Table(std::mem::take(table)),
            Subject::Everything => return false,
            _ => Subject::Everything,
        };
        true
    }

    /// The same with tables in place of rows.
    #[cfg(feature = "redis")]
    pub(crate) fn widened(self) -> Self {
        Invalidation { subject: self.subject.without_rows(), ..self }
    }

    /// The same with the table in place of more rows than `most`.
    pub(crate) fn bounded(&self, most: usize) -> Self {
        let subject = match &self.subject {
            Subject::Rows { table, rows } if rows.len() > most => Subject::Table(table.clone()),
            other => other.clone(),
        };
        Invalidation { prefix: self.prefix.clone(), subject }
    }
}

/// A change in the database, for
/// [`invalidate_batch`](crate::Cacheops::invalidate_batch).
#[derive(Debug)]
pub struct WriteEvent {
    /// `None` if nothing has changed that the cache knows by this.
    subject: Option<Subject>,
    /// The first mistake in what was announced.
    error: Option<Error>,
}

impl WriteEvent {
    /// A row that was inserted.
    pub fn insert<T: Serialize + ?Sized>(table: &str, new: &T) -> Self {
        WriteEvent::rows(table, [into_row(new)])
    }

    /// A row that was updated, before and after.
    pub fn update<T, U>(table: &str, old: &T, new: &U) -> Self
    where
        T: Serialize + ?Sized,
        U: Serialize + ?Sized,
    {
        WriteEvent::rows(table, [into_row(old), into_row(new)])
    }

    /// A row that was deleted.
    pub fn delete<T: Serialize + ?Sized>(table: &str, old: &T) -> Self {
        WriteEvent::rows(table, [into_row(old)])
    }

    /// Changes of a table whose rows are unknown.
    #[must_use]
    pub fn table(table: &str) -> Self {
        Subject::of_table(canonical(table), Subject::Table)
    }

    /// Outdates the fragments of a name, in all their variants.
    #[must_use]
    pub fn fragment(name: impl Into<String>) -> Self {
        let name = name.into();
        WriteEvent::checked(check_name(&name).map(|()| Subject::Fragment(name)))
    }

    /// Outdates the fragments of a name with exactly this `extra`, as
    /// [`invalidate_fragment_extra`](crate::Cacheops::invalidate_fragment_extra)
    /// does.
    #[must_use]
    pub fn fragment_extra<T: Serialize + ?Sized>(name: impl Into<String>, extra: &T) -> Self {
        let name = name.into();
        let mut variant = KeyWriter::new();
        let checked = check_name(&name).and_then(|()| variant.serialize(extra));
        WriteEvent::checked(checked.map(|()| {
            let variant = variant.as_bytes().to_vec();
            Subject::Variant { name, variant }
        }))
    }

    /// Outdates everything.
    #[must_use]
    pub fn everything() -> Self {
        WriteEvent { subject: Some(Subject::Everything), error: None }
    }

    fn checked(subject: Result<Subject, Error>) -> Self {
        match subject {
            Ok(subject) => WriteEvent { subject: Some(subject), error: None },
            Err(error) => WriteEvent { subject: None, error: Some(error) },
        }
    }

    /// Changed rows of a table. If one of them cannot be read, it may be any
    /// row: the event is about the whole table.
    pub(crate) fn rows(table: &str, rows: impl IntoIterator<Item = Result<Row, Error>>) -> Self {
        let mut error = None;
        let mut event = Subject::of_table(canonical(table), |table| {
            match rows.into_iter().collect::<Result<Vec<Row>, Error>>() {
                Ok(rows) => Subject::Rows { table, rows },
                Err(mistake) => {
                    error = Some(mistake);
                    Subject::Table(table)
                }
            }
        });
        event.error = event.error.or(error);
        event.subject =
            event.subject.filter(|it| !matches!(it, Subject::Rows { rows, .. } if rows.is_empty()));
        event
    }

    /// Its table and the number of its rows, if it is about rows.
    pub(crate) fn table_and_rows(&self) -> Option<(&str, usize)> {
        match self.subject.as_ref()? {
            Subject::Rows { table, rows } => Some((table, rows.len())),
            _ => None,
        }
    }

    /// What is to be delivered, behind its prefix, and the mistake in it.
    pub(crate) fn into_parts(self, prefix: &Prefix) -> (Option<Invalidation>, Option<Error>) {
        let Some(subject) = self.subject else { return (None, self.error) };
        let (invalidation, panicked) = Invalidation::new(subject, prefix);
        (Some(invalidation), self.error.or(panicked))
    }

    /// Its table, if it is about one.
    pub(crate) fn table_name(&self) -> Option<&str> {
        self.subject.as_ref().and_then(Subject::table)
    }

    /// Adds another event of the same table. Any rows and a table are the table.
    fn join(&mut self, other: WriteEvent) {
        self.error = self.error.take().or(other.error);
        match (&mut self.subject, other.subject) {
            (Some(Subject::Rows { rows, .. }), Some(Subject::Rows { rows: new, .. })) => {
                rows.extend(new);
            }
            (_, Some(Subject::Rows { .. })) => {}
            (subject, other) => *subject = other,
        }
    }
}

fn prefix_panicked() -> Error {
    let detail = "the function of `prefix_by` panicked; everything has been invalidated";
    Error::new(ErrorKind::InvalidConfig, detail)
}

/// A row, or why it is none. A row that panics while it is serialized is none;
/// its table has changed all the same.
pub(crate) fn into_row<T: Serialize + ?Sized>(row: &T) -> Result<Row, Error> {
    let read = catch_unwind(AssertUnwindSafe(|| Row::from_serialize(row)));
    read.unwrap_or_else(|_| Err(Error::invalid_row("it panicked while it was serialized")))
}

/// Joins the events of each table, in the order in which the tables came first.
pub(crate) fn merge(events: impl IntoIterator<Item = WriteEvent>) -> Vec<WriteEvent> {
    let mut places: HashMap<String, usize> = HashMap::new();
    let mut merged: Vec<WriteEvent> = Vec::new();
    for event in events {
        let place = event.table_name().and_then(|table| places.get(table).copied());
        match place {
            Some(place) => merged[place].join(event),
            None => {
                let table = event.table_name().map(str::to_owned);
                places.extend(table.map(|table| (table, merged.len())));
                merged.push(event);
            }
        }
    }
    merged
}
