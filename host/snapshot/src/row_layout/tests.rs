use super::*;

fn layout(types: &[ColumnType]) -> RowLayout {
    let columns: Vec<_> = types.iter().map(|t| FeatureColumn::new("f", *t)).collect();
    RowLayout::new(&columns, 9).unwrap()
}

/// The places of values are part of the format.
#[test]
fn values_are_placed_by_alignment_then_in_order() {
    let layout = layout(&[
        ColumnType::Bool,
        ColumnType::F32,
        ColumnType::F64,
        ColumnType::Vector(3),
        ColumnType::String,
        ColumnType::Bool,
    ]);
    let offsets: Vec<_> = layout.slots.iter().map(|slot| slot.offset).collect();
    assert_eq!(layout.flags_offset(), 17);
    assert_eq!(offsets, [56, 40, 24, 44, 32, 57]);
    assert_eq!((layout.used_bytes, layout.row_bytes()), (58, 64));
}

/// The f64s of features.
fn f64s<'a>(layout: &RowLayout, row: &'a [u8], features: Range<usize>) -> &'a [f64] {
    layout.run(row, features, ColumnType::F64)
}

#[test]
fn f64s_are_read_together_up_to_another_type() {
    use ColumnType::{Bool, F64, I64};

    let layout = layout(&[F64, F64, Bool, F64, I64, F64]);
    // The words of a row after event time, key, flags and presence bits; a bool is behind them and parts the runs all the same.
    let mut row = rkyv::util::AlignedVec::<8>::new();
    row.resize(layout.row_bytes(), 0);
    for (feature, value) in [(0, 0.5), (1, 1.5), (3, 3.5), (5, 5.5)] {
        assert!(layout.put_value(&mut row, &mut Vec::new(), feature, &Value::F64(value)));
    }
    assert_eq!(f64s(&layout, &row, 0..2), [0.5, 1.5]);
    assert_eq!(f64s(&layout, &row, 1..2), [1.5]);
    assert_eq!(f64s(&layout, &row, 3..4), [3.5]);
    assert_eq!(f64s(&layout, &row, 5..6), [5.5]);
    assert_eq!(f64s(&layout, &row, 9..9), [0.0; 0]);
    for wrong in [0..3, 1..4, 2..3, 3..5, 4..6, 5..7, 6..7] {
        let read = std::panic::catch_unwind(|| f64s(&layout, &row, wrong.clone()).len());
        assert!(read.is_err(), "{wrong:?}");
    }
}

#[test]
fn null_bits_are_those_of_the_features_that_are_null() {
    for count in [1, 7, 27, 63, 64, 65, 130] {
        let layout = layout(&vec![ColumnType::Bool; count]);
        let mut row = vec![0; layout.row_bytes()];
        let is_null = |feature: usize| feature % 5 == 2 || feature == 64;
        for feature in (0..count).filter(|feature| !is_null(*feature)) {
            assert!(layout.put_value(&mut row, &mut Vec::new(), feature, &Value::Bool(true)));
        }
        for word in 0..4 {
            let expected = (64 * word..count.min(64 * word + 64))
                .filter(|feature| is_null(*feature))
                .fold(0_u64, |bits, feature| bits | 1 << (feature % 64));
            assert_eq!(layout.null_bits(&row, word), expected, "word {word} of {count}");
        }
    }
}

#[test]
fn presence_takes_a_byte_for_8_features() {
    for (features, row_bytes) in [(0, 24), (1, 32), (48, 24 + 48), (49, 32 + 56), (112, 32 + 112)] {
        assert_eq!(
            layout(&vec![ColumnType::Bool; features]).row_bytes(),
            row_bytes,
            "{features}"
        );
    }
}

#[test]
fn an_extent_is_40_bits_and_24_bits() {
    for extent in [
        Extent::default(),
        Extent { offset: 1, len: 2 },
        Extent {
            offset: Extent::MAX_OFFSET - 1,
            len: (1 << 24) - 1,
        },
    ] {
        assert_eq!(Extent::unpack(u64::from_le_bytes(extent.pack())), extent);
    }
    assert_eq!(
        Extent {
            offset: 0x01_0203,
            len: 0x04_05
        }
        .pack(),
        [3, 2, 1, 0, 0, 5, 4, 0]
    );
    assert_eq!(
        Extent {
            offset: u32::MAX.into(),
            len: u32::MAX
        }
        .slice(b"abc"),
        b""
    );
}
