use proptest::prelude::*;

use super::super::Scalar;
use super::spell;

/// Whether the spelling stands for all that the value could be equal to.
fn stands<T: serde::Serialize>(value: T) -> bool {
    spell(&Scalar::from_serialize(&value).unwrap(), &mut String::new())
}

fn spelled<T: serde::Serialize>(value: T) -> String {
    Scalar::from_serialize(&value).unwrap().spelling()
}

#[test]
fn numbers_meet_whatever_their_type() {
    for one in [
        spelled(1),
        spelled(1i64),
        spelled(1u8),
        spelled(1u128),
        spelled(1.0),
        spelled(1f32),
        spelled("1"),
        spelled("1.000"),
        spelled("+1"),
        spelled("001"),
        spelled("1e0"),
        spelled(true),
        spelled(Some(1)),
    ] {
        assert_eq!(one, "1");
    }
    assert_eq!(spelled(-0.0), "0");
    assert_eq!(spelled("-0"), "0");
    assert_eq!(spelled(i64::MIN), "-922337203685478e4");
    assert_eq!(spelled(u128::MAX), "340282366920938e24");
    // To 15 digits each is its own.
    assert_eq!(spelled(999_999_999_999_999i64), "999999999999999");
    assert_eq!(spelled(-999_999_999_999_998i64), "-999999999999998");
    assert_ne!(spelled(1_234_567_890_123_456_789i64), spelled(1_234_567_890_123_556_789i64));
    assert_eq!(spelled(1e20), spelled(100_000_000_000_000_000_000u128));
    assert_eq!(spelled(16_777_217.0), spelled(16_777_217));
}

#[test]
fn fractions_meet_at_single_precision() {
    assert_eq!(spelled(0.1f32), spelled(0.1f64));
    assert_eq!(spelled(2.5), spelled("2.50"));
    assert_eq!(spelled("1e-3"), spelled(0.001));
    assert_eq!(spelled(rust_decimal::Decimal::new(250, 2)), spelled(2.5));
    assert_ne!(spelled(0.1), spelled(0.2));
}

#[test]
fn text_that_is_no_number_stays_text() {
    for text in ["", ".", "-", "1.2.3", "1e", "0xg", "e5", "1 2", "nan", "1__0", "_1", "1_"] {
        assert_eq!(spelled(text), text);
    }
}

#[test]
fn null_is_no_text() {
    assert_eq!(spelled(None::<i32>), "None");
    assert_eq!(spelled(()), "None");
    assert_ne!(spelled("None"), spelled(None::<i32>));
    assert_ne!(spelled("none"), spelled(None::<i32>));
    assert_ne!(spelled(""), spelled(None::<i32>));
}

#[test]
fn what_a_database_coerces_meets() {
    assert_eq!(spelled(" 3"), spelled(3));
    assert_eq!(spelled("3 \n"), spelled(3));
    assert_eq!(spelled("tRUE"), spelled(true));
    assert_eq!(spelled("STRASSE"), spelled("straße"));
    assert_eq!(spelled("ΟΔΟΣ"), spelled("οδος"));
}

#[test]
fn letters_lose_their_case_and_trailing_blanks() {
    assert_eq!(spelled("Straße  "), spelled("straße"));
    assert_eq!(spelled("ÄÖ"), spelled("äö"));
    assert_eq!(spelled('X'), spelled("x"));
    assert_ne!(spelled("ab"), spelled("a b"));
}

