//! What SQLite tells, for all kinds of writes, by rusqlite.

mod connections;
mod rows;
mod site;
mod statements;
mod transactions;
