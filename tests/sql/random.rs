//! Random SQL: queries of every construct that has a rule, and writes.

use cacheops_sql::Value;

use crate::world::{TABLES, VIEWS};

/// Numbers that are the same for the same seed.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x51ed_270b)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    /// True in one of so many cases.
    pub fn one_in(&mut self, many: usize) -> bool {
        self.below(many) == 0
    }

    fn of<'a, T: ?Sized>(&mut self, items: &[&'a T]) -> &'a T {
        items[self.below(items.len())]
    }
}

/// What columns hold and conditions ask for: few values, so that they meet.
const LITERALS: [&str; 18] = [
    "1", "2", "1", "2", "3", "0", "'a'", "'A'", "'b'", "'1'", "'2'", "1.0", "1.5", "NULL", "''",
    "x'61'", "' 1 '", "'a '",
];

fn values() -> [Value; 14] {
    [
        1.into(),
        2.into(),
        1.into(),
        3.into(),
        "a".into(),
        "A".into(),
        "b".into(),
        "1".into(),
        1.0.into(),
        1.5.into(),
        Value::NULL,
        true.into(),
        b"a".to_vec().into(),
        "2.0".into(),
    ]
}

/// A source of a query, under the name that it has there.
#[derive(Clone)]
struct Source {
    alias: String,
    columns: Vec<String>,
}

/// Makes one query, and the values bound in it.
pub struct Queries<'r> {
    random: &'r mut Random,
    pub values: Vec<Value>,
    names: usize,
    /// How much deeper queries may nest.
    depth: usize,
    ctes: Vec<Source>,
    /// The sources of the queries around, the innermost last.
    scopes: Vec<Vec<Source>>,
}

/// A query, and its values.
pub fn query(random: &mut Random) -> (String, Vec<Value>) {
    let depth = 1 + random.below(3);
    let mut queries = Queries {
        random,
        values: Vec::new(),
        names: 0,
        depth,
        ctes: Vec::new(),
        scopes: Vec::new(),
    };
    let sql = queries.top();
    (sql, queries.values)
}

