//! Gives every row back as it came: the smallest component that keeps to the contract, and proof that it takes no SDK.

wit_bindgen::generate!({
    path: "../../../wit/transform.wit",
    world: "row-transform",
});

use exports::unskew::transform::metadata::{
    Column, ColumnType, Descriptor, Guest as Metadata, Kind,
};
use exports::unskew::transform::row::{Error, Frame, Guest as Row};

struct PlainRow;

impl Metadata for PlainRow {
    fn describe() -> Descriptor {
        let column = |name: &str| Column {
            name: name.to_owned(),
            column_type: ColumnType::Float64,
            nullable: true,
            doc: "any number".to_owned(),
        };
        Descriptor {
            name: "plain-row".to_owned(),
            version: "0.1.0".to_owned(),
            owner: "tests".to_owned(),
            description: "Gives its input back.".to_owned(),
            inputs: vec![column("x")],
            outputs: vec![column("x")],
            kind: Kind::Row,
        }
    }
}

impl Row for PlainRow {
    fn apply(inputs: Frame) -> Result<Frame, Error> {
        if inputs.is_empty() {
            return Err(Error::Frame("an empty frame".to_owned()));
        }
        Ok(inputs)
    }
}

export!(PlainRow);
