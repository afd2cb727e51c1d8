//! What is known of a connection, and what its hooks make of it: decisions, without
//! a call to SQLite or to a cache.

use std::collections::HashMap;
use std::ffi::{CStr, CString, c_int};
use std::sync::Arc;

use cacheops::WriteEvent;

use crate::barrier::Commit;
use crate::registry::{Installed, Known};
use crate::schema::Table;
use crate::statement::{self, Effect};
use crate::transaction::{Changes, Transaction};

/// What SQLite says of a connection at the moment of a hook.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Status {
    /// A write transaction is open.
    pub(crate) writing: bool,
    /// No explicit transaction is.
    pub(crate) autocommit: bool,
    /// How many rows its statements have changed so far. A statement's are counted
    /// when it has ended.
    pub(crate) changes: c_int,
}

/// What is to be done once the connection's state is not borrowed any more.
#[derive(Default)]
pub(crate) struct Ended {
    /// Commits that are visible now.
    pub(crate) committed: Vec<Commit>,
    /// Commits that have not changed anything.
    pub(crate) rolled_back: Vec<Commit>,
    /// Changes that were committed without a commit hook.
    pub(crate) late: Changes,
    /// The databases of the connection are others than before.
    pub(crate) attached: bool,
}

/// A commit that begins.
pub(crate) struct Beginning {
    pub(crate) changes: Changes,
    /// The databases that it changes; `None` for those in which a write transaction is
    /// open.
    pub(crate) databases: Option<Vec<CString>>,
    /// No hook may come when it is over.
    pub(crate) open_ended: bool,
}

/// A statement that runs.
struct Running {
    statement: usize,
    /// It changes rows.
    rows: bool,
    /// It attaches or detaches a database.
    attaches: bool,
}

/// The state of a connection.
#[derive(Default)]
pub(crate) struct State {
    known: Known,
    schema: Schema,
    transaction: Transaction,
    /// Commits that have begun, and whose end has not been seen.
    commits: Vec<Commit>,
    /// The databases in which rows have changed in this transaction.
    databases: Vec<CString>,
    /// Something else than rows may have changed in it.
    definitions: bool,
    running: Vec<Running>,
    /// A statement is being reset before its last row. Whether it changes rows.
    reset: Option<bool>,
    /// An explicit transaction was open when a statement ended last.
    explicit: bool,
    /// The count of changed rows when no statement ran last.
    changes: c_int,
    /// How many rows were seen since.
    rows: u64,
    /// The application has replaced the commit hook: what changed is told once its
    /// transaction is over.
    commit_hook_lost: bool,
    /// The application has replaced the preupdate hook, or writes to virtual tables
    /// that keep no rows in SQLite: rows changed, and none was seen.
    row_hook_lost: bool,
    /// A hook has panicked: what it was to add is lost.
    pub(crate) panicked: bool,
}

impl State {
    pub(crate) fn installed(&mut self) -> &Installed {
        self.known.current()
    }

    /// A statement begins, at the connection's own level, not that of a trigger; `writes`
    /// unless SQLite knows that it only reads.
    pub(crate) fn statement(
        &mut self,
        statement: usize,
        sql: &str,
        writes: bool,
        status: Status,
    ) -> Ended {
        self.reset = None;
        let ended = self.settle(status);
        let effect = match writes {
            true => Effect::of(sql),
            false => Effect::Nothing,
        };
        if effect != Effect::Rows && statement::may_change_schema(sql) {
            self.schema.forget();
        }
        self.transaction.effect(self.known.current(), &effect);
        self.running.retain(|running| running.statement != statement);
        self.definitions |= writes && statement::may_change_schema(sql);
        self.running.push(Running {
            statement,
            rows: effect == Effect::Rows,
            attaches: statement::attaches(sql),
        });
        ended
    }

    /// A statement has ended, or is about to be reset, which may commit.
    pub(crate) fn ended(&mut self, statement: usize, resets: bool, status: Status) -> Ended {
        let place = self.running.iter().rposition(|running| running.statement == statement);
        let running = place.map(|place| self.running.remove(place));
        if resets {
            self.reset = Some(running.as_ref().is_some_and(|running| running.rows));
        }
        let mut ended = self.settle(status);
        ended.attached = running.is_some_and(|running| running.attaches);
        ended
    }

