//! Changes of rows, gathered by table.

use std::collections::HashMap;

use serde::Serialize;

use crate::error::Error;
use crate::queryset::canonical;
use crate::value::Row;

/// A change in the database, for
/// [`invalidate_batch`](crate::Cacheops::invalidate_batch).
#[derive(Debug)]
pub struct WriteEvent {
    table: String,
    change: Change,
}

#[derive(Debug)]
enum Change {
    Rows(Vec<Result<Row, Error>>),
    Table,
}

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
        WriteEvent { table: canonical(table), change: Change::Table }
    }

    fn rows(table: &str, rows: Vec<Result<Row, Error>>) -> Self {
        WriteEvent { table: canonical(table), change: Change::Rows(rows) }
    }
}

pub(crate) fn into_row<T: Serialize + ?Sized>(row: &T) -> Result<Row, Error> {
    Row::from_serialize(row)
}

/// All changes of one table; without rows, of the table as a whole.
pub(crate) struct Gathered {
    pub(crate) table: String,
    pub(crate) rows: Option<Vec<Result<Row, Error>>>,
}

/// Brings the changes of each table together, in the order in which the
/// tables came first.
pub(crate) fn gather(events: impl IntoIterator<Item = WriteEvent>) -> Vec<Gathered> {
    let mut places: HashMap<String, usize> = HashMap::new();
    let mut gathered: Vec<Gathered> = Vec::new();
    for event in events {
        let place = places.get(&event.table).copied().unwrap_or_else(|| {
            places.insert(event.table.clone(), gathered.len());
            gathered.push(Gathered { table: event.table, rows: Some(Vec::new()) });
            gathered.len() - 1
        });
        let rows = &mut gathered[place].rows;
        match (event.change, rows.as_mut()) {
            (Change::Rows(new), Some(rows)) => rows.extend(new),
            (Change::Rows(_), None) => {}
            (Change::Table, _) => *rows = None,
        }
    }
    gathered
}
