//! The normal form against brute force: whatever the tree, a change of a row
//! that alters the result of the query meets one of the conjunctions.

use proptest::prelude::*;

use super::super::{all, any, compare, eq, is_in, is_null, not};
use super::*;

/// A row of either table: `x` and `y`, each NULL or a small number.
type RowOf = [Option<i64>; 2];

const COLUMNS: [&str; 2] = ["x", "y"];

/// How the second table comes in.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Joined {
    No,
    Inner,
    Left,
}

fn condition(joined: Joined) -> impl Strategy<Value = Condition> {
    let fields: &[&str] =
        if joined == Joined::No { &["x", "y"] } else { &["x", "y", "b.x", "b.y"] };
    let field = proptest::sample::select(fields);
    let value = 0..3i64;
    let leaf = prop_oneof![
        4 => (field.clone(), value.clone()).prop_map(|(f, v)| eq(f, v)),
        1 => field.clone().prop_map(|f| eq(f, None::<i64>)),
        1 => field.clone().prop_map(is_null),
        2 => (field.clone(), proptest::collection::vec(value.clone(), 0..4)).prop_map(|(f, v)| is_in(f, v)),
        1 => (field, value).prop_map(|(f, v)| compare(f, "<", v)),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            2 => proptest::collection::vec(inner.clone(), 0..4).prop_map(all),
            2 => proptest::collection::vec(inner.clone(), 0..4).prop_map(any),
            1 => inner.prop_map(not),
        ]
    })
}

fn rows() -> impl Strategy<Value = Vec<RowOf>> {
    let value = || proptest::option::weighted(0.8, 0..3i64);
    proptest::collection::vec([value(), value()], 0..4)
}

/// SQL's three truths: `None` is unknown.
fn truth(condition: &Condition, a: &RowOf, b: &RowOf) -> Option<bool> {
    let column = |field: &str| {
        let (row, name) = match field.strip_prefix("b.") {
            Some(name) => (b, name),
            None => (a, field),
        };
        row[COLUMNS.iter().position(|column| *column == name).unwrap()]
    };
    let number = |value: &Scalar| match value {
        Scalar::Int(number) => *number as i64,
        other => panic!("{other:?}"),
    };
    match &condition.0 {
        Node::Eq(field, value) => column(field).map(|it| it == number(value)),
        Node::In(field, values) if values.is_empty() => {
            let _ = field;
            Some(false)
        }
        Node::In(field, values) => column(field).map(|it| values.iter().any(|v| number(v) == it)),
        Node::IsNull(field) => Some(column(field).is_none()),
        Node::Compare(field, _, value) => column(field).map(|it| it < number(value)),
        Node::Not(inner) => truth(inner, a, b).map(|truth| !truth),
        Node::All(inner) => inner
            .iter()
            .try_fold(Some(true), |sum, c| match (sum, truth(c, a, b)) {
                (_, Some(false)) => Err(()),
                (Some(true), Some(true)) => Ok(Some(true)),
                _ => Ok(None),
            })
            .unwrap_or(Some(false)),
        Node::Any(inner) => inner
            .iter()
            .try_fold(Some(false), |sum, c| match (sum, truth(c, a, b)) {
                (_, Some(true)) => Err(()),
                (Some(false), Some(false)) => Ok(Some(false)),
                _ => Ok(None),
            })
            .unwrap_or(Some(true)),
        Node::Opaque(_) | Node::Invalid(_) => None,
    }
}

/// The result of `SELECT * FROM a [[LEFT] JOIN b ON a.x = b.x] WHERE …`.
fn select(condition: &Condition, joined: Joined, a: &[RowOf], b: &[RowOf]) -> Vec<(RowOf, RowOf)> {
    let mut result = Vec::new();
    for left in a {
        let mut partners: Vec<RowOf> = match joined {
            Joined::No => vec![[None, None]],
            _ => {
                b.iter().filter(|right| left[0].is_some() && left[0] == right[0]).copied().collect()
            }
        };
        if joined == Joined::Left && partners.is_empty() {
            partners.push([None, None]);
        }
        result.extend(partners.into_iter().map(|right| (*left, right)));
    }
    result.retain(|(a, b)| truth(condition, a, b) == Some(true));
    result.sort_unstable();
    result
}

