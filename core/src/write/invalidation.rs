//! Changes of rows, gathered by table.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use serde::Serialize;

use crate::error::Error;
use crate::prefix::Prefix;
use crate::queryset::{canonical, check_table};
use crate::value::Row;
use crate::write::keys::{Event, check_name};

/// A change in the database, for
/// [`invalidate_batch`](crate::Cacheops::invalidate_batch).
#[derive(Debug)]
pub struct WriteEvent(Gathered);

impl WriteEvent {
    /// A row that was inserted.
    pub fn insert<T: Serialize + ?Sized>(table: &str, new: &T) -> Self {
        WriteEvent::rows(table, vec![into_row(new)])
    }

    /// A row that was changed: as it was, and as it is.
    pub fn update<T, U>(table: &str, old: &T, new: &U) -> Self
    where
        T: Serialize + ?Sized,
        U: Serialize + ?Sized,
    {
        WriteEvent::rows(table, vec![into_row(old), into_row(new)])
    }

    /// A row that was deleted.
    pub fn delete<T: Serialize + ?Sized>(table: &str, old: &T) -> Self {
        WriteEvent::rows(table, vec![into_row(old)])
    }

    /// Changes of a table that are not known by row.
    #[must_use]
    pub fn table(table: &str) -> Self {
        WriteEvent(Gathered::Table { table: canonical(table), lost: Ok(()) })
    }

    /// Whatever makes the fragments of a name outdated.
    #[must_use]
    pub fn fragment(name: impl Into<String>) -> Self {
        WriteEvent(Gathered::Fragment(name.into()))
    }

    /// Whatever makes everything outdated.
    #[must_use]
    pub fn everything() -> Self {
        WriteEvent(Gathered::Everything)
    }

    /// Its table, and how many rows of it, if it is of rows.
    pub(crate) fn table_and_rows(&self) -> Option<(&str, usize)> {
        match &self.0 {
            Gathered::Rows { table, rows } => Some((table, rows.len())),
            _ => None,
        }
    }

    fn rows(table: &str, rows: Vec<Result<Row, Error>>) -> Self {
        WriteEvent(Gathered::Rows { table: canonical(table), rows })
    }
}

/// A row, or why it is none. One that panics while it is read is none: what it was
/// announced for has changed all the same.
pub(crate) fn into_row<T: Serialize + ?Sized>(row: &T) -> Result<Row, Error> {
    let read = catch_unwind(AssertUnwindSafe(|| Row::from_serialize(row)));
    read.unwrap_or_else(|_| Err(Error::invalid_row("it panicked while it was serialized")))
}

/// All changes of one table, or of what belongs to none.
#[derive(Debug)]
pub(crate) enum Gathered {
    Rows {
        table: String,
        rows: Vec<Result<Row, Error>>,
    },
    /// With the error of the first row among what the table stands for.
    Table {
        table: String,
        lost: Result<(), Error>,
    },
    Fragment(String),
    Everything,
}

impl Gathered {
    /// What is to be carried out, and why it is more than was announced: its whole
    /// table for a row that is none, everything if the table or the prefix cannot be
    /// known. Nothing if no row has changed.
    pub(crate) fn due(self, prefix: &Prefix) -> Option<(Due, Result<(), Error>)> {
        // Which table is meant cannot be known, so it could be any.
        let valid = self.table().map_or(Ok(()), check_table);
        let (what, valid) = match self {
            Gathered::Rows { rows, .. } if rows.is_empty() => return None,
            _ if valid.is_err() => (What::Everything, valid),
            Gathered::Rows { table, rows } => {
                match rows.into_iter().collect::<Result<Vec<Row>, Error>>() {
                    Ok(rows) => (What::Rows { table, rows }, Ok(())),
                    Err(error) => (What::Table(table), Err(error)),
                }
            }
            Gathered::Table { table, lost } => (What::Table(table), lost),
            Gathered::Fragment(name) => {
                let valid = check_name(&name);
                (What::Name(name), valid)
            }
            Gathered::Everything => (What::Everything, Ok(())),
        };
        let mut due = Due { prefix: String::new(), what };
        match prefix.of_event(&due.event()) {
            Ok(prefix) => due.prefix = prefix.into_owned(),
            Err(error) => {
                let everything = Due { prefix: prefix.fixed().to_owned(), what: What::Everything };
                return Some((everything, valid.and(Err(error))));
            }
        }
        Some((due, valid))
    }