    /// A row changes, of a table that [`Schema::table`] has given.
    pub(crate) fn row(
        &mut self,
        database: &CStr,
        table: &Arc<Table>,
        event: Option<impl FnMut() -> WriteEvent>,
    ) {
        if !self.databases.iter().any(|other| **other == *database) {
            self.databases.push(database.to_owned());
        }
        self.rows += 1;
        self.row_hook_lost = false;
        self.explicit &= self.is_traced();
        let installed = self.known.current();
        match event {
            Some(event) => self.transaction.row(installed, table, event),
            None => self.transaction.table(installed, table),
        }
    }

    /// A commit begins: what is to be marked.
    pub(crate) fn commit(&mut self, status: Status) -> Beginning {
        let mut transaction = std::mem::take(&mut self.transaction);
        if std::mem::take(&mut self.panicked) {
            transaction.everything();
        }
        let traced = self.reset.is_some() || self.is_traced();
        if !transaction.has_rows() {
            let changes_rows =
                self.reset == Some(true) || self.running.iter().any(|running| running.rows);
            let unseen = self.unseen(status) || (changes_rows && self.row_hook_lost);
            // A definition of a table that was not seen, or rows that were not.
            if unseen || !traced {
                transaction.everything();
            }
            self.definitions |= !traced;
        }
        let databases = std::mem::take(&mut self.databases);
        let definitions = std::mem::take(&mut self.definitions);
        databases.iter().for_each(|database| self.schema.commit(database));
        Beginning {
            changes: transaction.changes(self.known.current()),
            databases: (!definitions).then_some(databases),
            open_ended: self.reset.is_some() || !traced,
        }
    }

    /// What has been marked for a commit.
    pub(crate) fn begun(&mut self, commit: Commit) {
        self.commits.push(commit);
    }

    /// The commits that are over for sure, though no hook has told; and whether others
    /// are left that are going to be.
    pub(crate) fn over(&mut self) -> (Vec<Commit>, bool) {
        let (over, left) = self.commits.drain(..).partition(Commit::is_over);
        self.commits = left;
        (over, self.commits.iter().any(Commit::has_files))
    }

    /// A transaction is rolled back.
    pub(crate) fn rolled_back(&mut self) -> Ended {
        self.transaction = Transaction::default();
        self.databases.clear();
        self.definitions = false;
        self.schema.forget();
        // Where no statements are seen, it may be a later transaction than that of the
        // commits: then they count as committed, as soon as that is known.
        let rolled_back = match self.is_traced() {
            true => std::mem::take(&mut self.commits),
            false => Vec::new(),
        };
        Ended { rolled_back, ..Ended::default() }
    }

    /// The connection is gone, and with it the transaction that was open. Its rollback
    /// hook need not have come: rusqlite takes hooks away before it closes.
    pub(crate) fn closed(&mut self) -> Ended {
        let open = self.explicit && !self.panicked;
        let late = match !open && (self.transaction.has_rows() || self.panicked) {
            true => std::mem::take(&mut self.transaction).changes(self.known.current()),
            false => Changes::default(),
        };
        Ended { committed: std::mem::take(&mut self.commits), late, ..Ended::default() }
    }

    /// Whether there is nothing that a statement which only reads could bring to an end.
    pub(crate) fn is_idle(&self) -> bool {
        self.running.is_empty()
            && self.commits.is_empty()
            && self.transaction.is_empty()
            && self.reset.is_none()
            && self.rows == 0
            && !self.panicked
    }

    /// The columns of tables.
    pub(crate) fn schema(&mut self) -> &mut Schema {
        &mut self.schema
    }

    /// Whether statements are seen: else the schema could change without a word.
    pub(crate) fn is_traced(&self) -> bool {
        !self.running.is_empty()
    }

    /// Whether the count of changed rows has moved, and no row was seen.
    fn unseen(&self, status: Status) -> bool {
        self.rows == 0 && status.changes != self.changes
    }