#[test]
fn one_instant_has_one_spelling() {
    use chrono::{DateTime, FixedOffset, Utc};
    let berlin: DateTime<FixedOffset> = "2026-03-29T03:30:00.25+02:00".parse().unwrap();
    let expected = spelled(berlin.with_timezone(&Utc));
    assert_eq!(spelled(berlin), expected);
    assert_eq!(spelled("2026-03-29 01:30:00"), expected);
    assert_eq!(spelled("2026-03-29 01:30:00.250 UTC"), expected);
    assert_eq!(spelled("2026-03-29 01:30:00+00"), expected);
    assert_eq!(spelled("2026-03-29T01:30:00.250000Z"), expected);
    assert_eq!(spelled(berlin.naive_utc()), expected);
    let jiff: jiff::Timestamp = "2026-03-29T01:30:00.25Z".parse().unwrap();
    assert_eq!(spelled(jiff), expected);
    assert_eq!(spelled(jiff.to_zoned(jiff::tz::TimeZone::UTC)), expected);
    let time = time::macros::datetime!(2026-03-29 03:30:00.25 +2);
    assert_eq!(spelled(time), expected);
    assert_ne!(spelled("2026-03-30T01:30:00Z"), expected);
}

#[test]
fn a_date_is_its_midnight_and_times_have_no_date() {
    assert_eq!(spelled("1970-01-02"), "19700102");
    assert_eq!(spelled("1970-01-02"), spelled("1970-01-02T00:00:00Z"));
    assert_eq!(spelled(chrono::NaiveDate::from_ymd_opt(1969, 12, 31).unwrap()), "19691231");
    assert_eq!(spelled("12:30:00.000"), spelled("12:30:00"));
    for text in ["2026-13-01", "2026-01-01X", "2026-01-01T25:00:00Z", "12:61:00"] {
        assert_eq!(spelled(text), text.to_lowercase());
    }
}

#[test]
fn uuids_meet_in_all_their_forms() {
    let id = uuid::Uuid::from_u128(0x550e_8400_e29b_41d4_a716_4466_5544_0000);
    let expected = "550e8400-e29b-41d4-a716-446655440000";
    assert_eq!(spelled(id), expected);
    assert_eq!(spelled(id.simple().to_string().to_uppercase()), expected);
    assert_eq!(spelled(id.braced().to_string()), expected);
    assert_eq!(spelled(id.urn().to_string()), expected);
    assert_eq!(Scalar::Bytes(id.as_bytes().to_vec()).spelling(), expected);
    assert_eq!(
        spelled("550e8400-e29b-41d4-a716-44665544000z"),
        "550e8400-e29b-41d4-a716-44665544000z"
    );
}

#[test]
fn what_cannot_be_compared_is_refused() {
    for error in [
        Scalar::from_serialize(&f64::NAN).unwrap_err(),
        Scalar::from_serialize(&f32::INFINITY).unwrap_err(),
        Scalar::from_serialize(&[1, 2]).unwrap_err(),
        Scalar::from_serialize(&std::collections::BTreeMap::from([(1, 2)])).unwrap_err(),
    ] {
        assert_eq!(error.kind(), crate::ErrorKind::InvalidQuerySet);
    }
}

