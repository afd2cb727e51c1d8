//! What a statement changes beyond the rows that the preupdate hook shows, by its text.

/// What a statement that may write changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Rows, which the hook shows.
    Rows,
    /// Nothing that a query could return.
    Nothing,
    /// These tables, without showing rows.
    Tables(Vec<String>),
    /// Any table.
    Everything,
}

impl Effect {
    /// The effect of a statement. What is not understood changes everything.
    pub(crate) fn of(sql: &str) -> Effect {
        let mut words = Words(sql);
        let Some(first) = words.next() else { return Effect::Nothing };
        match &*first.to_ascii_uppercase() {
            "INSERT" | "UPDATE" | "DELETE" | "REPLACE" | "WITH" => Effect::Rows,
            "BEGIN" | "COMMIT" | "END" | "ROLLBACK" | "SAVEPOINT" | "RELEASE" | "SELECT"
            | "VALUES" | "EXPLAIN" | "ANALYZE" | "ATTACH" | "DETACH" => Effect::Nothing,
            "CREATE" | "DROP" => definition(words),
            "ALTER" => alteration(words),
            "PRAGMA" => pragma(words),
            // VACUUM numbers rows anew, REINDEX may compare otherwise than before.
            _ => Effect::Everything,
        }
    }
}

/// Whether a table may have other columns after a statement, also since it takes a
/// change back.
pub(crate) fn may_change_schema(sql: &str) -> bool {
    const LEAVE_IT: [&str; 13] = [
        "SELECT",
        "INSERT",
        "UPDATE",
        "DELETE",
        "REPLACE",
        "WITH",
        "BEGIN",
        "COMMIT",
        "END",
        "SAVEPOINT",
        "RELEASE",
        "VALUES",
        "EXPLAIN",
    ];
    let rest = Words(sql).skipped();
    let end = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
    !rest.is_empty() && !LEAVE_IT.iter().any(|word| rest[..end].eq_ignore_ascii_case(word))
}

/// Whether a statement attaches or detaches a database.
pub(crate) fn attaches(sql: &str) -> bool {
    let rest = Words(sql).skipped();
    let begins = |word: &str| rest.get(..6).is_some_and(|first| first.eq_ignore_ascii_case(word));
    begins("ATTACH") || begins("DETACH")
}

/// `CREATE …` and `DROP …`, after their first word.
fn definition(mut words: Words<'_>) -> Effect {
    let mut kind = words.upper();
    while matches!(&*kind, "TEMP" | "TEMPORARY" | "UNIQUE" | "VIRTUAL") {
        kind = words.upper();
    }
    match &*kind {
        "INDEX" | "TRIGGER" => Effect::Nothing,
        "TABLE" => words.table().map_or(Effect::Everything, |table| Effect::Tables(vec![table])),
        // What was made from a view is known by the tables below it.
        _ => Effect::Everything,
    }
}

/// `ALTER TABLE …`, after its first word.
fn alteration(mut words: Words<'_>) -> Effect {
    if words.upper() != "TABLE" {
        return Effect::Everything;
    }
    let Some(table) = words.table() else { return Effect::Everything };
    let mut tables = vec![table];
    if words.upper() == "RENAME" && words.upper() == "TO" {
        match words.next() {
            Some(new) => tables.push(new),
            None => return Effect::Everything,
        }
    }
    Effect::Tables(tables)
}

/// `PRAGMA …`, after its first word. Those that write are few and known.
fn pragma(mut words: Words<'_>) -> Effect {
    let mut name = words.upper();
    if words.peek() == Some(".") {
        words.next();
        name = words.upper();
    }
    match &*name {
        "WRITABLE_SCHEMA" | "SCHEMA_VERSION" | "ENCODING" => Effect::Everything,
        _ => Effect::Nothing,
    }
}

/// The words, quoted names and signs of a statement; comments are left out.
#[derive(Clone, Copy)]
struct Words<'a>(&'a str);

impl<'a> Words<'a> {
    fn upper(&mut self) -> String {
        self.next().unwrap_or_default().to_ascii_uppercase()
    }

