use unskew_frame::{ColumnType, Value};

use super::*;

#[test]
fn a_key_has_its_parts_in_order_and_none_of_them_missing() {
    let mut user = Column::new(ColumnType::String);
    let mut campaign = Column::new(ColumnType::I64);
    for (u, c) in [(Some("u1"), Some(7)), (None, Some(7)), (Some("u1"), None)] {
        user.push(u.map_or(Value::Null, Value::String)).unwrap();
        campaign.push(c.map_or(Value::Null, Value::I64)).unwrap();
    }
    let expected = EntityKey::new(&[KeyPart::String("u1"), KeyPart::I64(7)]).unwrap();
    assert_eq!(
        entity_keys(&[&user, &campaign], 3).unwrap(),
        [Some(expected), None, None]
    );
}

#[test]
fn a_key_that_cannot_be_made_is_refused_with_its_row() {
    let mut long = Column::new(ColumnType::String);
    long.push_str("short");
    long.push_str(&"x".repeat(5_000));
    let error = entity_keys(&[&long], 2).unwrap_err();
    assert_eq!(error.row, 1);
    assert!(matches!(error.source, KeyError::TooLong { .. }));

    let mut price = Column::new(ColumnType::F64);
    price.push_f64(1.0);
    assert!(matches!(
        entity_keys(&[&price], 1).unwrap_err().source,
        KeyError::PartType { part: 0, .. }
    ));
}