/// Every alternative form of a value, in every type that serde can carry.
fn groups() -> Vec<Vec<String>> {
    use rust_decimal::Decimal;
    let uuid = uuid::Uuid::from_u128(0xa0ee_bc99_9c0b_4ef8_bb6d_6bb9_bd38_0a11);
    let nil = uuid::Uuid::nil();
    let digits = uuid::Uuid::from_u128(0x1234_5678_1234_5678_1234_5678_1234_5678);
    let bytes = |bytes: &[u8]| Scalar::Bytes(bytes.to_vec()).spelling();
    let beyond = "1".to_owned() + &"0".repeat(400);
    let date = chrono::NaiveDate::from_ymd_opt(2026, 3, 9).unwrap();
    let time = chrono::NaiveTime::from_hms_opt(9, 30, 0).unwrap();
    vec![
        // Whole numbers beyond 15 digits, which floats and text columns round.
        vec![
            spelled(9_007_199_254_740_993i64),
            spelled(9_007_199_254_740_993.0f64),
            spelled(9_007_199_254_740_992u64),
            spelled("9007199254740993"),
            spelled("9.00719925474099e+15"),
            spelled(Decimal::from(9_007_199_254_740_993i64)),
            spelled("9_007_199_254_740_993"),
        ],
        vec![
            spelled(100_000_000_000_000_000_000_000i128),
            spelled(1e23),
            spelled("1e23"),
            spelled("1E+23"),
            spelled("100000000000000000000000"),
            spelled("100000000000000000000000.00"),
            spelled("99999999999999991611392"),
            spelled(u128::pow(10, 23)),
        ],
        vec![
            spelled(1_000_000_000_000_005i64),
            spelled(1_000_000_000_000_005.0),
            spelled("1.00000000000001e+15"),
        ],
        vec![
            spelled(123_456_789_012_345_678_901i128),
            spelled("123456789012345678901"),
            spelled(123_456_789_012_345_678_901.0f64),
            spelled("1.23456789012346e+20"),
        ],
        // Beyond all floats.
        vec![
            spelled(&beyond),
            spelled("1e400"),
            spelled(format!("0{beyond}.0")),
            spelled("10E399"),
        ],
        vec![
            spelled("0"),
            spelled(format!("0.{}1", "0".repeat(500))),
            spelled(-0.0),
            spelled("-0.00"),
        ],
        vec![
            spelled(2.5),
            spelled(2.5f32),
            spelled("2.50"),
            spelled("25e-1"),
            spelled(Decimal::new(2500, 3)),
        ],
        vec![spelled(0.1 + 0.2), spelled("0.3"), spelled(0.3f32), spelled("0.30000000000000004")],
        vec![
            spelled(3),
            spelled(2.999_999_999_999_999_6),
            spelled("3.000"),
            spelled("0x3"),
            spelled('3'),
        ],
        vec![spelled("inf"), spelled("Infinity"), spelled("+INF")],
        vec![
            spelled(true),
            spelled("t"),
            spelled("TRUE"),
            spelled("on"),
            spelled("Yes"),
            spelled("y"),
            spelled(1),
        ],
        vec![
            spelled(false),
            spelled("f"),
            spelled("off"),
            spelled("no"),
            spelled("0"),
            spelled(0u8),
        ],
        vec![
            spelled(uuid),
            spelled(uuid.simple().to_string()),
            spelled(uuid.braced().to_string().to_uppercase()),
            spelled(uuid.urn().to_string()),
            spelled("URN:UUID:a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
            spelled("a0ee-bc99-9c0b-4ef8-bb6d-6bb9-bd38-0a11"),
            bytes(uuid.as_bytes()),
            spelled("\\xA0EEBC999C0B4EF8BB6D6BB9BD380A11"),
        ],
        vec![spelled(nil), spelled(nil.simple().to_string()), bytes(nil.as_bytes())],
        vec![spelled(digits), spelled(digits.simple().to_string()), bytes(digits.as_bytes())],
        vec![
            spelled("straße"),
            spelled("STRASSE"),
            spelled("STRAẞE"),
            spelled("Strasse "),
            bytes("straße".as_bytes()),
        ],
        vec![spelled("istanbul"), spelled("İstanbul"), spelled("ISTANBUL"), spelled("ıstanbul")],
        vec![spelled("élan"), spelled("e\u{301}lan"), spelled("ÉLAN"), spelled("elan")],
        vec![spelled("ab"), spelled("ａｂ"), bytes(b"AB"), spelled("\\x6162")],
        vec![
            spelled(time),
            spelled("09:30"),
            spelled("9:30:00"),
            spelled("09:30:00.000"),
            spelled(time::macros::time!(9:30)),
            spelled("09:30 AM"),
            spelled(93000),
        ],
        vec![spelled("09:30 PM"), spelled("21:30:00"), spelled("9:30pm")],
        vec![
            spelled(date),
            spelled("2026-3-9"),
            spelled("2026-03-09 00:00:00"),
            spelled("2026-03-09T02:00+02"),
            spelled("2026-03-09 02:00:00+02:00"),
            spelled("2026-03-09 02:00:00.25 +0200"),
            spelled(date.and_hms_opt(0, 0, 0).unwrap()),
            spelled(jiff::civil::date(2026, 3, 9)),
            spelled(time::macros::date!(2026 - 03 - 09)),
            spelled(time::macros::datetime!(2026-03-09 00:00)),
            spelled("2026/03/09"),
            spelled("2026.03.09"),
            spelled("2026@3@9"),
            spelled("20260309"),
            spelled(20_260_309),
            spelled(20_260_309_093_000_i64),
            spelled(20_260_309_093_000.0),
            spelled("20260309093000"),
            spelled("20260309T093000"),
            spelled("20260309 0930"),
            spelled("2026-03-09T09:30:00"),
            spelled("2026-03-09 09:30 PM"),
            spelled("2026-03-09 09:30:00 GMT"),
            spelled("2026-03-09 09:30:00 utc"),
            spelled("2026-03-09 09:30:00+2"),
            spelled("2026-068"),
            spelled("2026-03-09 AD"),
        ],
        vec![spelled("12345-01-01"), spelled("+12345-01-01")],
        vec![spelled("0044-03-15 BC"), spelled("-0043-03-15")],
        // Letters that a collation holds equal.
        vec![spelled("smørrebrød"), spelled("SMORREBROD")],
        vec![spelled("Łódź"), spelled("Lodz")],
        vec![spelled("Đð"), spelled("dd")],
        vec![spelled("Ærø"), spelled("Aero")],
        vec![spelled("シャツ"), spelled("しやつ"), spelled("ｼｬﾂ"), spelled("ジャツ")],
        vec![spelled("ハハ"), spelled("はは"), spelled("パパ")],
        vec![spelled("🍣"), spelled("🍺"), spelled("𠮷")],
        vec![spelled("👨\u{200d}👩"), spelled("👨👩")],
        vec![
            spelled("rust\u{200b}"),
            spelled("ru\u{ad}st"),
            spelled("ru\u{1}st"),
            spelled("rust\u{feff}"),
            spelled("rust"),
        ],
        vec![spelled("٣٤"), spelled("३४"), spelled("34"), spelled("３４")],
        vec![spelled("שלום"), spelled("שלומ")],
        // Fractions by the digits that MySQL prints.
        vec![spelled(123_456.7_f32), spelled("123457"), spelled(123_456.7)],
        vec![
            spelled("10.0.0.1"),
            spelled("10.0.0.1/32"),
            spelled(std::net::Ipv4Addr::new(10, 0, 0, 1)),
        ],
        vec![
            spelled("::1"),
            spelled("0:0:0:0:0:0:0:1/128"),
            spelled(std::net::Ipv6Addr::LOCALHOST),
        ],
        vec![
            spelled("08:00:2b:01:02:0a"),
            spelled("08-00-2B-01-02-0A"),
            spelled("0800.2b01.020a"),
            spelled("08002b01020a"),
            spelled("8:0:2b:1:2:a"),
            spelled("08:00:2b:ff:fe:01:02:0a"),
        ],
        vec![spelled(None::<u8>), spelled(()), spelled(None::<Option<String>>)],
    ]
}

#[test]
fn every_form_of_a_value_has_one_spelling() {
    let groups = groups();
    for (at, group) in groups.iter().enumerate() {
        assert!(group.iter().all(|spelling| *spelling == group[0]), "{group:?}");
        for other in &groups[at + 1..] {
            // The nil UUID, zero and false are one on purpose.
            assert!(group[0] != other[0] || group[0] == "0", "{group:?} {other:?}");
        }
    }
}

#[test]
fn what_no_spelling_stands_for() {
    // A column may round these up to the next second.
    for text in ["2026-03-09T23:59:59.5Z", "09:30:00.9999999", "2026-03-09 23:59:59.75+02"] {
        assert!(!stands(text), "{text}");
    }
    assert!(stands("2026-03-09T23:59:59.4999Z"));
    // It could be text as well as a UUID.
    assert!(!stands(serde_bytes_of(b"sixteen letters!")));
    assert!(stands(serde_bytes_of(&[0xff; 16])));
    // Spans of time, arrays, JSON, ranges, points.
    for text in [
        "24:00:00",
        "1 day",
        "1 day 02:00:00",
        "P1D",
        "-01:30:00",
        "{1, 2}",
        "[1,2]",
        "(1,2)",
        "{\"a\": 1}",
    ] {
        assert!(!stands(text), "{text}");
    }
    assert!(!stands("{\"a\": \"日本\"}"));
    for text in ["1 big day", "p100", "Paul", "day 1", "a{b}", "10 little soldiers"] {
        assert!(stands(text), "{text}");
    }
}

/// Where databases, collations or types disagree on what is equal.
#[test]
fn what_is_held_equal_in_several_ways_stands_for_nothing() {
    for text in [
        // Dates in another order, with names, with a zone that moves the day.
        "2026-03-09 09:30:00 Europe/Berlin",
        "2026-03-09 00:30:00+02",
        "2026-03-09 24:00:00",
        "09:30:00+02",
        "09:30:00 Europe/Berlin",
        "03/09/2026",
        "9.3.2026",
        "9 Mar 2026",
        "March 9, 2026 09:30 CET",
        "Mon Mar 09 2026",
        "J2451187",
        "T093000",
        "today",
        // Letters of several schools.
        "Straße",
        "STRAẞE",
        "Müller",
        "mu\u{308}ller",
        "Ångström",
        "Ærø",
        "œuvre",
        "ŋ",
        "ɓ",
        "𝐀",
        "x\u{e0101}",
        "كتـاب",
        // Money, hstore, JSON, logs and networks.
        "$1,234.50",
        "-€5",
        "\"a\"=>\"1\"",
        "a=>1",
        "\"\\u0061\"",
        "0/16B3748",
        "10.1/16",
        "192.168.1",
        "08:00:2b:01:02:03:04:05",
    ] {
        assert!(!stands(text), "{text}");
    }
    assert!(!stands(Scalar::Bytes(vec![1])));
    assert!(!stands(Scalar::Bytes(vec![0xff, 0xfe])));
    // A column of single precision has no digits for these.
    for number in [16_777_216.0, 123_456_792.0, 1_234_567.0, -1e6] {
        assert!(!stands(number), "{number}");
    }
    assert!(stands(16_777_217) && stands(999_999.0) && stands(0.5));
    for text in [
        "2026-03-09-what-is-new",
        "2026-03-09",
        "2026-03-09T09:30:00+02:00",
        "555-12-3456",
        "978-3-16-148410-0",
        "10-ways-to-cook",
        "10.0.0.1",
        "march",
        "may contain 3 nuts",
        "a/z",
        "smørrebrød",
        "Đakovo",
        "Москва",
        "日本語",
        "コーヒー",
        "élan",
        "Αθήνα",
        "🍣",
        "rust",
        "hello, world",
    ] {
        assert!(stands(text), "{text}");
    }
}

fn serde_bytes_of(bytes: &[u8]) -> impl serde::Serialize {
    Scalar::Bytes(bytes.to_vec())
}

/// What only looks like an address is text, and has no case.
#[test]
fn an_address_with_a_mask_that_is_none_is_text() {
    assert_eq!(spelled("::/A"), spelled("::/a"));
    assert_eq!(spelled("10.0.0.1/AB "), spelled("10.0.0.1/ab"));
    assert_ne!(spelled("::/300"), spelled("::"));
}

#[test]
fn long_values_are_digests() {
    let long = "lorem ipsum ".repeat(1_000_000);
    assert_eq!(spelled(&long).len(), 41);
    assert_eq!(spelled(&long), spelled(long.to_uppercase()));
    assert_ne!(spelled(&long), spelled(format!("{long}x")));
    assert_eq!(spelled(Scalar::Bytes(vec![0xff; 10_000_000])).len(), 41);
    let nines = "9".repeat(10_000_000);
    assert_eq!(spelled(&nines), ".999999999999999e10000000");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    /// A number by all ways: its type, its digits, with an exponent, as a
    /// float, as SQLite writes a float into a text column.
    #[test]
    fn a_number_is_one_whatever_carries_it(mantissa in any::<i64>(), shift in 0u32..64) {
        let number = mantissa >> shift;
        let expected = spelled(number);
        prop_assert_eq!(spelled(i128::from(number)), &*expected);
        prop_assert_eq!(spelled(number.to_string()), &*expected);
        prop_assert_eq!(spelled(format!(" {number}.00")), &*expected);
        prop_assert_eq!(spelled(format!("{number}0e-1")), &*expected);
        prop_assert_eq!(spelled(number as f64), &*expected);
        prop_assert_eq!(spelled(format!("{:e}", number as f64)), &*expected);
        prop_assert_eq!(spelled(rust_decimal::Decimal::from(number)), &*expected);
        if number.unsigned_abs() < 10_000_000_000_000 {
            prop_assert_eq!(&*expected, number.to_string());
        }
    }

    #[test]
    fn a_float_is_one_whatever_prints_it(value in any::<f64>()) {
        prop_assume!(value.is_finite());
        let expected = spelled(value);
        prop_assert_eq!(spelled(format!("{value}")), &*expected);
        prop_assert_eq!(spelled(format!("{value:e}")), &*expected);
        prop_assert_eq!(spelled(format!("{value:.16e}")), &*expected);
    }

    #[test]
    fn a_single_float_meets_its_double(value in any::<f32>()) {
        prop_assume!(value.is_finite());
        prop_assert_eq!(spelled(value), spelled(f64::from(value)));
        // What it prints, read in double precision.
        let printed: f64 = value.to_string().parse().unwrap();
        if value.abs() < 1e7 {
            prop_assert_eq!(spelled(printed), spelled(value));
        }
    }

    #[test]
    fn a_uuid_is_one_in_all_forms(bits in any::<u128>()) {
        let id = uuid::Uuid::from_u128(bits);
        let expected = spelled(id);
        prop_assert_eq!(spelled(id.simple().to_string()), &*expected);
        prop_assert_eq!(spelled(id.braced().to_string().to_uppercase()), &*expected);
        prop_assert_eq!(Scalar::Bytes(id.as_bytes().to_vec()).spelling(), expected);
    }

    #[test]
    fn an_instant_is_one_in_all_zones(seconds in 0i64..4_000_000_000, zone in -56i32..57) {
        let utc = chrono::DateTime::from_timestamp(seconds, 0).unwrap();
        let there = utc.with_timezone(&chrono::FixedOffset::east_opt(zone * 900).unwrap());
        let expected = spelled(utc);
        prop_assert_eq!(spelled(there), &*expected);
        prop_assert_eq!(spelled(utc.naive_utc()), &*expected);
        prop_assert_eq!(spelled(jiff::Timestamp::from_second(seconds).unwrap()), &*expected);
        let time = time::OffsetDateTime::from_unix_timestamp(seconds).unwrap();
        prop_assert_eq!(spelled(time), expected);
    }

    /// Case never tells two values apart, and neither do blanks at the end.
    #[test]
    fn letters_have_no_case(text in "\\PC{0,12}") {
        let expected = spelled(&text);
        prop_assert_eq!(spelled(text.to_uppercase()), &*expected);
        prop_assert_eq!(spelled(text.to_lowercase()), &*expected);
        prop_assert_eq!(spelled(format!("{text}  ")), expected);
    }
}