impl Queries<'_> {
    fn name(&mut self) -> String {
        self.names += 1;
        format!("s{}", self.names)
    }

    fn top(&mut self) -> String {
        let mut with = Vec::new();
        if self.random.one_in(6) {
            for _ in 0..=self.random.below(2) {
                let (query, columns) = self.deeper(|q| q.select_named(None));
                // A name of its own, or one that hides a table.
                let name = if self.random.one_in(4) { "u".to_owned() } else { self.name() };
                with.push(format!("{name} AS ({query})"));
                self.ctes.push(Source { alias: name, columns });
            }
        }
        if self.random.one_in(25) {
            let member = "SELECT u.id, u.t_id FROM u JOIN r ON u.t_id = r.id WHERE u.a = 1";
            with.push(format!("r(id, up) AS (SELECT id, a FROM t WHERE a = 2 UNION {member})"));
            self.ctes.push(Source { alias: "r".into(), columns: vec!["id".into(), "up".into()] });
        }
        let query = match self.random.below(8) {
            0 => self.compound(),
            1 | 2 => self.filtered(),
            _ => self.select_named(None).0,
        };
        match with.is_empty() {
            true => query,
            false => format!("WITH RECURSIVE {} {query}", with.join(", ")),
        }
    }

    /// A query of what another one results in, filtered by one of its columns:
    /// which conditions may pass into it is the question.
    fn filtered(&mut self) -> String {
        let (query, columns) = self.select_named(None);
        let alias = self.name();
        let column = self.random.below(columns.len());
        self.scopes.push(vec![Source { alias: alias.clone(), columns: columns.clone() }]);
        let more = if self.random.one_in(3) { self.condition(1) } else { "1".to_owned() };
        self.scopes.pop();
        let literal = self.literal();
        format!(
            "SELECT * FROM ({query}) AS {alias} WHERE {}.{} = {literal} AND {more}",
            alias, columns[column]
        )
    }

    fn compound(&mut self) -> String {
        let many = 1 + self.random.below(2);
        let mut sql = self.select_named(Some(many)).0;
        for _ in 0..=self.random.below(2) {
            let operator = self.random.of(&["UNION", "UNION ALL", "EXCEPT", "INTERSECT"]);
            let other = self.select_named(Some(many)).0;
            sql = format!("{sql} {operator} {other}");
        }
        sql
    }

    fn deeper<T>(&mut self, make: impl FnOnce(&mut Self) -> T) -> T {
        self.depth = self.depth.saturating_sub(1);
        let made = make(self);
        self.depth += 1;
        made
    }

    /// A SELECT with so many columns, and what they are called; in a compound
    /// one without order and limit.
    fn select_named(&mut self, many: Option<usize>) -> (String, Vec<String>) {
        self.scopes.push(Vec::new());
        let from = self.from();
        let filter = match self.random.one_in(8) {
            true => String::new(),
            false => format!(" WHERE {}", self.condition(2)),
        };
        let (mut sql, names) = match self.random.below(7) {
            0 => self.grouped(&from, &filter, many),
            1 if many.is_none() => {
                // All columns, which have the names that the sources have.
                let sources = self.scopes.last().unwrap().clone();
                let source = &sources[self.random.below(sources.len())];
                let star = match source.alias.is_empty() {
                    true => "*".to_owned(),
                    false => format!("{}.*", source.alias),
                };
                (format!("SELECT {star} FROM {from}{filter}"), source.columns.clone())
            }
            _ => {
                let distinct = if self.random.one_in(5) { "DISTINCT " } else { "" };
                let (items, names) = self.items(many);
                (format!("SELECT {distinct}{items} FROM {from}{filter}"), names)
            }
        };
        if many.is_none() && self.random.one_in(4) {
            let column = self.column();
            sql = format!("{sql} ORDER BY {column}");
        }
        if many.is_none() && self.random.one_in(6) {
            sql = format!("{sql} LIMIT {}", 1 + self.random.below(3));
            if self.random.one_in(3) {
                sql += " OFFSET 1";
            }
        }
        self.scopes.pop();
        (sql, names)
    }

    fn items(&mut self, many: Option<usize>) -> (String, Vec<String>) {
        let many = many.unwrap_or(1 + self.random.below(3));
        let mut names: Vec<String> = Vec::new();
        let items = (0..many).map(|_| {
            let column = self.column();
            let bare = column.rsplit('.').next().unwrap().to_owned();
            let (item, name) = match self.random.below(12) {
                0 if self.depth > 0 => (self.scalar_query(), None),
                1 => (format!("coalesce({column}, 0)"), None),
                2 => (format!("row_number() OVER (PARTITION BY {column} ORDER BY 1)"), None),
                3 => (format!("CASE WHEN {} THEN 1 END", self.condition(1)), None),
                4 => (column, None),
                _ => (column, Some(bare)),
            };
            // A name as in the table, or another one's.
            let name = match name {
                Some(bare) if !names.contains(&bare) => bare,
                _ if self.random.one_in(3) && !names.contains(&"a".to_owned()) => "a".to_owned(),
                _ => self.name(),
            };
            names.push(name.clone());
            format!("{item} AS {name}")
        });
        let items = items.collect::<Vec<_>>().join(", ");
        (items, names)
    }

    fn grouped(&mut self, from: &str, filter: &str, many: Option<usize>) -> (String, Vec<String>) {
        let key = self.column();
        let (key_name, other) = (self.name(), self.name());
        let sum = self.random.of(&["count(*)", "sum(1)", "max({})", "min({})"]);
        let sum = sum.replace("{}", &self.column());
        // A column that is no key has the value of some row of the group.
        let bare = (many.is_none() && self.random.one_in(3)).then(|| (self.column(), self.name()));
        let (columns, mut names) = match many {
            Some(1) => (format!("{sum} AS {other}"), vec![other]),
            _ => (format!("{key} AS {key_name}, {sum} AS {other}"), vec![key_name, other]),
        };
        let columns = match bare {
            Some((bare, name)) => {
                names.push(name.clone());
                format!("{columns}, {bare} AS {name}")
            }
            None => columns,
        };
        let group = match self.random.below(4) {
            0 => String::new(),
            1 => format!(" GROUP BY {key} HAVING {}", self.condition(1)),
            2 => " GROUP BY 1".to_owned(),
            _ => format!(" GROUP BY {key}"),
        };
        (format!("SELECT {columns} FROM {from}{filter}{group}"), names)
    }

    fn from(&mut self) -> String {
        let mut from = self.source();
        let mut after_comma = false;
        for _ in 0..self.random.of(&[&0, &0, &1, &1, &1, &2]).to_owned() {
            let join = match after_comma && self.random.one_in(2) {
                // Whether a comma binds like JOIN shows here only.
                true => self.random.of(&["RIGHT JOIN", "FULL JOIN"]),
                false => self.random.of(&[
                    ",",
                    "JOIN",
                    "JOIN",
                    "LEFT JOIN",
                    "LEFT JOIN",
                    "RIGHT JOIN",
                    "FULL JOIN",
                    "CROSS JOIN",
                    "NATURAL JOIN",
                    "NATURAL LEFT JOIN",
                    "JOIN USING",
                    "LEFT JOIN USING",
                    "FULL JOIN USING",
                ]),
            };
            after_comma = join == ",";
            let using = join.strip_suffix(" USING");
            let (next, known) = match self.random.one_in(10) {
                true => self.nested(),
                false => (self.source(), true),
            };
            let word = using.unwrap_or(join);
            let shared = self.shared_columns();
            let using = using.filter(|_| !shared.is_empty());
            from = format!("{from}{}{word} {next}", if word == "," { "" } else { " " });
            if using.is_some() {
                let one = shared[self.random.below(shared.len())].clone();
                from = format!("{from} USING ({one})");
            } else if !matches!(word, "," | "CROSS JOIN") && !word.starts_with("NATURAL") && known {
                from = format!("{from} ON {}", self.on());
            }
        }
        from
    }

    /// The columns of the source that came last which one before has, too.
    fn shared_columns(&self) -> Vec<String> {
        let Some((last, before)) = self.scopes.last().unwrap().split_last() else {
            return Vec::new();
        };
        let has = |name: &&String| {
            before.iter().filter(|source| source.columns.contains(name)).count() == 1
        };
        last.columns.iter().filter(has).cloned().collect()
    }

    /// A join in parentheses.
    fn nested(&mut self) -> (String, bool) {
        let (one, other) = (self.source(), self.source());
        let join = self.random.of(&["JOIN", "LEFT JOIN", "RIGHT JOIN"]);
        let on = self.on();
        (format!("({one} {join} {other} ON {on})"), true)
    }

    fn on(&mut self) -> String {
        let equal = format!("{} = {}", self.column(), self.column());
        match self.random.below(4) {
            0 => self.condition(1),
            1 => format!("{equal} AND {}", self.condition(0)),
            _ => equal,
        }
    }

    fn source(&mut self) -> String {
        let (sql, name, columns) = match self.random.below(12) {
            0 if self.depth > 0 => {
                let outer = std::mem::take(self.scopes.last_mut().unwrap());
                let (query, columns) = self.deeper(|q| q.select_named(None));
                *self.scopes.last_mut().unwrap() = outer;
                (format!("({query})"), None, columns)
            }
            1 => {
                let (name, columns, _) = VIEWS[self.random.below(VIEWS.len())];
                (name.to_owned(), Some(name.to_owned()), owned(columns))
            }
            2 | 3 if !self.ctes.is_empty() => {
                let cte = self.ctes[self.random.below(self.ctes.len())].clone();
                (cte.alias.clone(), Some(cte.alias), cte.columns)
            }
            _ => {
                let (name, columns) = TABLES[self.random.below(TABLES.len())];
                // It may be hidden by a common table expression of its name.
                let hidden = self.ctes.iter().find(|cte| cte.alias == name);
                let columns = hidden.map_or_else(|| owned(columns), |cte| cte.columns.clone());
                (name.to_owned(), Some(name.to_owned()), columns)
            }
        };
        let taken: Vec<String> =
            self.scopes.last().unwrap().iter().map(|s| s.alias.clone()).collect();
        let (sql, alias) = match name {
            Some(name) if !taken.contains(&name) && self.random.one_in(3) => (sql, name),
            _ => {
                // A name of its own, or that of another table.
                let alias = if self.random.one_in(8) { "t".to_owned() } else { self.name() };
                let alias = if taken.contains(&alias) { self.name() } else { alias };
                (format!("{sql} AS {alias}"), alias)
            }
        };
        self.scopes.last_mut().unwrap().push(Source { alias, columns });
        sql
    }

    /// A column, mostly of the query itself, sometimes of one around it.
    fn column(&mut self) -> String {
        let filled: Vec<usize> =
            (0..self.scopes.len()).filter(|at| !self.scopes[*at].is_empty()).collect();
        let scope = match self.random.one_in(3) {
            true => filled[self.random.below(filled.len())],
            false => *filled.last().unwrap(),
        };
        let scope = &self.scopes[scope];
        let source = &scope[self.random.below(scope.len())];
        let column = &source.columns[self.random.below(source.columns.len())];
        let is_unique = scope.iter().filter(|other| other.columns.contains(column)).count() == 1;
        match self.random.below(if is_unique { 6 } else { 60 }) {
            0 => column.clone(),
            1 => format!("\"{}\".{}", source.alias.to_uppercase(), column.to_uppercase()),
            _ => format!("{}.{column}", source.alias),
        }
    }

    fn literal(&mut self) -> String {
        if self.random.one_in(2) {
            return LITERALS[self.random.below(LITERALS.len())].to_owned();
        }
        let all = values();
        let value = all[self.random.below(all.len())].clone();
        self.values.push(value);
        format!("?{}", self.values.len())
    }

    fn condition(&mut self, depth: usize) -> String {
        if depth > 0 && self.random.one_in(2) {
            let (left, right) = (self.condition(depth - 1), self.condition(depth - 1));
            return match self.random.below(7) {
                0 | 1 => format!("({left} OR {right})"),
                2 => format!("NOT ({left} OR {right})"),
                3 => format!("NOT ({left} AND {right})"),
                _ => format!("{left} AND {right}"),
            };
        }
        if self.depth > 0 && self.random.one_in(6) {
            return self.query_condition();
        }
        let column = self.column();
        match self.random.below(26) {
            0..=7 => format!("{column} = {}", self.literal()),
            8 => format!("{} = {column}", self.literal()),
            9 | 10 => format!("{column} IN ({}, {})", self.literal(), self.literal()),
            11 => format!("{column} NOT IN ({}, {})", self.literal(), self.literal()),
            12 | 13 => format!("{column} IS NULL"),
            14 => format!("{column} IS NOT NULL"),
            15 => format!("{column} = {}", self.column()),
            16 => format!("NOT {column} = {}", self.literal()),
            17 => format!("{column} <> {}", self.literal()),
            18 => format!("{column} IS {}", self.literal()),
            19 => {
                format!("({column}, {}) = ({}, {})", self.column(), self.literal(), self.literal())
            }
            20 => {
                let (other, literals) = (self.column(), [(); 4].map(|()| self.literal()));
                let [a, b, c, d] = literals;
                format!("({column}, {other}) IN (VALUES ({a}, {b}), ({c}, {d}))")
            }
            21 => format!("{column} COLLATE NOCASE = {}", self.literal()),
            22 => format!("CAST({column} AS TEXT) = {}", self.literal()),
            23 => format!("{column} > {}", self.literal()),
            24 => format!("+{column} = {}", self.literal()),
            _ => self
                .random
                .of(&["{} IS TRUE", "{} LIKE 'a%'", "{}", "NOT {}", "({} = 1) = 1"])
                .replace("{}", &column),
        }
    }

    fn query_condition(&mut self) -> String {
        let not = if self.random.one_in(3) { "NOT " } else { "" };
        let column = self.column();
        match self.random.below(4) {
            0 => format!("{not}EXISTS ({})", self.deeper(|q| q.select_named(None)).0),
            1 => format!("{column} = {}", self.scalar_query()),
            _ => format!("{column} {not}IN ({})", self.deeper(|q| q.select_named(Some(1))).0),
        }
    }

    fn scalar_query(&mut self) -> String {
        format!("({})", self.deeper(|q| q.select_named(Some(1))).0)
    }
}

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

