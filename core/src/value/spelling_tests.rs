use super::super::Scalar;

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
    assert_eq!(spelled(i64::MIN), i64::MIN.to_string());
    assert_eq!(spelled(u128::MAX), u128::MAX.to_string());
    assert_eq!(spelled(123_456_789_012_345_678i64), "123456789012345678");
    assert_ne!(spelled(123_456_789_012_345_678i64), spelled(123_456_789_012_345_679i64));
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
    for text in ["", ".", "-", "1.2.3", "1e", "0x10", "e5", "1 2", "inf", "nan", "1_000"] {
        assert_eq!(spelled(text), text);
    }
    let long = "9".repeat(5_000);
    assert_eq!(spelled(&long), long);
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
    assert_eq!(spelled("12:30:00.99999999999999999999999"), spelled("12:30:00"));
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
    assert_ne!(spelled("2026-03-29T01:30:01Z"), expected);
}

#[test]
fn a_date_is_its_midnight_and_times_have_no_date() {
    assert_eq!(spelled("1970-01-02"), "t86400");
    assert_eq!(spelled("1970-01-02"), spelled("1970-01-02T00:00:00Z"));
    assert_eq!(spelled(chrono::NaiveDate::from_ymd_opt(1969, 12, 31).unwrap()), "t-86400");
    assert_eq!(spelled("12:30:00.000"), spelled("12:30:00"));
    for text in ["2026-13-01", "2026-1-1", "2026-01-01X", "2026-01-01T25:00:00Z", "12:61:00"] {
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