fn queryset(condition: &Condition, joined: Joined) -> QuerySet {
    let set = QuerySet::table("a").filter(condition.clone());
    match joined {
        Joined::No => set,
        Joined::Inner => set.join("b", "x", "x"),
        Joined::Left => set.left_join("b", "x", "x"),
    }
}

fn meets(row: &RowOf, conjunctions: &[Conjunction]) -> bool {
    conjunctions.iter().any(|conjunction| {
        conjunction.iter().all(|(field, value)| {
            let column = COLUMNS.iter().position(|column| column == field).unwrap();
            let spelling = row[column].map_or("None".to_owned(), |number| number.to_string());
            spelling == *value
        })
    })
}

fn conjunctions(dnf: &[TableDnf], table: &str) -> Vec<Conjunction> {
    let of = dnf.iter().filter(|dnf| dnf.table == table);
    of.flat_map(|dnf| dnf.conjunctions.clone()).collect()
}

/// Every row that, put into or taken from a table, alters the result.
fn check(condition: &Condition, joined: Joined, a: &[RowOf], b: &[RowOf], limits: Limits) {
    let dnf = to_dnf(&queryset(condition, joined), limits).unwrap();
    let before = select(condition, joined, a, b);
    let values = [None, Some(0), Some(1), Some(2)];
    for row in values.iter().flat_map(|x| values.iter().map(|y| [*x, *y])) {
        for (table, altered) in [
            ("a", select(condition, joined, &with(a, row), b)),
            ("b", select(condition, joined, a, &with(b, row))),
        ] {
            if altered != before && (table == "a" || joined != Joined::No) {
                let conjunctions = conjunctions(&dnf, table);
                assert!(
                    meets(&row, &conjunctions),
                    "{row:?} put into {table} alters the result of {condition:?}, {joined:?}, and meets none of {conjunctions:?}"
                );
            }
        }
    }
}

fn with(rows: &[RowOf], row: RowOf) -> Vec<RowOf> {
    rows.iter().copied().chain([row]).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn one_table(condition in condition(Joined::No), a in rows()) {
        check(&condition, Joined::No, &a, &[], Limits::default());
    }

    #[test]
    fn inner_joins(condition in condition(Joined::Inner), a in rows(), b in rows()) {
        check(&condition, Joined::Inner, &a, &b, Limits::default());
    }

    #[test]
    fn left_joins(condition in condition(Joined::Left), a in rows(), b in rows()) {
        check(&condition, Joined::Left, &a, &b, Limits::default());
    }

    #[test]
    fn tight_bounds(condition in condition(Joined::Inner), a in rows(), b in rows(), n in 1..4usize) {
        let limits = Limits { in_values: n, conjunctions: n };
        let dnf = to_dnf(&queryset(&condition, Joined::Inner), limits).unwrap();
        prop_assert!(dnf.iter().all(|dnf| dnf.conjunctions.len() <= n));
        check(&condition, Joined::Inner, &a, &b, limits);
    }
}

fn spelled(set: &QuerySet) -> Vec<String> {
    let dnf = to_dnf(set, Limits::default()).unwrap();
    let mut all = Vec::new();
    for table in dnf {
        for conjunction in table.conjunctions {
            let terms: Vec<String> = conjunction.iter().map(|(f, v)| format!("{f}={v}")).collect();
            all.push(format!("{}:{}", table.table, terms.join("&")));
        }
    }
    all
}

