//! From the text of a query to what it reads: [`QuerySet`](cacheops::QuerySet)s
//! of [`cacheops`].
//!
//! A query is written once, as SQL, and its text tells which rows can change
//! its result:
//!
//! ```
//! use std::collections::BTreeMap;
//!
//! use cacheops::{Cacheops, Error};
//! use cacheops_sql::{ColumnKind, Dialect, Schema, Sql, Table};
//!
//! let schema = Schema::new().table(
//!     Table::new("articles")
//!         .column("id", ColumnKind::Integer)
//!         .column("category", ColumnKind::Integer)
//!         .column("title", ColumnKind::Text),
//! );
//! let sql = Sql::new(Dialect::Sqlite, schema);
//!
//! let query = sql.statement("SELECT title FROM articles WHERE category = ?1");
//! let querysets = query.querysets(&[3.into()])?;
//!
//! let cache = Cacheops::in_memory();
//! let titles = |fresh: &'static str| {
//!     cache.cached_as(&querysets[0]).get_or_fill(|| {
//!         Ok::<_, Error>(fresh.to_owned()) // ask the database
//!     })
//! };
//! assert_eq!(titles("Stamps")?, "Stamps");
//!
//! // An article of another category does not concern it.
//! let row = |category: u32| BTreeMap::from([("id", 1), ("category", category)]);
//! cache.invalidate_obj("articles", &row(4))?;
//! assert_eq!(titles("Leases")?, "Stamps");
//! cache.invalidate_obj("articles", &row(3))?;
//! assert_eq!(titles("Leases")?, "Leases");
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```
//!
//! # What is promised
//!
//! If a write changes the result of a query that is not refused, then a row
//! that it wrote, as it was before or as it is afterwards, meets one of the
//! query's querysets. That holds for any SQL: a condition that is not
//! understood narrows nothing, and a query whose tables cannot be told, or
//! whose result hangs on more than its tables, is refused with a reason
//! ([`Refusal`]). It holds if
//!
//! - the [`Schema`] is that of the database: the types of columns, and all
//!   columns of the tables that it says it has whole;
//! - rows are announced with all of their columns, as the database has them
//!   stored, those of triggers and cascades included;
//! - the functions on the list ([`Functions`]) are what it says.
//!
//! What narrows are equalities: `=`, `IN`, `= ANY`, `IS NULL`, `IS`, of a
//! column and a value or of two columns, under `AND` and `OR`, in `WHERE` and
//! `ON`, also of queries within queries, of views, and of common table
//! expressions.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod analysis;
mod dialect;
mod formula;
mod functions;
mod kind;
mod names;
mod parse;
mod plan;
mod refusal;
mod schema;
mod scope;
mod seen;
mod settings;
mod statement;
mod value;
mod writes;

pub use dialect::Dialect;
pub use functions::{FunctionKind, Functions};
pub use kind::ColumnKind;
pub use refusal::{Refusal, RefusalKind};
pub use schema::{Action, Schema, Table};
pub use seen::Seen;
pub use statement::{Sql, Statement};
pub use value::Value;
pub use writes::{TableWrite, WriteKind, Writes};

/// The README's program, run as a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
