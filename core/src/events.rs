//! Changes of rows, gathered by table.

use std::collections::HashMap;

use serde::Serialize;

use crate::error::Error;
use crate::queryset::canonical;
use crate::value::Row;

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
        WriteEvent(Gathered::Table(canonical(table)))
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

    fn rows(table: &str, rows: Vec<Result<Row, Error>>) -> Self {
        WriteEvent(Gathered::Rows { table: canonical(table), rows })
    }
}

pub(crate) fn into_row<T: Serialize + ?Sized>(row: &T) -> Result<Row, Error> {
    Row::from_serialize(row)
}

/// All changes of one table, or of what belongs to none.
#[derive(Debug)]
pub(crate) enum Gathered {
    Rows { table: String, rows: Vec<Result<Row, Error>> },
    Table(String),
    Fragment(String),
    Everything,
}

impl Gathered {
    fn table(&self) -> Option<&str> {
        match self {
            Gathered::Rows { table, .. } | Gathered::Table(table) => Some(table),
            Gathered::Fragment(_) | Gathered::Everything => None,
        }
    }
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
            (Some(place), Gathered::Rows { rows: new, .. }) => {
                if let Gathered::Rows { rows, .. } = &mut gathered[place] {
                    rows.extend(new);
                }
            }
            (Some(place), whole) => gathered[place] = whole,
        }
    }
    gathered
}
