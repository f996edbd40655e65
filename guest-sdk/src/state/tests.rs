use proptest::prelude::*;

use super::*;

fn varint(bytes: &[u8]) -> Result<u128, StateError> {
    let mut reader = StateReader::new(bytes);
    let number = reader.varint()?;
    reader.end()?;
    Ok(number)
}

#[test]
fn varints_are_these_bytes() {
    for (number, bytes) in [
        (0_u128, &[0][..]),
        (1, &[1]),
        (127, &[127]),
        (128, &[0x80, 1]),
        (300, &[0xac, 2]),
        (16_383, &[0xff, 0x7f]),
        (16_384, &[0x80, 0x80, 1]),
        (
            u64::MAX.into(),
            &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1],
        ),
        (
            1 << 126,
            &[
                0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80,
                0x80, 1,
            ],
        ),
        (
            u128::MAX,
            &[
                0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
                0xff, 3,
            ],
        ),
    ] {
        let mut written = Vec::new();
        push_varint(&mut written, number);
        assert_eq!(written, bytes);
        assert_eq!(varint(bytes), Ok(number));
        for len in 0..bytes.len() {
            assert_eq!(varint(&bytes[..len]), Err(StateError::Damaged));
        }
    }
}

#[test]
fn other_varints_are_refused() {
    let continued = |count: usize, last: u8| {
        let mut bytes = vec![0x80; count];
        bytes.push(last);
        bytes
    };
    for bytes in [
        // Longer than they need be.
        vec![0x80, 0],
        vec![0xff, 0],
        vec![0x80, 0x80, 0],
        continued(18, 0),
        // Beyond 128 bits.
        continued(18, 4),
        continued(18, 0x7f),
        continued(19, 1),
        vec![0xff; 19],
        vec![0xff; 1000],
        // Something behind.
        vec![1, 0],
    ] {
        assert_eq!(varint(&bytes), Err(StateError::Damaged), "{bytes:x?}");
    }
    let mut beyond = Vec::new();
    push_varint(&mut beyond, u128::from(u64::MAX) + 1);
    assert_eq!(StateReader::new(&beyond).u64(), Err(StateError::Damaged));
    assert_eq!(StateReader::new(&beyond).varint(), Ok(1 << 64));
}

#[test]
fn zigzag_keeps_small_numbers_small() {
    for (number, code) in [
        (0, 0),
        (-1, 1),
        (1, 2),
        (-2, 3),
        (i128::MAX, u128::MAX - 1),
        (i128::MIN, u128::MAX),
    ] {
        assert_eq!((zigzag(number), unzigzag(code)), (code, number));
    }
}

#[test]
fn a_reader_ends_where_its_bytes_do() {
    let mut reader = StateReader::new(&[1, 2, 3, 4]);
    assert_eq!((reader.byte(), reader.array()), (Ok(1), Ok([2, 3])));
    assert_eq!(reader.end(), Err(StateError::Damaged));
    assert_eq!(reader.array::<2>(), Err(StateError::Damaged));
    // A refused read takes nothing.
    assert_eq!((reader.byte(), reader.end()), (Ok(4), Ok(())));
    assert_eq!(
        (reader.byte(), reader.varint()),
        (Err(StateError::Damaged), Err(StateError::Damaged))
    );
}

/// Work and bytes are counted: an event is added to one tile, and a state that is kept up for years stays as large as its window.
#[test]
fn a_day_costs_a_window_of_ninety_the_events_of_a_day() {
    const DAY_US: i64 = 86_400_000_000;
    const EVENTS: i64 = 40;
    let [window] = crate::window::parse_windows(["90d/1d"]);
    let tiling = Tiling::of(&[window]);
    let mut state: State<crate::accumulate::Count> = State::new();
    let mut bytes_of_day = Vec::new();
    for day in 0..400 {
        let added = core::cell::Cell::new(0);
        for event in 0..EVENTS {
            let time = Timestamp::from_micros(day * DAY_US + event * 1_000_000);
            state.add(&tiling, time, |totals| {
                added.set(added.get() + 1);
                crate::accumulate::Accumulate::add(totals, time, ());
            });
        }
        state.settle(&tiling);
        assert_eq!(added.get(), EVENTS, "of day {day}");
        let tiles = state.totals_from_each().len() as u64;
        assert_eq!(tiles, (day as u64 + 1).min(91), "today and what ninety days cover");
        assert!(Some(tiles) <= window.max_tiles());
        let t = Timestamp::from_micros(day * DAY_US + DAY_US / 2);
        let in_window = state.totals(&tiling, &window, t).value();
        assert_eq!(in_window, EVENTS * (day + 1).min(91), "of day {day}");
        let mut bytes = Vec::new();
        state.encode(&tiling, 1, t, &mut bytes);
        bytes_of_day.push(bytes.len());
    }
    assert!(
        bytes_of_day[90..]
            .iter()
            .all(|bytes| bytes.abs_diff(bytes_of_day[90]) <= 1),
        "but for the number of the first tile: {bytes_of_day:?}"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(5_000))]

    /// Every number has one varint: what is read is what would have been written.
    #[test]
    fn varints_are_canonical(number in any::<u128>(), shift in 0_u32..128, bytes in prop::collection::vec(any::<u8>(), 0..22)) {
        let number = number >> shift;
        let mut written = Vec::new();
        push_varint(&mut written, number);
        prop_assert_eq!(varint(&written), Ok(number));
        prop_assert_eq!(unzigzag(zigzag(number.cast_signed())), number.cast_signed());
        if let Ok(number) = varint(&bytes) {
            let mut again = Vec::new();
            push_varint(&mut again, number);
            prop_assert_eq!(again, bytes);
        }
    }
}
