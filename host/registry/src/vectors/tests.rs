use super::*;
use crate::check_component;
use crate::fixture::component;

const TEXT: &str = "[[vector]]\nwhat = \"a bare one\"\nin = { a = 1 }\nout = { b = 2 }\n";

#[test]
fn vectors_travel_in_the_component() {
    let component = component("row-transform");
    assert_eq!(embedded_vectors(&component), None);
    let embedded = embed_vectors(&component, TEXT).unwrap();
    assert_eq!(embedded_vectors(&embedded), Some(TEXT));
    check_component(&embedded).unwrap();
    assert_eq!(&embedded[..component.len()], component);
    // Those of before are replaced.
    let empty = embed_vectors(&embedded, "").unwrap();
    assert_eq!(embedded_vectors(&empty), Some(""));
    assert_eq!(embed_vectors(&empty, TEXT).unwrap(), embedded);
}

#[test]
fn a_module_inside_says_nothing_of_the_component() {
    let text = format!(r#"(component (core module (@custom "{SECTION}" "x")) (@custom "{SECTION}" "y"))"#);
    assert_eq!(embedded_vectors(&wat::parse_str(text).unwrap()), Some("y"));
}

#[test]
fn what_is_no_such_file_is_refused() {
    let component = component("row-transform");
    for (text, reason) in [
        ("[[vector]\n", "line 1"),
        ("[[vectors]]\nin = {}\n", "unknown field `vectors`"),
        ("[[vector]]\nexpected = {}\n", "unknown field `expected`"),
        ("vector = 1\n", "expected a sequence"),
    ] {
        let error = embed_vectors(&component, text).unwrap_err().to_string();
        assert!(
            error.starts_with("golden.toml: ") && error.contains(reason),
            "{text}: {error}"
        );
    }
    let many = "[[vector]]\n".repeat(MAX_VECTORS + 1);
    let error = embed_vectors(&component, &many).unwrap_err();
    assert_eq!(error, VectorError::TooMany { count: MAX_VECTORS + 1 });
    let long = format!("# {}", "x".repeat(MAX_VECTORS_BYTES));
    assert!(matches!(
        embed_vectors(&component, &long),
        Err(VectorError::TooLarge { .. })
    ));
}

#[test]
fn values_are_read_by_type_and_shown_as_they_are_written() {
    use unskew::ColumnType as Type;
    for (column_type, text, expected) in [
        (Type::F64, "0.1", Ok("0.1")),
        (Type::F64, "7", Ok("7.0")),
        (Type::F64, "nan", Ok("nan")),
        (Type::F64, "-inf", Ok("-inf")),
        (
            Type::F64,
            "2.2250738585072011e-308",
            Ok("0.000000000000000000000000000000000000000000000000"),
        ),
        (Type::F64, "9007199254740993", Err("is not a number")),
        (Type::F64, "\"1\"", Err("is not a number")),
        (Type::F32, "0.1", Ok("0.1")),
        (Type::I64, "-9223372036854775808", Ok("-9223372036854775808")),
        (Type::I64, "1.0", Err("is not a whole number: 1.0")),
        (Type::Bool, "true", Ok("true")),
        (Type::Bool, "1", Err("is not true or false")),
        (
            Type::Timestamp,
            "2024-01-15T12:00:00.5+02:00",
            Ok("2024-01-15T10:00:00.500000Z"),
        ),
        (Type::Timestamp, "1", Ok("1970-01-01T00:00:00.000001Z")),
        (Type::Timestamp, "2024-01-15T10:00:00", Err("with its zone")),
        (Type::String, "\"M\u{fc}nchen\"", Ok("\"M\u{fc}nchen\"")),
        (Type::String, "1", Err("is not a text")),
        (Type::Bytes, "\"00ff\"", Ok("\"00ff\"")),
        (Type::Bytes, "\"0f0\"", Err("hexadecimal")),
        (Type::Vector(2), "[0.5, 1]", Ok("[0.5, 1.0]")),
        (Type::Vector(2), "[0.5]", Err("is not a list of 2 numbers")),
    ] {
        let table: toml::Table = format!("x = {text}").parse().unwrap();
        let mut column = Column::new(column_type);
        match (push(&mut column, &table["x"]), expected) {
            (Ok(()), Ok(expected)) => assert!(
                shown(column.value(0)).starts_with(expected),
                "{text}: {:?}",
                column.value(0)
            ),
            (Err(error), Err(expected)) => assert!(error.contains(expected), "{text}: {error}"),
            (found, _) => panic!("{text}: {found:?}"),
        }
    }
}