    /// Draws conclusions from where the connection is, between statements.
    fn settle(&mut self, status: Status) -> Ended {
        let unseen = self.unseen(status);
        let mut ended = Ended::default();
        self.explicit = !status.autocommit;
        // What a statement writes to virtual tables is counted before it has ended; that
        // of one that is being reset, after this.
        let counted = self.reset.is_none() && !self.running.iter().any(|running| running.rows);
        let unseen = unseen && counted;
        self.row_hook_lost |= unseen;
        if counted {
            self.rows = 0;
            self.changes = status.changes;
        }
        if status.writing {
            if unseen {
                self.transaction.everything();
            }
            return ended;
        }
        self.reset = None;
        self.databases.clear();
        self.definitions = false;
        self.schema.forget_verified();
        ended.committed = std::mem::take(&mut self.commits);
        let mut transaction = std::mem::take(&mut self.transaction);
        if transaction.has_rows() {
            // It is over, and neither hook has come: the application has set its own.
            self.commit_hook_lost = true;
        } else if !self.commit_hook_lost {
            // Statements that would have changed tables, and found nothing to do.
            transaction = Transaction::default();
        }
        if unseen || std::mem::take(&mut self.panicked) {
            transaction.everything();
        }
        ended.late = transaction.changes(self.known.current());
        ended
    }
}

/// The version of a database's schema, and how to know that it is the same still.
struct Version {
    schema: i64,
    /// How many changes the connection had seen in the transaction that it wrote in last.
    seen: Option<u32>,
    /// How many it will have seen in the next, if nobody else commits.
    next: Option<u32>,
}

/// The tables of a connection, as far as they have been written to.
#[derive(Default)]
pub(crate) struct Schema {
    tables: HashMap<(CString, CString), Arc<Table>>,
    /// The version of each database's schema that the tables were read at.
    versions: HashMap<CString, Version>,
    /// Databases whose version cannot have changed since it was compared.
    verified: Vec<CString>,
    /// The table of the last row, by the addresses of its names.
    last: Option<(usize, usize, Arc<Table>)>,
}

impl Schema {
    /// The schema may be another one after this: its version is to be compared.
    fn forget_verified(&mut self) {
        self.verified.clear();
        self.last = None;
    }

    /// The schema may be another one of the same version after this.
    fn forget(&mut self) {
        self.forget_verified();
        self.tables.clear();
        self.versions.clear();
    }

    /// A transaction that has changed rows of a database is committed.
    fn commit(&mut self, database: &CStr) {
        if let Some(version) = self.versions.get_mut(database) {
            version.next = version.seen.map(|seen| seen.wrapping_add(1));
        }
    }

    /// The table of a row that is written. `changes_seen`, `version` and `read` ask SQLite, where that
    /// is needed; `traced` says whether a change of the schema would be noticed.
    pub(crate) fn table(
        &mut self,
        database: &CStr,
        name: &CStr,
        traced: bool,
        changes_seen: impl FnOnce() -> Option<u32>,
        version: impl FnOnce() -> Option<i64>,
        read: impl FnOnce() -> Table,
    ) -> Arc<Table> {
        let at = (database.as_ptr() as usize, name.as_ptr() as usize);
        if let Some((database, address, table)) = &self.last
            && (*database, *address) == at
            && table.name().as_bytes() == name.to_bytes()
        {
            return Arc::clone(table);
        }
        if !(traced && self.verified.iter().any(|other| **other == *database)) {
            self.verify(database, traced, changes_seen(), version);
        }
        let key = (database.to_owned(), name.to_owned());
        let table = Arc::clone(self.tables.entry(key).or_insert_with(|| Arc::new(read())));
        self.last = traced.then(|| (at.0, at.1, Arc::clone(&table)));
        table
    }

    /// Forgets the tables of a database whose schema is another one than before. Nobody
    /// else has changed it if the connection has seen its own commit, and no other.
    fn verify(
        &mut self,
        database: &CStr,
        traced: bool,
        seen: Option<u32>,
        version: impl FnOnce() -> Option<i64>,
    ) {
        let known = self.versions.get_mut(database);
        if let Some(known) = known
            && seen.is_some()
            && traced
            && known.next.take() == seen
        {
            known.seen = seen;
            self.verified.push(database.to_owned());
            return;
        }
        let version = version();
        if version.is_none() || self.versions.get(database).map(|known| known.schema) != version {
            self.tables.retain(|(other, _), _| **other != *database);
        }
        match version {
            Some(schema) => {
                let version = Version { schema, seen, next: None };
                self.versions.insert(database.to_owned(), version);
                self.verified.push(database.to_owned());
            }
            None => drop(self.versions.remove(database)),
        }
    }
}