    /// Adds what else has changed in the same table. An error of a row stays,
    /// though its table goes without it, too.
    fn join(&mut self, other: Gathered) {
        match (&mut *self, other) {
            (Gathered::Rows { rows, .. }, Gathered::Rows { rows: new, .. }) => rows.extend(new),
            (Gathered::Rows { rows, .. }, Gathered::Table { table, .. }) => {
                let lost = first_error(std::mem::take(rows));
                *self = Gathered::Table { table, lost };
            }
            (Gathered::Table { lost: lost @ Ok(()), .. }, Gathered::Rows { rows, .. }) => {
                *lost = first_error(rows);
            }
            _ => {}
        }
    }

    fn table(&self) -> Option<&str> {
        match self {
            Gathered::Rows { table, .. } | Gathered::Table { table, .. } => Some(table),
            Gathered::Fragment(_) | Gathered::Everything => None,
        }
    }
}

fn first_error(rows: Vec<Result<Row, Error>>) -> Result<(), Error> {
    rows.into_iter().try_for_each(|row| row.map(drop))
}

/// Brings the changes of each table together, in the order in which the
/// tables came first.
pub(crate) fn gather(events: impl IntoIterator<Item = WriteEvent>) -> Vec<Gathered> {
    let mut places: HashMap<String, usize> = HashMap::new();
    let mut gathered: Vec<Gathered> = Vec::new();
    for WriteEvent(event) in events {
        let known = event.table().and_then(|table| places.get(table).copied());
        match (known, event) {
            (None, event) => {
                let table = event.table().map(str::to_owned);
                places.extend(table.map(|table| (table, gathered.len())));
                gathered.push(event);
            }
            (Some(place), event) => gathered[place].join(event),
        }
    }
    gathered
}

/// An invalidation that is to be carried out, with the prefix that held when it
/// was announced.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Due {
    pub(crate) prefix: String,
    what: What,
}

#[derive(Clone, Debug, PartialEq)]
enum What {
    Rows {
        table: String,
        rows: Vec<Row>,
    },
    Table(String),
    Name(String),
    #[cfg(feature = "redis")]
    Variant(String, Vec<u8>),
    Everything,
}

impl Due {
    #[cfg(feature = "redis")]
    pub(crate) fn of(prefix: &str, event: &Event<'_>) -> Self {
        let what = match *event {
            Event::Rows { table, rows } => {
                What::Rows { table: table.to_owned(), rows: rows.to_vec() }
            }
            Event::Table(table) => What::Table(table.to_owned()),
            Event::Name(name) => What::Name(name.to_owned()),
            Event::Variant(name, variant) => What::Variant(name.to_owned(), variant.to_vec()),
            Event::Everything => What::Everything,
        };
        Due { prefix: prefix.to_owned(), what }
    }

    /// The same, or one that meets more: more rows than `most` are their table.
    pub(crate) fn bounded(&self, most: usize) -> Due {
        match &self.what {
            What::Rows { table, rows } if rows.len() > most => {
                Due { prefix: self.prefix.clone(), what: What::Table(table.clone()) }
            }
            _ => self.clone(),
        }
    }

    pub(crate) fn event(&self) -> Event<'_> {
        match &self.what {
            What::Rows { table, rows } => Event::Rows { table, rows },
            What::Table(table) => Event::Table(table),
            What::Name(name) => Event::Name(name),
            #[cfg(feature = "redis")]
            What::Variant(name, variant) => Event::Variant(name, variant),
            What::Everything => Event::Everything,
        }
    }

    /// How many rows, tables and names it is about.
    #[cfg(feature = "redis")]
    pub(crate) fn len(&self) -> usize {
        match &self.what {
            What::Rows { rows, .. } => rows.len(),
            _ => 1,
        }
    }

    /// Makes it one that meets more: a table of rows, and else everything. False
    /// where there is nothing wider.
    #[cfg(feature = "redis")]
    pub(crate) fn widen(&mut self) -> bool {
        self.what = match &mut self.what {
            What::Rows { table, .. } => What::Table(std::mem::take(table)),
            What::Everything => return false,
            _ => What::Everything,
        };
        true
    }

    /// The same for whole tables.
    #[cfg(feature = "redis")]
    pub(crate) fn widened(self) -> Self {
        match self.what {
            What::Rows { table, .. } => Due { what: What::Table(table), ..self },
            _ => self,
        }
    }
}
