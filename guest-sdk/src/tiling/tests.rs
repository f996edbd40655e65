use super::*;

const fn window(length_us: i64, hop_us: i64) -> WindowMeta {
    WindowMeta {
        name: "w",
        length_us,
        hop_us,
    }
}

/// The widths of the tiles and how far each reaches back, whatever the order and number of the windows.
#[test]
fn windows_of_a_hop_share_a_level() {
    let windows = [
        window(60, 10),
        window(5, 0),
        window(20, 1),
        window(90, 10),
        window(30, 10),
        window(7, 7),
    ];
    let mut layout = String::new();
    Tiling::of(&windows).layout(&mut layout);
    assert_eq!(layout, ";20/1;7/7;90/10");
    let mut coarse = String::new();
    Tiling::of(&windows[3..]).layout(&mut coarse);
    assert_eq!(coarse, ";7/7;90/10");
}

/// Where the cells with these events begin after an event at `last`, in microseconds.
fn check(windows: &[WindowMeta], last: i64, events: &[i64], expected: &[Option<i64>]) {
    let tiling = Tiling::of(windows);
    let reach = tiling.reach(last);
    let cell = |time: &i64| {
        let place = tiling.place(*time);
        let cell = reach.cell(place);
        // Of what was narrower it is the same.
        assert_eq!(cell, reach.cell(tiling.narrowest_cell(place)));
        assert_eq!(cell, cell.and_then(|cell| reach.cell(cell)));
        cell.map(|cell| tiling.time_us(cell))
    };
    let cells: Vec<Option<i64>> = events.iter().map(cell).collect();
    assert_eq!(cells, expected, "of {windows:?} after {last}");
}

#[test]
fn cells_are_as_narrow_as_windows_reach() {
    let nested = [window(60, 10), window(600, 100)];
    check(
        &nested,
        1_234,
        // From 1,171 back the tail of 60 moves to 1,170, that of 600 from 635 to 600.
        &[1_234, 1_171, 1_169, 1_100, 1_099, 600, 599],
        &[
            Some(1_230),
            Some(1_170),
            Some(1_100),
            Some(1_100),
            Some(1_000),
            Some(600),
            None,
        ],
    );
    // Hops that do not nest: a cell begins at whichever is later.
    check(
        &[window(20, 7), window(30, 10)],
        50,
        &[50, 49, 48, 40, 39, 35, 34, 30, 28, 27, 20, 19],
        &[
            Some(50),
            Some(49),
            Some(42),
            Some(40),
            Some(35),
            Some(35),
            Some(30),
            Some(30),
            Some(28),
            Some(20),
            Some(20),
            None,
        ],
    );
    // An exact tail keeps every instant.
    check(
        &[window(5, 0)],
        -3,
        &[-3, -4, -7, -8],
        &[Some(-3), Some(-4), Some(-7), None],
    );
}

#[test]
fn the_ends_of_time_have_cells() {
    for hop in [0, 1, 7, 300_000_000] {
        for last in [i64::MIN, i64::MIN + 1, i64::MAX] {
            let tiling = Tiling::of(&[window(i64::MAX, hop), window(3_600_000_000, 3_600_000_000)]);
            let reach = tiling.reach(last);
            let place = tiling.place(last);
            let cell = reach.cell(place).expect("the last event is in sight");
            assert_eq!(reach.cell(cell), Some(cell), "{hop} {last}");
            let tail = tiling.tail(&window(i64::MAX, hop), last.saturating_add(1));
            assert!(cell >= tail, "{hop} {last}");
        }
    }
}
