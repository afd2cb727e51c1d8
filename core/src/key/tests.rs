use std::collections::{BTreeMap, HashMap};

use proptest::prelude::*;

use super::*;

/// A value of any shape that serde knows.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
#[serde(untagged)]
enum Any {
    None,
    Bool(bool),
    Int(i64),
    Big(u64),
    Float(f64),
    Text(String),
    List(Vec<Any>),
    Map(BTreeMap<String, Any>),
}

/// Integers of all types are one, and so are the two zeros.
fn canonical(value: &Any) -> Any {
    match value {
        Any::Big(big) => i64::try_from(*big).map_or(Any::Big(*big), Any::Int),
        Any::Float(float) if *float == 0.0 => Any::Float(0.0),
        Any::List(items) => Any::List(items.iter().map(canonical).collect()),
        Any::Map(map) => Any::Map(map.iter().map(|(k, v)| (k.clone(), canonical(v))).collect()),
        other => other.clone(),
    }
}

fn any_value() -> impl Strategy<Value = Any> {
    // Few and small values, so that two of them are often near each other.
    let leaf = prop_oneof![
        Just(Any::None),
        any::<bool>().prop_map(Any::Bool),
        (-2..3i64).prop_map(Any::Int),
        (0..3u64).prop_map(Any::Big),
        prop_oneof![Just(0.0), Just(-0.0), Just(1.0), Just(f64::MAX)].prop_map(Any::Float),
        "[ab\\x00\\x06\\x08]{0,3}".prop_map(Any::Text),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..3).prop_map(Any::List),
            proptest::collection::btree_map("[ab]{0,2}", inner, 0..3).prop_map(Any::Map),
        ]
    })
}

fn encoded(values: &[Any]) -> Vec<u8> {
    let mut key = KeyWriter::new();
    values.iter().for_each(|value| key.serialize(value).unwrap());
    key.as_bytes().to_vec()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    /// Equal bytes mean equal lists of parts, and the other way round.
    #[test]
    fn no_two_lists_share_an_encoding(
        a in proptest::collection::vec(any_value(), 0..3),
        b in proptest::collection::vec(any_value(), 0..3),
    ) {
        let same = a.iter().map(canonical).eq(b.iter().map(canonical));
        prop_assert_eq!(encoded(&a) == encoded(&b), same);
    }

    /// No encoding is the beginning of another: parts never run together.
    #[test]
    fn no_encoding_is_a_prefix(a in any_value(), b in any_value()) {
        let (a_bytes, b_bytes) = (encoded(std::slice::from_ref(&a)), encoded(std::slice::from_ref(&b)));
        prop_assert!(!b_bytes.starts_with(&a_bytes) || canonical(&a) == canonical(&b));
    }
}

