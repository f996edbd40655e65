use crate::{ColumnType, MAX_VECTOR_LEN};

const ALL: [(ColumnType, u8, &str); 9] = [
    (ColumnType::F64, 1, "f64"),
    (ColumnType::F32, 2, "f32"),
    (ColumnType::I64, 3, "i64"),
    (ColumnType::Bool, 4, "bool"),
    (ColumnType::Timestamp, 5, "timestamp"),
    (ColumnType::String, 6, "string"),
    (ColumnType::Bytes, 7, "bytes"),
    (ColumnType::Vector(1), 8, "f32[1]"),
    (ColumnType::Vector(MAX_VECTOR_LEN), 8, "f32[16384]"),
];

/// Tags are on disk and in components: none may change.
#[test]
fn tags_and_texts_are_these() {
    for (column_type, tag, text) in ALL {
        assert_eq!(column_type.tag(), tag);
        assert_eq!(ColumnType::from_tag(tag, column_type.vector_len()), Some(column_type));
        assert_eq!(column_type.to_string(), text);
        assert_eq!(text.parse(), Ok(column_type));
    }
}

#[test]
fn other_tags_are_refused() {
    for (tag, vector_len) in [
        (0, 0),
        (9, 0),
        (255, 0),
        (1, 1),
        (7, 1),
        (8, 0),
        (8, MAX_VECTOR_LEN + 1),
        (8, u32::MAX),
    ] {
        assert_eq!(ColumnType::from_tag(tag, vector_len), None, "{tag} {vector_len}");
    }
}

#[test]
fn other_texts_are_refused_by_name() {
    for text in [
        "",
        "F64",
        "int",
        "f32[]",
        "f32[0]",
        "f32[16385]",
        "f32[-1]",
        "f32[99999999999]",
        "f32[4",
        "f32 [4]",
        "f64[4]",
    ] {
        let error = text.parse::<ColumnType>().unwrap_err().to_string();
        assert!(
            error.starts_with(&format!("`{text}` is not a column type: use f64, ")),
            "{error}"
        );
    }
}
