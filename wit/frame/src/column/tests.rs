use proptest::prelude::*;

use crate::twin::{Owned, as_value, column_type, frame, twin};
use crate::{Column, ColumnType, TypeMismatch, Value};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn a_column_is_a_vector_of_options((rows, twins) in frame()) {
        for twin in &twins {
            let column = twin.column();
            prop_assert_eq!(column.column_type(), twin.column_type);
            prop_assert_eq!(column.rows(), twin.values.len());
            prop_assert_eq!(column.null_count(), twin.nulls());
            prop_assert_eq!(column.is_scalar(), twin.is_scalar);
            prop_assert_eq!(column.view().is_all_present(), twin.nulls() == 0);
            for row in 0..rows {
                let expected = twin.expected(row);
                prop_assert_eq!(column.value(row), as_value(&expected));
                prop_assert_eq!(column.view().is_present(row), expected.is_some());
            }
        }
    }

    /// A column that was used before is the same words as a new one.
    #[test]
    fn clear_leaves_nothing_behind((before, after) in (twin(70), twin(70))) {
        let mut column = before.column();
        column.clear();
        prop_assert_eq!(&column, &Column::new(before.column_type));
        if before.column_type == after.column_type {
            for value in &after.values {
                column.push(as_value(value)).unwrap();
            }
            if after.is_scalar {
                column.make_scalar();
            }
            prop_assert_eq!(&column, &after.column());
        }
    }

    #[test]
    fn a_copy_in_used_memory_is_the_column((before, source) in (twin(70), twin(130))) {
        let mut copy = Column::new(source.column_type);
        if before.column_type == source.column_type {
            copy = before.column();
        }
        copy.copy_from(&source.column());
        prop_assert_eq!(&copy, &source.column());
        let view = copy.view();
        for (row, value) in source.values.iter().enumerate() {
            match value.as_ref().map(Owned::value) {
                Some(Value::F64(value)) => prop_assert_eq!(view.f64s()[row].to_bits(), crate::canonical_f64(value).to_bits()),
                Some(Value::F32(value)) => prop_assert_eq!(view.f32s()[row].to_bits(), crate::canonical_f32(value).to_bits()),
                Some(Value::I64(value)) => prop_assert_eq!(view.i64s()[row], value),
                _ => {}
            }
        }
    }

    #[test]
    fn extend_from_is_pushing_row_by_row(
        (source, start, len, again) in twin(200).prop_flat_map(|twin| (Just(twin), 0_usize..200, 0_usize..200, 0_usize..200))
    ) {
        let (column, end) = (source.column(), (start + len).min(200));
        let mut expected = Column::new(source.column_type);
        for row in (start..end).chain(0..again) {
            expected.push(as_value(&source.expected(row))).unwrap();
        }
        let mut copy = Column::new(source.column_type);
        copy.extend_from(column.view(), start..end);
        copy.extend_from((&column).into(), 0..again);
        prop_assert_eq!(copy, expected);
    }

    #[test]
    fn only_values_of_the_type_are_pushed((column_type, other) in (column_type(), twin(1))) {
        let mut column = Column::new(column_type);
        let value = other.values[0].as_ref().map_or(Value::Null, Owned::value);
        let fits = value.is_null() || other.column_type == column_type;
        prop_assert_eq!(column.push(value), if fits { Ok(()) } else { Err(TypeMismatch { column_type }) });
        prop_assert_eq!(column.rows(), usize::from(fits));
        prop_assert_eq!(Column::scalar(column_type, value).is_ok(), fits);
    }
}

#[test]
fn missing_values_read_as_zero() {
    for column_type in [
        ColumnType::F64,
        ColumnType::F32,
        ColumnType::I64,
        ColumnType::Bool,
        ColumnType::Timestamp,
        ColumnType::String,
        ColumnType::Bytes,
        ColumnType::Vector(3),
    ] {
        let mut column = Column::new(column_type);
        column.push_null();
        let view = column.view();
        let zero = match column_type {
            ColumnType::F64 => Value::F64(view.f64(0)) == Value::F64(0.0),
            ColumnType::F32 => Value::F32(view.f32(0)) == Value::F32(0.0),
            ColumnType::I64 => view.i64(0) == 0,
            ColumnType::Bool => !view.bool(0),
            ColumnType::Timestamp => view.timestamp(0) == 0,
            ColumnType::String => view.str(0).is_empty(),
            ColumnType::Bytes => view.bytes(0).is_empty(),
            ColumnType::Vector(_) => Value::Vector(view.vector(0)) == Value::Vector(&[0.0; 3]),
        };
        assert!(zero, "{column_type}");
        assert_eq!(column.value(0), Value::Null);
    }
}