#[test]
fn rules() {
    let table = || QuerySet::table("a");
    assert_eq!(spelled(&table()), ["a:"]);
    assert_eq!(spelled(&table().filter(eq("x", 1)).filter(eq("b", 2))), ["a:b=2&x=1"]);
    assert_eq!(spelled(&table().any_of([eq("x", 1), eq("y", 2)])), ["a:x=1", "a:y=2"]);
    // Negations and opaque conditions never narrow; a double negation does.
    assert_eq!(spelled(&table().filter(eq("x", 1)).exclude(eq("y", 2))), ["a:x=1"]);
    assert_eq!(spelled(&table().exclude(not(eq("y", 2)))), ["a:y=2"]);
    assert_eq!(spelled(&table().any_of([eq("x", 1), compare("y", ">", 2)])), ["a:"]);
    // Contradictions drop out, and what is wider swallows what is narrower.
    assert!(spelled(&table().filter(eq("x", 1)).filter(eq("x", 2))).is_empty());
    assert!(spelled(&table().filter(is_in("x", Vec::<u8>::new()))).is_empty());
    let both = any([eq("x", 1), all([eq("x", 1), eq("y", 2)])]);
    assert_eq!(spelled(&table().filter(both)), ["a:x=1"]);
    // An IN beyond the limit is opaque.
    assert_eq!(spelled(&table().filter(is_in("x", 0..8))).len(), 8);
    assert_eq!(spelled(&table().filter(is_in("x", 0..9))), ["a:"]);
}

#[test]
fn joins() {
    let set = QuerySet::table("articles").join("authors", "author_id", "id");
    // A condition on one side holds for the joined column too.
    assert_eq!(
        spelled(&set.clone().filter(eq("author_id", 5))),
        ["articles:author_id=5", "authors:id=5"]
    );
    assert_eq!(
        spelled(&set.clone().filter(eq("authors.id", 5)).filter(eq("authors.lang", "de"))),
        ["articles:author_id=5", "authors:id=5&lang=de"]
    );
    let contradiction = set.filter(eq("author_id", 5)).filter(eq("authors.id", 6));
    assert!(spelled(&contradiction).is_empty());
    // Through several, and a table joined to itself.
    let chain = QuerySet::table("a").join("b", "x", "y").join("c", "b.y", "z").filter(eq("c.z", 1));
    assert_eq!(spelled(&chain), ["a:x=1", "b:y=1", "c:z=1"]);
    let tree = QuerySet::table("t")
        .join_as("t", "parent", "parent_id", "id")
        .filter(eq("parent.slug", "s"));
    assert_eq!(spelled(&tree), ["t:"]);
    assert_eq!(spelled(&QuerySet::table("a").filter(eq("x", 1)).reads("b")), ["a:x=1", "b:"]);
    // A schema in front of the table.
    let schema = QuerySet::table("blog.a").join("blog.b", "x", "y").filter(eq("blog.b.y", 1));
    assert_eq!(spelled(&schema), ["blog.a:x=1", "blog.b:y=1"]);
}

#[test]
fn trees_that_would_explode_are_widened_in_time() {
    let factor = |n: usize| any([eq(format!("a{n}"), 1), eq(format!("b{n}"), 1)]);
    let set = QuerySet::table("t").filter(all((0..500).map(factor))).filter(eq("x", 1));
    let dnf = to_dnf(&set, Limits::default()).unwrap();
    assert!(dnf[0].conjunctions.len() <= 64);
    assert!(dnf[0].conjunctions.iter().all(|c| c.contains(&("x".to_owned(), "1".to_owned()))));
    let set = QuerySet::table("t").exclude(all((0..500).map(|n| not(factor(n)))));
    assert_eq!(spelled(&set), ["t:"]);
}

/// Only what is exact contradicts: of texts, a collation may hold both equal.
#[test]
fn contradictions_are_exact() {
    let both = |a: Condition, b: Condition| spelled(&QuerySet::table("t").filter(a).filter(b));
    let nothing: Vec<String> = Vec::new();
    assert_eq!(both(eq("x", 1), eq("x", 2)), nothing);
    assert_eq!(both(eq("x", true), eq("x", false)), nothing);
    assert_eq!(both(is_null("x"), eq("x", "a")), nothing);
    assert_eq!(both(eq("x", "a"), eq("x", "b")), ["t:x=a"]);
    assert_eq!(both(eq("x", 1.5), eq("x", 1.25)), ["t:x=1.5"]);
    assert_eq!(both(eq("x", "1"), eq("x", 2)), ["t:x=1"]);
    assert_eq!(both(eq("x", 16_777_215), eq("x", 16_777_216)), nothing);
    assert_eq!(both(is_null("x"), eq("x", u128::MAX)), nothing);
    // A column of single precision, and a date.
    assert_eq!(both(eq("x", 16_777_216), eq("x", 16_777_217)), ["t:x=16777216"]);
    assert_eq!(both(eq("x", -16_777_216), eq("x", -16_777_217)), ["t:x=-16777216"]);
    assert_eq!(both(eq("x", 20_260_309), eq("x", 20_260_309_000_000_i64)), ["t:x=20260309"]);
    let joined = QuerySet::table("a").join("b", "x", "y");
    let set = joined.filter(eq("x", "one")).filter(eq("b.y", "other"));
    assert_eq!(spelled(&set), ["a:x=one", "b:y=other"]);
}

