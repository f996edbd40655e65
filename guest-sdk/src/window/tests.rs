use super::*;

const HOUR: i64 = 3_600_000_000;

#[test]
fn texts_are_windows() {
    for (text, name, length_us, hop_us) in [
        ("1h", "1h", HOUR, 0),
        ("1h/5m", "1h", HOUR, 300_000_000),
        ("7d/1h", "7d", 168 * HOUR, HOUR),
        ("1d12h/12h", "1d12h", 36 * HOUR, 12 * HOUR),
        ("250ms", "250ms", 250_000, 0),
        ("90s/1s500ms", "90s", 90_000_000, 1_500_000),
        ("1m1ms", "1m1ms", 60_001_000, 0),
        ("1h/0s", "1h", HOUR, 0),
        ("1h/1h", "1h", HOUR, HOUR),
        ("007h", "007h", 7 * HOUR, 0),
        ("106751991d", "106751991d", 106_751_991 * 24 * HOUR, 0),
    ] {
        let expected = WindowMeta {
            name,
            length_us,
            hop_us,
        };
        assert_eq!(parse_windows([text]), [expected], "{text}");
    }
    assert_eq!(parse_windows([]), []);
    let [hour, day] = parse_windows(["1h", "60m/1m"]);
    assert_eq!((hour.length_us, day.name), (day.length_us, "60m"));
}

/// At compile time a panic is an error: see tests/compile_errors.
#[test]
fn other_texts_are_refused() {
    let refused = |texts: &'static [&'static str], reason: &str| {
        let parsed = std::panic::catch_unwind(|| match texts {
            [one] => _ = parse_windows([*one]),
            [one, two] => _ = parse_windows([*one, *two]),
            _ => unreachable!(),
        });
        let message = parsed.unwrap_err();
        let message = message.downcast_ref::<&str>().map(|text| (*text).to_owned());
        assert!(
            message.as_deref().is_some_and(|message| message.contains(reason)),
            "{texts:?}: {message:?}"
        );
    };
    for text in [&[""], &["/5m"], &["1h/"]] {
        refused(text, "a window is a length such as `1h`");
    }
    for text in [
        &["1"],
        &["h"],
        &["1h30"],
        &["-1h"],
        &[" 1h"],
        &["1h/-5m"],
        &["1h5m/5m/1m"],
    ] {
        refused(text, "a length is numbers and units");
    }
    for text in [&["1w"], &["1H"], &["1us"], &["1 h"], &["1.5h"]] {
        refused(text, "the units of a length are");
    }
    for text in [&["0h"], &["0ms/0ms"]] {
        refused(text, "longer than 0");
    }
    refused(&["1h/61m"], "a hop is not longer than its window");
    refused(&["1h", "1h"], "the same length");
    refused(&["1h/5m", "1h/10m"], "the same length");
    for text in [
        &["106751992d"],
        &["9223372036854775808s"],
        &["1h99999999999999999999ms"],
        &["106751991d5h"],
    ] {
        refused(text, "a length is at most");
    }
}

#[test]
fn the_tail_is_floored_to_the_hop() {
    let window = |length_us, hop_us| WindowMeta {
        name: "w",
        length_us,
        hop_us,
    };
    for (length_us, hop_us, t, tail_us) in [
        // Exact.
        (10, 0, 100, 90),
        (10, 0, 5, -5),
        (10, 0, i64::MIN + 3, i64::MIN),
        (i64::MAX, 0, -5, i64::MIN),
        // Moved back to a multiple of the hop, also before 1970.
        (10, 10, 20, 10),
        (10, 10, 19, 0),
        (10, 10, 21, 10),
        (10, 10, 10, 0),
        (10, 10, 9, -10),
        (10, 10, 0, -10),
        (10, 10, -1, -20),
        (25, 10, 100, 70),
        (25, 10, 24, -10),
        (7, 7, 13, 0),
        (7, 7, 14, 7),
        (7, 3, -1, -9),
        (HOUR, HOUR / 12, 13 * HOUR + 1, 12 * HOUR),
    ] {
        let window = window(length_us, hop_us);
        assert_eq!(
            window.first_tile(t) * window.tile_us(),
            tail_us,
            "{length_us}/{hop_us} at {t}"
        );
    }
    // The floor of the least time is beyond i64; its tile is not.
    assert_eq!(window(10, 10).first_tile(i64::MIN), i64::MIN.div_euclid(10));
}
