use crate::Timestamp;

const HOUR: i64 = 3_600_000_000;
const DAY: i64 = 24 * HOUR;

#[test]
fn calendar_of_known_instants() {
    for (what, micros, hour, day_of_week, midnight) in [
        ("1970-01-01T00:00:00Z, a Thursday", 0, 0, 3, 0),
        ("one microsecond before", -1, 23, 2, -DAY),
        ("1970-01-01T23:59:59.999999Z", DAY - 1, 23, 3, 0),
        ("1970-01-05T00:00:00Z, the first Monday", 4 * DAY, 0, 0, 4 * DAY),
        ("1969-12-28T12:00:00Z, a Sunday", -4 * DAY + 12 * HOUR, 12, 6, -4 * DAY),
        (
            "2000-02-29T06:30:00Z, a Tuesday",
            951_805_800_000_000,
            6,
            1,
            951_782_400_000_000,
        ),
        (
            "2024-01-15T10:00:00Z, a Monday",
            1_705_312_800_000_000,
            10,
            0,
            1_705_276_800_000_000,
        ),
        (
            "2024-12-31T23:59:59Z, a Tuesday",
            1_735_689_599_000_000,
            23,
            1,
            1_735_603_200_000_000,
        ),
        (
            "2038-01-19T03:14:08Z, a Tuesday",
            2_147_483_648_000_000,
            3,
            1,
            2_147_472_000_000_000,
        ),
        (
            "1900-01-01T00:00:00Z, a Monday",
            -2_208_988_800_000_000,
            0,
            0,
            -2_208_988_800_000_000,
        ),
    ] {
        let time = Timestamp::from_micros(micros);
        assert_eq!(time.as_micros(), micros);
        assert_eq!((time.hour(), time.day_of_week()), (hour, day_of_week), "{what}");
        assert_eq!(time.midnight(), Timestamp::from_micros(midnight), "{what}");
    }
}

#[test]
fn the_ends_of_time_have_a_calendar() {
    for micros in [i64::MIN, i64::MIN + 1, i64::MAX] {
        let time = Timestamp::from_micros(micros);
        assert!((0..24).contains(&time.hour()) && (0..7).contains(&time.day_of_week()));
        assert!(time.midnight() <= time);
    }
}
