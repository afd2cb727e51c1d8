//! Querysets: what a fragment was made from.

mod condition;
mod dnf;
mod scope;

pub use condition::{
    Condition, all, any, compare, eq, gt, gte, is_in, is_null, like, lt, lte, ne, not, opaque,
};
pub(crate) use dnf::{Conjunction, Limits, TableDnf, to_dnf};
pub(crate) use scope::LeaseScope;

use serde::{Deserialize, Serialize};
use unicode_normalization::UnicodeNormalization;

use crate::error::Error;
use crate::key::KeyWriter;

/// What a fragment was made from: a table, conditions on its rows, and the
/// tables joined to it.
///
/// A queryset runs no query. It has two uses: it tells the cache which changed
/// rows matter, and it distinguishes a fragment from fragments that are made from
/// other querysets. A whole table is a queryset without conditions. A single row
/// is a queryset with a condition on its key.
///
/// Mistakes in building a queryset (a list as a value, NaN, an unknown table
/// before a field) are reported where it is used.
///
/// ```
/// use cacheops::{QuerySet, any, eq, gt};
///
/// let articles = QuerySet::table("articles")
///     .filter(eq("category", 3))
///     .filter(any([eq("lang", "en"), eq("lang", "de")]))
///     .filter(gt("score", 10)) // identifies the fragment, narrows nothing
///     .order_by("-published")
///     .limit(20);
///
/// let by_author = QuerySet::table("articles")
///     .join("authors", "author_id", "id")
///     .filter(eq("authors.country", "de"));
///
/// // Both ways through serde, so that it can sit in a template context.
/// let json = serde_json::to_string(&by_author).unwrap();
/// assert_eq!(serde_json::from_str::<QuerySet>(&json).unwrap(), by_author);
/// # let _ = articles;
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QuerySet {
    #[serde(deserialize_with = "lowered")]
    table: String,
    #[serde(rename = "where", default, skip_serializing_if = "Vec::is_empty")]
    conditions: Vec<Condition>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    joins: Vec<Join>,
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "all_lowered")]
    reads: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    order_by: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    limit: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    offset: Option<u64>,
    /// Which values of the template that created it print differently from
    /// other values with the same content, for example because they are not
    /// escaped. What is made from the queryset may print them, so this is
    /// part of the key.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    distinctions: Vec<u64>,
}

/// A table that is joined by the equality of two columns.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Join {
    #[serde(deserialize_with = "lowered")]
    pub(crate) table: String,
    #[serde(deserialize_with = "lowered")]
    pub(crate) alias: String,
    /// Rows without a partner are kept, with NULLs. `IS NULL` on the joined
    /// side is then true for rows that do not exist.
    #[serde(default)]
    pub(crate) left: bool,
    /// A field of an earlier table.
    #[serde(deserialize_with = "lowered")]
    pub(crate) field: String,
    /// The joined table's column.
    #[serde(deserialize_with = "lowered")]
    pub(crate) column: String,
}

impl QuerySet {
    /// All rows of a table. Names of tables and fields are trimmed and
    /// case-insensitive in every script.
    #[must_use]
    pub fn table(name: impl Into<String>) -> Self {
        QuerySet {
            table: canonical(name),
            conditions: Vec::new(),
            joins: Vec::new(),
            reads: Vec::new(),
            order_by: Vec::new(),
            limit: None,
            offset: None,
            distinctions: Vec::new(),
        }
    }

    /// Keeps the rows that meet `condition`, in addition to all earlier
    /// conditions.
    #[must_use]
    pub fn filter(mut self, condition: Condition) -> Self {
        self.conditions.push(condition);
        self
    }

    /// Keeps the rows that meet at least one of `conditions`.
    #[must_use]
    pub fn any_of(self, conditions: impl IntoIterator<Item = Condition>) -> Self {
        self.filter(any(conditions))
    }

    /// Keeps the rows that do not meet `condition`. It is part of the key of
    /// the queryset but, like every negation, never narrows an invalidation.
    #[must_use]
    pub fn exclude(self, condition: Condition) -> Self {
        self.filter(not(condition))
    }

    /// Joins the rows of `table` whose `column` equals `field`.
    ///
    /// A condition on one side of the equality also holds for the other side.
    /// Write fields of the joined table as `table.column`.
    #[must_use]
    pub fn join(
        self,
        table: impl Into<String>,
        field: impl Into<String>,
        column: impl Into<String>,
    ) -> Self {
        let table = table.into();
        self.join_as(table.clone(), table, field, column)
    }

    /// [`join`](Self::join) under another name. Use it for a table that is
    /// joined twice, or to itself.
    #[must_use]
    pub fn join_as(
        self,
        table: impl Into<String>,
        alias: impl Into<String>,
        field: impl Into<String>,
        column: impl Into<String>,
    ) -> Self {
        self.push_join(table, alias, field, column, false)
    }

    /// Like [`join`](Self::join), but keeps rows without a partner.
    ///
    /// `IS NULL` on the joined side may then mean "there is no such row", so
    /// it does not narrow. The first row that appears there invalidates.
    #[must_use]
    pub fn left_join(
        self,
        table: impl Into<String>,
        field: impl Into<String>,
        column: impl Into<String>,
    ) -> Self {
        let table = table.into();
        self.push_join(table.clone(), table, field, column, true)
    }