/// As self-describing formats have them, and so the values of templates.
#[test]
fn enums_with_data_are_maps_of_one_entry() {
    #[derive(serde::Serialize)]
    enum Who {
        User(u8),
        Pair(u8, u8),
        Named { id: u8 },
    }
    let encode = |value: &dyn Fn(&mut KeyWriter)| {
        let mut key = KeyWriter::new();
        value(&mut key);
        key.finish()
    };
    for (who, json) in [
        (Who::User(3), r#"{"User": 3}"#),
        (Who::Pair(1, 2), r#"{"Pair": [1, 2]}"#),
        (Who::Named { id: 1 }, r#"{"Named": {"id": 1}}"#),
    ] {
        let json: serde_json::Value = serde_json::from_str(json).unwrap();
        let same = encode(&|key| key.serialize(&json).unwrap());
        assert_eq!(encode(&|key| key.serialize(&who).unwrap()), same);
    }
}

#[test]
fn long_parts_have_their_length() {
    for length in [0, 1, 254, 255, 256, 100_000] {
        let text = "x".repeat(length);
        let mut one = KeyWriter::new();
        one.str(&text);
        one.str("");
        let mut other = KeyWriter::new();
        other.str(&format!("{text}x"));
        assert_ne!(one.finish(), other.finish());
    }
}

#[test]
fn maps_have_no_order() {
    let pairs: Vec<(String, u8)> = (0..50).map(|n| (format!("k{n}"), n)).collect();
    let encode = |map: &HashMap<String, u8>| {
        let mut key = KeyWriter::new();
        key.serialize(map).unwrap();
        key.finish()
    };
    let one: HashMap<_, _> = pairs.iter().cloned().collect();
    let other: HashMap<_, _> = pairs.into_iter().rev().collect();
    assert_eq!(encode(&one), encode(&other));
}

#[test]
fn querysets_differ_in_every_part() {
    use crate::queryset::{QuerySet, all, any, compare, eq, is_in, is_null, not, opaque};
    let table = || QuerySet::table("a");
    let sets = [
        table(),
        QuerySet::table("b"),
        table().filter(eq("x", 1)),
        table().filter(eq("x", "1")),
        table().filter(eq("x", true)),
        table().filter(eq("x", 1.0)),
        table().filter(eq("y", 1)),
        table().filter(eq("x", None::<u8>)),
        table().filter(is_in("x", [1])),
        table().filter(is_in("x", [1, 2])),
        table().filter(compare("x", ">", 1)),
        table().filter(compare("x", "<", 1)),
        table().filter(opaque("x > 1")),
        table().exclude(eq("x", 1)),
        table().filter(all([eq("x", 1)])),
        table().filter(any([eq("x", 1)])),
        table().filter(eq("x", 1)).filter(eq("y", 2)),
        table().filter(all([eq("x", 1), eq("y", 2)])),
        table().filter(not(not(eq("x", 1)))),
        table().filter(is_null("y")),
        table().join("b", "x", "y"),
        table().left_join("b", "x", "y"),
        table().join_as("b", "c", "x", "y"),
        table().reads("b"),
        table().order_by("x"),
        table().limit(1),
        table().offset(1),
        table().limit(1).offset(1),
    ];
    let keys: std::collections::BTreeSet<_> = sets
        .iter()
        .map(|set| {
            let mut key = KeyWriter::new();
            set.write_key(&mut key);
            key.finish()
        })
        .collect();
    assert_eq!(keys.len(), sets.len());
    let key = FragmentKey([0xa1; 20]);
    assert_eq!(key.to_string(), "a1".repeat(20));
    assert_eq!(key.to_string().parse(), Ok(key));
    assert!("a1".parse::<FragmentKey>().is_err());
    assert!("ä".repeat(20).parse::<FragmentKey>().is_err());
}

/// A set has no order, wherever serde meets it by its type.
#[test]
fn sets_have_no_order() {
    use std::collections::HashSet;
    use std::sync::Arc;
    #[derive(serde::Serialize)]
    struct Extra {
        tags: HashSet<u32>,
        shared: Option<Arc<HashSet<u32>>>,
    }
    let key = |value: &dyn Fn(&mut KeyWriter)| {
        let mut key = KeyWriter::new();
        value(&mut key);
        key.finish()
    };
    let new = |reverse: bool| -> HashSet<u32> {
        if reverse { (0..50).rev().collect() } else { (0..50).collect() }
    };
    let plain = |set: &HashSet<u32>| key(&|key| key.serialize(set).unwrap());
    let behind = |set: &HashSet<u32>| key(&|key| key.serialize(&(1, &set)).unwrap());
    let field = |set: HashSet<u32>| {
        let extra = Extra { shared: Some(Arc::new(set.clone())), tags: set };
        key(&|key| key.serialize(&extra).unwrap())
    };
    for _ in 0..4 {
        assert_eq!(plain(&new(false)), plain(&new(true)));
        assert_eq!(behind(&new(false)), behind(&new(true)));
        assert_eq!(field(new(false)), field(new(true)));
    }
    let mut more = new(false);
    more.insert(99);
    assert_ne!(plain(&new(false)), plain(&more));
    let list = |list: &[u8]| key(&|key| key.serialize(list).unwrap());
    assert_ne!(list(&[1, 2]), list(&[2, 1]), "a list has an order");
}

#[test]
fn the_zero_with_a_sign_is_noted() {
    let mut merged = KeyWriter::new();
    merged.serialize(&[(0.5, vec![-0.0])]).unwrap();
    assert!(merged.has_negative_zero());
    let mut plain = KeyWriter::new();
    plain.serialize(&[(0.5, vec![0.0])]).unwrap();
    assert!(!plain.has_negative_zero());
    assert_eq!(merged.as_bytes(), plain.as_bytes());
    let mut signed = KeyWriter::with_signs();
    signed.serialize(&[(0.5, vec![-0.0])]).unwrap();
    assert_ne!(signed.as_bytes(), plain.as_bytes());
}
