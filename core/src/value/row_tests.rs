use serde_json::json;

use super::{Row, Scalar};

/// Nobody can tell which of two is the column.
#[test]
fn two_columns_of_one_name_are_one_if_they_agree() {
    let row = Row::from_serialize(&json!({"Id": 1, "id": 7, "Lang": "de", "LANG": "de"})).unwrap();
    assert_eq!(row.get("id"), None);
    assert_eq!(row.get("lang"), Some(&Scalar::Text("de".to_owned())));
    let row = Row::from_serialize(&json!({"ΟΔΟΣ": 1, "οδος": 2, "tags": [1], "TAGS": 1})).unwrap();
    assert_eq!(row.get("οδοσ"), None);
    assert_eq!(row.get("tags"), None);
}
