//! What a transaction has changed so far, for each cache that is to hear of it.

use std::sync::Arc;

use cacheops::WriteEvent;
use serde::Serialize;

use crate::registry::Installation;
use crate::schema::Table;
use crate::statement::Effect;

/// The events for each of the installed caches.
pub(crate) type Events = Vec<(Arc<Installation>, Vec<WriteEvent>)>;

/// What is to be told of a transaction.
#[derive(Default)]
pub(crate) struct Changes {
    pub(crate) events: Events,
}

/// The changes of a transaction that is open.
#[derive(Default)]
pub(crate) struct Transaction {
    /// The caches that were installed at the first change.
    recipients: Events,
    tables: Vec<(Arc<Table>, Kept)>,
    /// Everything may have changed.
    unknown: bool,
}

/// How the changes of a table are kept.
#[derive(Clone, Copy, PartialEq)]
enum Kept {
    Rows(usize),
    Whole,
}

impl Transaction {
    pub(crate) fn is_empty(&self) -> bool {
        !self.unknown && self.recipients.is_empty()
    }

    /// Whether a row of any table has been seen.
    pub(crate) fn has_rows(&self) -> bool {
        !self.tables.is_empty()
    }

    /// Adds a change of a row, which `event` makes, once for each cache.
    pub(crate) fn row(
        &mut self,
        installed: &[Arc<Installation>],
        table: &Arc<Table>,
        event: impl FnMut() -> WriteEvent,
    ) {
        let budget = installed.iter().map(|each| each.row_budget).min().unwrap_or(0);
        match self.kept(installed, table) {
            Kept::Whole => {}
            Kept::Rows(rows) if *rows < budget => {
                *rows += 1;
                self.add(event);
            }
            kept @ Kept::Rows(_) => {
                *kept = Kept::Whole;
                self.add(|| WriteEvent::table(table.name()));
            }
        }
    }

    /// Adds that a table has changed in rows that are not known.
    pub(crate) fn table(&mut self, installed: &[Arc<Installation>], table: &Arc<Table>) {
        let kept = self.kept(installed, table);
        if std::mem::replace(kept, Kept::Whole) != Kept::Whole {
            self.add(|| WriteEvent::table(table.name()));
        }
    }

    /// Adds what a statement changes that gives no rows.
    pub(crate) fn effect(&mut self, installed: &[Arc<Installation>], effect: &Effect) {
        match effect {
            Effect::Tables(tables) => {
                self.begin(installed);
                for table in tables {
                    self.whole_table(table);
                }
            }
            Effect::Everything => self.unknown = true,
            Effect::Rows | Effect::Nothing => {}
        }
    }

    /// From now on everything may have changed.
    pub(crate) fn everything(&mut self) {
        self.unknown = true;
    }

    /// What each of the installed caches is to be told. One that was installed after
    /// the first change is told that everything has changed.
    pub(crate) fn changes(mut self, installed: &[Arc<Installation>]) -> Changes {
        if self.is_empty() {
            return Changes::default();
        }
        let mut of = |each: &Arc<Installation>| {
            let place = self.recipients.iter().position(|(other, _)| Arc::ptr_eq(each, other));
            let events = match place {
                Some(place) if !self.unknown => self.recipients.swap_remove(place).1,
                _ => vec![WriteEvent::everything()],
            };
            (Arc::clone(each), events)
        };
        Changes { events: installed.iter().map(&mut of).collect() }
    }

    /// How a table's changes are kept; with its first, the virtual table changes whose
    /// data it holds.
    fn kept(&mut self, installed: &[Arc<Installation>], table: &Arc<Table>) -> &mut Kept {
        self.begin(installed);
        let place = self.tables.iter().rposition(|(other, _)| Arc::ptr_eq(other, table));
        let place = place.unwrap_or_else(|| {
            if let Some(shadows) = table.shadows() {
                self.whole_table(shadows);
            }
            self.tables.push((Arc::clone(table), Kept::Rows(0)));
            self.tables.len() - 1
        });
        &mut self.tables[place].1
    }

    fn whole_table(&mut self, table: &str) {
        self.add(|| WriteEvent::table(table));
    }

    fn begin(&mut self, installed: &[Arc<Installation>]) {
        if self.recipients.is_empty() {
            let all = installed.iter().map(|each| (Arc::clone(each), Vec::new()));
            self.recipients = all.collect();
        }
    }

    fn add(&mut self, mut event: impl FnMut() -> WriteEvent) {
        for (_, events) in &mut self.recipients {
            events.push(event());
        }
    }
}

/// The event of a row that was inserted, changed or deleted.
pub(crate) fn event<O: Serialize, N: Serialize>(
    table: &Table,
    old: Option<&O>,
    new: Option<&N>,
) -> WriteEvent {
    match (old, new) {
        (Some(old), Some(new)) => WriteEvent::update(table.name(), old, new),
        (Some(old), None) => WriteEvent::delete(table.name(), old),
        (None, Some(new)) => WriteEvent::insert(table.name(), new),
        (None, None) => WriteEvent::table(table.name()),
    }
}