#[test]
fn what_no_spelling_stands_for_narrows_nothing() {
    let at = |at: &str| QuerySet::table("t").filter(eq("at", at)).filter(eq("x", 1));
    assert_eq!(spelled(&at("2026-03-09T23:59:59.7Z")), ["t:x=1"]);
    assert_eq!(spelled(&at("1970-01-02")), ["t:at=19700102&x=1"]);
}

/// Names know no case in any script, and no blanks around them.
#[test]
fn names_have_one_spelling() {
    let set = QuerySet::table(" BÜCHER ").filter(eq(" Größe\n", 1));
    assert_eq!(spelled(&set), ["bücher:grösse=1"]);
    assert_eq!(
        spelled(&QuerySet::table("bu\u{308}cher").filter(eq("GRÖSSE", 1))),
        ["bücher:grösse=1"]
    );
    // A sigma is spelled by itself, whatever letter stands before it.
    for name in ["ΟΔΟΣ", "οδοσ", "οδος", "Οδοσ"] {
        assert_eq!(spelled(&QuerySet::table(name)), ["οδοσ:"], "{name}");
        let own = QuerySet::table(name).filter(eq(format!("{name}.ID"), 1));
        assert_eq!(spelled(&own), ["οδοσ:id=1"], "{name}");
    }
    for set in
        [QuerySet::table(" "), QuerySet::table("shop.*"), QuerySet::table("t").filter(eq(" ", 1))]
    {
        assert!(to_dnf(&set, Limits::default()).is_err(), "{set:?}");
    }
}

/// A larger `IN` gets its stamps, and nothing else does.
#[test]
fn in_limit_bounds_only_what_it_is_for() {
    let limits = Limits { in_values: 1000, ..Limits::default() };
    let count = |set: QuerySet| to_dnf(&set, limits).unwrap()[0].conjunctions.len();
    let many = || (0..200).map(|n| eq("x", n));
    let table = || QuerySet::table("t");
    assert_eq!(count(table().filter(is_in("x", 0..1000))), 1000);
    assert_eq!(count(table().filter(is_in("x", 0..1000)).filter(eq("y", 1))), 1000);
    assert_eq!(count(table().any_of(many())), 1);
    assert_eq!(count(table().any_of(many()).filter(is_in("y", 0..300))), 300);
}

/// Linear, whatever the shape: the quadratic one took seconds for each.
#[test]
fn long_trees_cost_what_they_are_long() {
    let many = 40_000;
    let fields = || (0..many).map(|n| eq(format!("f{n:05}"), n));
    let ids = || (0..many).map(|n| eq("id", n));
    let with = |n: i32| all([eq("lang", "de"), eq("id", n)]);
    for (set, expected) in [
        (QuerySet::table("t").any_of(ids()), "t:".to_owned()),
        (QuerySet::table("t").any_of((0..many).map(with)), "t:lang=de".to_owned()),
        (QuerySet::table("t").filter(all(ids())), String::new()),
    ] {
        let start = std::time::Instant::now();
        assert_eq!(spelled(&set).concat(), expected);
        assert!(start.elapsed().as_secs() < 10, "{:?}", start.elapsed());
    }
    let start = std::time::Instant::now();
    let dnf = to_dnf(&QuerySet::table("t").filter(all(fields())), Limits::default()).unwrap();
    assert_eq!(dnf[0].conjunctions[0].len(), MOST_FIELDS);
    assert!(start.elapsed().as_secs() < 10, "{:?}", start.elapsed());
}