/// The two ways to make a scalar, and what it answers.
#[test]
fn a_scalar_stands_for_every_row() {
    let mut column = Column::new(ColumnType::String);
    column.push_str("eu");
    column.make_scalar();
    assert_eq!(column, Column::scalar(ColumnType::String, Value::String("eu")).unwrap());
    assert_eq!(
        (column.value(0), column.value(1_000_000)),
        (Value::String("eu"), Value::String("eu"))
    );
    let missing = Column::scalar(ColumnType::F64, Value::Null).unwrap();
    assert_eq!(
        (missing.value(7), missing.rows(), missing.null_count()),
        (Value::Null, 1, 1)
    );
}

/// A second row in a scalar would be in its frame but not be read. push_null once let it in, unlike the other pushes.
#[test]
fn a_scalar_takes_no_second_row() {
    let pushes: [fn(&mut Column); 4] = [
        |column| column.push_null(),
        |column| column.push_i64(2),
        |column| _ = column.push(Value::Null),
        |column| column.extend_from(Column::scalar(ColumnType::I64, Value::I64(2)).unwrap().view(), 0..1),
    ];
    for push in pushes {
        let mut column = Column::scalar(ColumnType::I64, Value::I64(1)).unwrap();
        let pushed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| push(&mut column)));
        assert!(pushed.is_err());
        assert_eq!(column.rows(), 1);
    }
}

#[test]
fn a_scalar_has_one_row() {
    for rows in [0, 2] {
        let mut column = Column::new(ColumnType::Bool);
        (0..rows).for_each(|_| column.push_bool(true));
        assert!(std::panic::catch_unwind(move || column.make_scalar()).is_err());
    }
}

/// Values compare by their bits.
#[test]
fn equality_is_of_bits() {
    let nan = f64::from_bits(0x7ff8_0000_0000_0001);
    assert_eq!(Value::F64(nan), Value::F64(nan));
    assert_ne!(Value::F64(nan), Value::F64(f64::NAN));
    assert_ne!(Value::F64(0.0), Value::F64(-0.0));
    assert_ne!(Value::F32(0.0), Value::F32(-0.0));
    assert_ne!(Value::Vector(&[0.0]), Value::Vector(&[-0.0]));
    assert_ne!(Value::Vector(&[]), Value::Vector(&[0.0]));
    assert_ne!(Value::I64(1), Value::Timestamp(1));
    assert_ne!(Value::Null, Value::I64(0));
}

#[test]
fn nan_becomes_canonical() {
    let mut column = Column::new(ColumnType::F64);
    for bits in [
        u64::MAX,
        0x7ff0_0000_0000_0001,
        0xfff8_0000_0000_0000,
        0x7ff8_0000_0000_0000,
    ] {
        column.push_f64(f64::from_bits(bits));
    }
    assert!((0..4).all(|row| column.view().f64(row).to_bits() == 0x7ff8_0000_0000_0000));
    let mut column = Column::new(ColumnType::Vector(2));
    column.push_vector(&[f32::from_bits(u32::MAX), f32::from_bits(0x7f80_0001)]);
    assert!(column.view().vector(0).iter().all(|v| v.to_bits() == 0x7fc0_0000));
    let mut column = Column::new(ColumnType::F32);
    column.push_f32(f32::from_bits(0xffc0_0001));
    assert_eq!(column.view().f32(0).to_bits(), 0x7fc0_0000);
    // Infinities and subnormals are not touched.
    for value in [f64::INFINITY, f64::NEG_INFINITY, f64::from_bits(1), -0.0] {
        assert_eq!(crate::canonical_f64(value).to_bits(), value.to_bits());
    }
}
