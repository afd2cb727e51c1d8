//! Names: which column of which source one speaks of.

use sqlparser::ast::{Cte, Ident};

use crate::formula::ColumnRef;
use crate::names::folded;

/// What names are looked up in: from the innermost query outwards.
#[derive(Clone, Copy)]
pub(crate) struct Env<'e> {
    pub(crate) frame: Option<&'e Frame>,
    /// Whether the frame is that of what stands before, in the same `FROM`:
    /// only what is lateral sees it.
    pub(crate) is_beside: bool,
    pub(crate) outer: Option<&'e Env<'e>>,
    pub(crate) ctes: Option<&'e Ctes<'e>>,
}

impl Env<'_> {
    pub(crate) const EMPTY: Env<'static> =
        Env { frame: None, is_beside: false, outer: None, ctes: None };
}

impl<'e> Env<'e> {
    /// What is seen of a query within this one.
    pub(crate) fn within(frame: Option<&'e Frame>, outer: &'e Env<'e>) -> Self {
        Env { frame, is_beside: false, outer: Some(outer), ctes: outer.ctes }
    }

    /// What something lateral sees after `frame`.
    pub(crate) fn beside(frame: &'e Frame, outer: &'e Env<'e>) -> Self {
        Env { frame: Some(frame), is_beside: true, outer: Some(outer), ctes: outer.ctes }
    }

    /// Without what stands before in the same `FROM`.
    pub(crate) fn not_lateral(&self) -> Env<'e> {
        let mut env = *self;
        while let (true, Some(outer)) = (env.is_beside, env.outer) {
            env = Env { ctes: self.ctes, ..*outer };
        }
        env
    }
}

/// The common table expressions of one `WITH`.
pub(crate) struct Ctes<'e> {
    pub(crate) list: &'e [Cte],
    /// How many of them can be named; more than there are for `RECURSIVE`.
    pub(crate) known: usize,
    /// Whether they can name each other in any order.
    pub(crate) is_recursive: bool,
    /// What is around the `WITH`.
    pub(crate) around: &'e Env<'e>,
}

impl<'e> Ctes<'e> {
    /// The expression of a name, and what it is read in.
    pub(crate) fn find(&'e self, name: &str) -> Option<(&'e Cte, Ctes<'e>)> {
        let mut known = self.list.iter().take(self.known);
        let place = known.position(|cte| folded(&cte.alias.name) == name);
        match place {
            Some(place) => {
                let known = if self.is_recursive { self.list.len() } else { place };
                let inner = Ctes { known, ..*self };
                self.list.get(place).map(|cte| (cte, inner))
            }
            None => self.around.ctes?.find(name),
        }
    }
}

/// The sources that a query names in its `FROM`.
#[derive(Default)]
pub(crate) struct Frame {
    pub(crate) visible: Vec<Visible>,
    /// What the columns of the result are called: SQLite finds them, too.
    pub(crate) aliases: Vec<String>,
    /// Columns that `USING` and `NATURAL` make one of several.
    pub(crate) merged: Vec<(String, Option<ColumnRef>)>,
}

/// A source under the name that it has in the query.
pub(crate) struct Visible {
    /// Empty: it can be named by its columns only.
    pub(crate) alias: String,
    pub(crate) columns: Vec<(String, Option<ColumnRef>)>,
    /// Whether those are all that it has.
    pub(crate) has_all: bool,
}

/// What a name was found to be.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Found {
    /// A column; nothing if it is no column of a table as it stands there.
    Here(Option<ColumnRef>),
    /// Not known here: further out, perhaps.
    Elsewhere,
}

impl Visible {
    pub(crate) fn find(&self, name: &str) -> Option<Option<ColumnRef>> {
        let mut named = self.columns.iter().filter(|(column, _)| column == name);
        let (_, column) = named.next()?;
        Some(if named.next().is_none() { *column } else { None })
    }
}

impl Frame {
    fn unqualified(&self, name: &str) -> Found {
        if let Some((_, column)) = self.merged.iter().find(|(merged, _)| merged == name) {
            return Found::Here(*column);
        }
        if self.visible.iter().any(|visible| !visible.has_all) {
            return Found::Here(None);
        }
        let mut named = self.visible.iter().filter_map(|visible| visible.find(name));
        match (named.next(), named.next()) {
            (Some(column), None) => Found::Here(column),
            (Some(_), Some(_)) => Found::Here(None),
            (None, _) if is_hidden(name) || self.aliases.iter().any(|a| a == name) => {
                Found::Here(None)
            }
            (None, _) => Found::Elsewhere,
        }
    }

    /// Whether an unqualified name may be a column here.
    pub(crate) fn may_have(&self, name: &str) -> bool {
        self.unqualified(name) != Found::Elsewhere
    }

    pub(crate) fn has_alias(&self, alias: &str) -> bool {
        self.visible.iter().any(|visible| visible.alias == alias)
    }

    fn qualified(&self, table: &str, name: &str) -> Found {
        let mut named = self.visible.iter().filter(|visible| visible.alias == table);
        match (named.next(), named.next()) {
            (Some(visible), None) => Found::Here(visible.find(name).flatten()),
            (Some(_), Some(_)) => Found::Here(None),
            (None, _) => Found::Elsewhere,
        }
    }
}

/// The names by which SQLite knows the key of any table.
fn is_hidden(name: &str) -> bool {
    matches!(name, "rowid" | "oid" | "_rowid_")
}

/// The column that a name of one or more parts speaks of; nothing where it
/// cannot be told, or is no column of a table.
pub(crate) fn resolve(parts: &[Ident], env: &Env<'_>) -> Option<ColumnRef> {
    let names: Vec<String> = parts.iter().map(folded).collect();
    let mut env = Some(env);
    while let Some(here) = env {
        if let Some(frame) = here.frame {
            let found = match names.as_slice() {
                [name] => frame.unqualified(name),
                [.., table, name] => frame.qualified(table, name),
                [] => Found::Elsewhere,
            };
            if let Found::Here(column) = found {
                return column;
            }
        }
        env = here.outer;
    }
    None
}
