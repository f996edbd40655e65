//! What the tests compare columns with: a vector of options.

use proptest::collection::vec;
use proptest::prelude::*;

use crate::{Column, ColumnType, Value, canonical_f32, canonical_f64};

/// A value that owns itself.
#[derive(Clone, Debug)]
pub enum Owned {
    F64(f64),
    F32(f32),
    I64(i64),
    Bool(bool),
    Timestamp(i64),
    String(String),
    Bytes(Vec<u8>),
    Vector(Vec<f32>),
}

impl Owned {
    pub fn value(&self) -> Value<'_> {
        match self {
            Self::F64(v) => Value::F64(*v),
            Self::F32(v) => Value::F32(*v),
            Self::I64(v) => Value::I64(*v),
            Self::Bool(v) => Value::Bool(*v),
            Self::Timestamp(v) => Value::Timestamp(*v),
            Self::String(v) => Value::String(v),
            Self::Bytes(v) => Value::Bytes(v),
            Self::Vector(v) => Value::Vector(v),
        }
    }

    /// As a column gives it back.
    fn canonical(self) -> Self {
        match self {
            Self::F64(v) => Self::F64(canonical_f64(v)),
            Self::F32(v) => Self::F32(canonical_f32(v)),
            Self::Vector(v) => Self::Vector(v.into_iter().map(canonical_f32).collect()),
            other => other,
        }
    }
}

/// A column as a vector of options.
#[derive(Clone, Debug)]
pub struct Twin {
    pub column_type: ColumnType,
    pub is_scalar: bool,
    pub values: Vec<Option<Owned>>,
}

impl Twin {
    pub fn column(&self) -> Column {
        let mut column = Column::new(self.column_type);
        for value in &self.values {
            column.push(as_value(value)).unwrap();
        }
        if self.is_scalar {
            column.make_scalar();
        }
        column
    }

    /// What a reader must find in `row`.
    pub fn expected(&self, row: usize) -> Option<Owned> {
        self.values[if self.is_scalar { 0 } else { row }]
            .clone()
            .map(Owned::canonical)
    }

    pub fn nulls(&self) -> usize {
        self.values.iter().filter(|value| value.is_none()).count()
    }
}

pub fn as_value(value: &Option<Owned>) -> Value<'_> {
    value.as_ref().map_or(Value::Null, Owned::value)
}

pub fn column_type() -> impl Strategy<Value = ColumnType> {
    prop_oneof![
        Just(ColumnType::F64),
        Just(ColumnType::F32),
        Just(ColumnType::I64),
        Just(ColumnType::Bool),
        Just(ColumnType::Timestamp),
        Just(ColumnType::String),
        Just(ColumnType::Bytes),
        (1_u32..6).prop_map(ColumnType::Vector),
    ]
}

/// Any bits: NaNs of every payload, both zeros, subnormals.
fn value(column_type: ColumnType) -> BoxedStrategy<Owned> {
    let f32_bits = || any::<u32>().prop_map(f32::from_bits);
    match column_type {
        ColumnType::F64 => any::<u64>().prop_map(|bits| Owned::F64(f64::from_bits(bits))).boxed(),
        ColumnType::F32 => f32_bits().prop_map(Owned::F32).boxed(),
        ColumnType::I64 => any::<i64>().prop_map(Owned::I64).boxed(),
        ColumnType::Bool => any::<bool>().prop_map(Owned::Bool).boxed(),
        ColumnType::Timestamp => any::<i64>().prop_map(Owned::Timestamp).boxed(),
        ColumnType::String => vec(any::<char>(), 0..9)
            .prop_map(|chars| Owned::String(chars.into_iter().collect()))
            .boxed(),
        ColumnType::Bytes => vec(any::<u8>(), 0..20).prop_map(Owned::Bytes).boxed(),
        ColumnType::Vector(len) => vec(f32_bits(), len as usize).prop_map(Owned::Vector).boxed(),
    }
}

/// A column of any type for a frame of `rows` rows: a scalar, a full column, one with a few missing values or many.
pub fn twin(rows: usize) -> impl Strategy<Value = Twin> {
    (
        column_type(),
        any::<bool>(),
        prop_oneof![Just(0_u16), Just(5), Just(128), Just(256)],
    )
        .prop_flat_map(move |(column_type, is_scalar, missing)| {
            let stored = if is_scalar { 1 } else { rows };
            let value = (any::<u8>(), value(column_type))
                .prop_map(move |(chance, value)| (u16::from(chance) >= missing).then_some(value));
            vec(value, stored).prop_map(move |values| Twin {
                column_type,
                is_scalar,
                values,
            })
        })
}

/// Up to six columns of as many rows, 0 to 300.
pub fn frame() -> impl Strategy<Value = (usize, Vec<Twin>)> {
    prop_oneof![Just(0_usize), 1_usize..6, 60_usize..70, 0_usize..301]
        .prop_flat_map(|rows| (Just(rows), vec(twin(rows), 0..6)))
}