    fn peek(&self) -> Option<&'a str> {
        let rest = self.skipped();
        let end = rest.char_indices().nth(1).map_or(rest.len(), |(at, _)| at);
        (!rest.is_empty()).then(|| &rest[..end])
    }

    /// The name of a table, past `IF [NOT] EXISTS` and the name of a database.
    fn table(&mut self) -> Option<String> {
        let mut name = self.next()?;
        if name.eq_ignore_ascii_case("IF") {
            while !self.next()?.eq_ignore_ascii_case("EXISTS") {}
            name = self.next()?;
        }
        if self.peek() == Some(".") {
            self.next();
            name = self.next()?;
        }
        Some(name)
    }

    /// Past spaces and comments.
    fn skipped(&self) -> &'a str {
        let mut rest = self.0;
        loop {
            rest =
                rest.trim_start_matches(|c: char| c.is_whitespace() || c == ';' || c == '\u{feff}');
            rest = if let Some(comment) = rest.strip_prefix("--") {
                comment.split_once('\n').map_or("", |(_, rest)| rest)
            } else if let Some(comment) = rest.strip_prefix("/*") {
                comment.split_once("*/").map_or("", |(_, rest)| rest)
            } else {
                return rest;
            };
        }
    }
}

impl Iterator for Words<'_> {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        let rest = self.skipped();
        let first = rest.chars().next()?;
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '$' || !c.is_ascii();
        let closing = match first {
            '"' | '`' | '\'' => Some(first),
            '[' => Some(']'),
            _ => None,
        };
        if let Some(closing) = closing {
            let (name, after) = unquoted(&rest[1..], closing);
            self.0 = after;
            return Some(name);
        }
        let end = match is_word(first) {
            true => rest.find(|c| !is_word(c)).unwrap_or(rest.len()),
            false => first.len_utf8(),
        };
        self.0 = &rest[end..];
        Some(rest[..end].to_owned())
    }
}

/// A name up to its closing quote, which it holds doubled, and what follows.
fn unquoted(text: &str, closing: char) -> (String, &str) {
    let mut name = String::new();
    let mut rest = text;
    loop {
        let Some((before, after)) = rest.split_once(closing) else {
            return (name + rest, "");
        };
        name.push_str(before);
        match after.strip_prefix(closing) {
            Some(after) if closing != ']' => {
                name.push(closing);
                rest = after;
            }
            _ => return (name, after),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Effect;

    fn tables(names: &[&str]) -> Effect {
        Effect::Tables(names.iter().map(|name| (*name).to_owned()).collect())
    }

    #[test]
    fn statements_by_their_text() {
        let cases = [
            ("INSERT INTO t VALUES (1)", Effect::Rows),
            ("  -- why\n /* so */ update t set x = 1", Effect::Rows),
            ("with x as (select 1) delete from t", Effect::Rows),
            ("COMMIT", Effect::Nothing),
            ("BEGIN IMMEDIATE", Effect::Nothing),
            ("", Effect::Nothing),
            ("create table t (x)", tables(&["t"])),
            ("CREATE TEMP TABLE IF NOT EXISTS \"a \"\"b\" AS SELECT 1", tables(&["a \"b"])),
            ("create virtual table [ft] using fts5(x)", tables(&["ft"])),
            ("DROP TABLE IF EXISTS aux . `t`", tables(&["t"])),
            ("ALTER TABLE t RENAME TO u", tables(&["t", "u"])),
            ("ALTER TABLE main.t RENAME COLUMN a TO b", tables(&["t"])),
            ("ALTER TABLE t ADD COLUMN x DEFAULT 3", tables(&["t"])),
            ("CREATE UNIQUE INDEX i ON t (x)", Effect::Nothing),
            ("CREATE TRIGGER g AFTER INSERT ON t BEGIN SELECT 1; END", Effect::Nothing),
            ("DROP VIEW v", Effect::Everything),
            ("CREATE TEMP VIEW v AS SELECT 1", Effect::Everything),
            ("VACUUM", Effect::Everything),
            ("REINDEX", Effect::Everything),
            ("PRAGMA user_version = 3", Effect::Nothing),
            ("PRAGMA main.writable_schema = 1", Effect::Everything),
            ("DROP TABLE", Effect::Everything),
            ("whatever", Effect::Everything),
        ];
        for (sql, effect) in cases {
            assert_eq!(Effect::of(sql), effect, "{sql}");
        }
    }
}