/// A write, which may fail.
pub fn write(random: &mut Random) -> String {
    let (table, columns) = TABLES[random.below(TABLES.len())];
    let literal = |random: &mut Random| LITERALS[random.below(LITERALS.len())];
    match random.below(6) {
        0..=2 => {
            let or = random.of(&["", " OR REPLACE", " OR IGNORE"]);
            let values: Vec<&str> = columns
                .iter()
                .map(|column| match *column {
                    "id" => ["NULL", "1", "2", "3", "4"][random.below(5)],
                    "t_id" | "u_id" => ["NULL", "1", "2", "3"][random.below(4)],
                    _ => literal(random),
                })
                .collect();
            format!("INSERT{or} INTO {table} VALUES ({})", values.join(", "))
        }
        3 | 4 => {
            let column = columns[random.below(columns.len())];
            let (value, other) = (literal(random), columns[random.below(columns.len())]);
            let set = match random.one_in(4) {
                true => format!("{column} = {value}, {other} = {}", literal(random)),
                false => format!("{column} = {value}"),
            };
            format!("UPDATE OR REPLACE {table} SET {set} WHERE {other} = {}", literal(random))
        }
        _ => format!(
            "DELETE FROM {table} WHERE {} = {}",
            columns[random.below(columns.len())],
            literal(random)
        ),
    }
}