    /// [`left_join`](Self::left_join) under another name.
    #[must_use]
    pub fn left_join_as(
        self,
        table: impl Into<String>,
        alias: impl Into<String>,
        field: impl Into<String>,
        column: impl Into<String>,
    ) -> Self {
        self.push_join(table, alias, field, column, true)
    }

    fn push_join(
        mut self,
        table: impl Into<String>,
        alias: impl Into<String>,
        field: impl Into<String>,
        column: impl Into<String>,
        left: bool,
    ) -> Self {
        self.joins.push(Join {
            table: canonical(table),
            alias: canonical(alias),
            left,
            field: canonical(field),
            column: canonical(column),
        });
        self
    }

    /// Names another table that the query reads in any other way, such as in
    /// a subquery. Every change of that table invalidates.
    #[must_use]
    pub fn reads(mut self, table: impl Into<String>) -> Self {
        self.reads.push(canonical(table));
        self
    }

    /// The order of the rows. It is part of the key only.
    #[must_use]
    pub fn order_by(mut self, field: impl Into<String>) -> Self {
        self.order_by.push(field.into());
        self
    }

    /// The largest number of rows. It is part of the key only.
    #[must_use]
    pub fn limit(mut self, rows: u64) -> Self {
        self.limit = Some(rows);
        self
    }

    /// The number of rows to skip. It is part of the key only.
    #[must_use]
    pub fn offset(mut self, rows: u64) -> Self {
        self.offset = Some(rows);
        self
    }

    /// The name of the first table.
    #[must_use]
    pub fn table_name(&self) -> &str {
        &self.table
    }

    /// All tables that the queryset reads, the first one first. A table may
    /// appear twice.
    pub fn tables(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.table.as_str())
            .chain(self.joins.iter().map(|join| join.table.as_str()))
            .chain(self.reads.iter().map(String::as_str))
    }

    /// Reports the first mistake in the queryset.
    ///
    /// # Errors
    ///
    /// If the name of a table or field is empty, a table is a pattern, two
    /// tables have the same name, a value is not a single value, or a field
    /// belongs to a table that is not joined.
    pub fn check(&self) -> Result<(), Error> {
        self.tables().try_for_each(check_table)?;
        let scope = dnf::Scope::of(self)?;
        self.conditions.iter().try_for_each(|condition| condition.check(&scope))
    }

    /// Writes the identity of the queryset into a key.
    pub fn write_key(&self, key: &mut KeyWriter) {
        key.list(8);
        key.str(&self.table);
        key.list(self.conditions.len());
        self.conditions.iter().for_each(|condition| condition.write_key(key));
        key.list(self.joins.len());
        for join in &self.joins {
            key.list(5);
            key.str(&join.table);
            key.str(&join.alias);
            key.bool(join.left);
            key.str(&join.field);
            key.str(&join.column);
        }
        for names in [&self.reads, &self.order_by] {
            key.list(names.len());
            names.iter().for_each(|name| key.str(name));
        }
        for number in [self.limit, self.offset] {
            match number {
                Some(number) => key.int(i128::from(number)),
                None => key.none(),
            }
        }
        key.list(self.distinctions.len());
        self.distinctions.iter().for_each(|place| key.int(i128::from(*place)));
    }

    pub(crate) fn with_distinctions(mut self, distinctions: Vec<u64>) -> Self {
        // What came by serde may have some of its own.
        self.distinctions.extend(distinctions);
        self
    }

    pub(crate) fn conditions(&self) -> &[Condition] {
        &self.conditions
    }

    pub(crate) fn joins(&self) -> &[Join] {
        &self.joins
    }

    pub(crate) fn other_tables(&self) -> &[String] {
        &self.reads
    }
}

impl From<&str> for QuerySet {
    fn from(table: &str) -> Self {
        QuerySet::table(table)
    }
}

impl From<String> for QuerySet {
    fn from(table: String) -> Self {
        QuerySet::table(table)
    }
}

impl From<&QuerySet> for QuerySet {
    fn from(queryset: &QuerySet) -> Self {
        queryset.clone()
    }
}

fn lowered<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    String::deserialize(deserializer).map(canonical)
}

fn all_lowered<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let names = Vec::<String>::deserialize(deserializer)?;
    Ok(names.into_iter().map(canonical).collect())
}

/// The normalized form of the name of a table or field: trimmed, in lower case,
/// and in the composed form of Unicode.
///
/// It converts each letter to upper case and then to lower case. Both sigmas
/// share a capital, and `str::to_lowercase` would choose a sigma by its position.
pub(crate) fn canonical(name: impl Into<String>) -> String {
    let name: String = name.into();
    if is_canonical(&name) {
        return name;
    }
    let letters = name.trim().nfc().flat_map(char::to_lowercase);
    letters.flat_map(char::to_uppercase).flat_map(char::to_lowercase).nfc().collect()
}

/// Whether a name certainly has its normalized form. Most names have.
pub(crate) fn is_canonical(name: &str) -> bool {
    name.bytes().all(|b| b.is_ascii_graphic() && !b.is_ascii_uppercase())
}

/// Refuses a text that is not the normalized name of one table.
pub(crate) fn check_table(table: &str) -> Result<(), Error> {
    if table.is_empty() {
        return Err(Error::invalid_queryset("the name of a table is empty"));
    }
    if table.contains('*') {
        return Err(Error::invalid_queryset(format!(
            "{table:?} is a pattern for profiles, not the name of a table: name each table, or use `invalidate_all` for everything"
        )));
    }
    Ok(())
}
