//! What SQLite tells, for all kinds of writes, by rusqlite.

#![allow(clippy::unwrap_used)]

mod attack;
mod connections;
mod external;
mod rows;
mod site;
mod statements;
mod transactions;
