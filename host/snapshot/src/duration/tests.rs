use proptest::prelude::*;

use super::*;

#[test]
fn texts_and_their_durations() {
    let cases = [
        ("30d", 30 * 86_400_000_000),
        ("12h", 12 * 3_600_000_000),
        ("5m", 300_000_000),
        ("10s", 10_000_000),
        ("250ms", 250_000),
        ("10us", 10),
        ("3d9h", 81 * 3_600_000_000),
        ("1d2h3m4s5ms6us", 93_784_005_006),
        ("90m", 5_400_000_000),
        ("0s", 0),
        ("18446744073709551615us", u64::MAX),
    ];
    for (text, micros) in cases {
        assert_eq!(parse_duration_us(text), Ok(micros), "{text}");
    }
}

#[test]
fn texts_that_are_not_durations() {
    let cases = [
        "",
        "d",
        "30",
        "30D",
        "30 d",
        " 30d",
        "30d ",
        "-1d",
        "+1d",
        "1.5h",
        "9h3d",
        "1h1h",
        "1w",
        "1y",
        "1d2",
        "1µs",
        "1msus",
        "18446744073709551616us",
        "213503983d",
        "213503982d8h2m",
        "1dd",
        "0x1s",
        "٣d",
    ];
    for text in cases {
        let error = parse_duration_us(text).unwrap_err();
        assert!(error.to_string().starts_with(&format!("`{text}` is not")));
    }
}

proptest! {
    #[test]
    fn any_duration_is_read_back(micros: u64) {
        prop_assert_eq!(parse_duration_us(&format_duration_us(micros)), Ok(micros));
    }

    #[test]
    fn any_text_is_read_without_a_panic(text in "[0-9dhmsu٣ ]{0,30}") {
        let _ = parse_duration_us(&text);
    }
}
