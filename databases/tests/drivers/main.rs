//! Drivers and ORMs over SQLite as writers. Nothing of them is changed or wrapped:
//! `sqlite_cacheops::install` is all that an application does.

mod diesel;
mod sea_orm;
mod site;
mod sqlx;
