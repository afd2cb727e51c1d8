//! Names in a tree.

use std::ops::ControlFlow;

use sqlparser::ast::{Ident, ObjectName, ObjectNamePart, Visit, Visitor};

use crate::dialect::Dialect;
use crate::schema::canonical;

/// A name as it is compared.
pub(crate) fn folded(name: &Ident) -> String {
    canonical(&name.value)
}

/// A name as it is meant, where case tells names apart.
pub(crate) fn exact(name: &Ident, dialect: Dialect) -> Option<String> {
    match dialect {
        Dialect::Sqlite => None,
        Dialect::Postgres if name.quote_style.is_none() => Some(name.value.to_lowercase()),
        Dialect::Postgres | Dialect::MySql => Some(name.value.clone()),
    }
}

/// The parts of a name; nothing where one of them is no plain name.
pub(crate) fn parts(name: &ObjectName) -> Option<Vec<&Ident>> {
    name.0.iter().map(ObjectNamePart::as_ident).collect()
}

/// The last part of a name, as it is compared.
pub(crate) fn last_part(name: &ObjectName) -> Option<String> {
    name.0.last()?.as_ident().map(folded)
}

/// The name of a function, without the schema that has the built-in ones.
pub(crate) fn function_name(name: &ObjectName, dialect: Dialect) -> String {
    let text = |part: &ObjectNamePart| {
        part.as_ident().map_or_else(|| part.to_string(), |ident| ident.value.clone())
    };
    let mut parts: Vec<String> = name.0.iter().map(text).collect();
    if dialect == Dialect::Postgres
        && parts.len() == 2
        && parts.first().is_some_and(|first| first.eq_ignore_ascii_case("pg_catalog"))
    {
        parts.remove(0);
    }
    parts.join(".").to_lowercase()
}

/// The names of all relations in a tree.
pub(crate) fn relations(within: &impl Visit) -> Vec<ObjectName> {
    struct Relations(Vec<ObjectName>);
    impl Visitor for Relations {
        type Break = ();
        fn pre_visit_relation(&mut self, name: &ObjectName) -> ControlFlow<()> {
            self.0.push(name.clone());
            ControlFlow::Continue(())
        }
    }
    let mut relations = Relations(Vec::new());
    let _ = within.visit(&mut relations);
    relations.0
}
