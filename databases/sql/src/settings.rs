//! What a text is read with.

use crate::dialect::Dialect;
use crate::functions::Functions;
use crate::refusal::{Refusal, RefusalKind};
use crate::schema::Schema;

#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) dialect: Dialect,
    pub(crate) schema: Schema,
    pub(crate) functions: Functions,
    /// What else the meaning of a text hangs on.
    pub(crate) session: String,
}

impl Settings {
    /// Refuses a table that the schema does not know, if it should, or if
    /// nobody could announce its writes.
    pub(crate) fn check_unknown(&self, table: &str) -> Result<(), Refusal> {
        let refused = |why: String| Err(Refusal::new(RefusalKind::Table, why));
        if self.is_system(table) {
            return refused(format!("no write announces changes of the system table `{table}`"));
        }
        if self.is_temporary(table) {
            let why = format!("`{table}` is a temporary table, which each session has for itself");
            return Err(Refusal::new(RefusalKind::Session, why));
        }
        if self.schema.complete {
            return refused(format!("the schema knows no table `{table}`"));
        }
        Ok(())
    }

    fn is_system(&self, table: &str) -> bool {
        let (schema, name) = table.rsplit_once('.').unwrap_or(("", table));
        match self.dialect {
            Dialect::Sqlite => name.starts_with("sqlite_") || name.starts_with("pragma_"),
            Dialect::Postgres => {
                ["pg_catalog", "information_schema"].contains(&schema)
                    || (schema.is_empty() && name.starts_with("pg_"))
            }
            Dialect::MySql => {
                ["information_schema", "performance_schema", "mysql", "sys"].contains(&schema)
            }
        }
    }

    fn is_temporary(&self, table: &str) -> bool {
        match self.dialect {
            Dialect::Sqlite => table.starts_with("temp."),
            Dialect::Postgres => table.starts_with("pg_temp"),
            Dialect::MySql => false,
        }
    }
}
