use super::*;

#[test]
fn status_of_a_found_row() {
    let cases = [
        // event time, ttl, at, status
        (10, None, 10, Status::Present),
        (10, None, 9, Status::Future),
        (10, Some(5), 9, Status::Future),
        (10, Some(5), 15, Status::Present),
        (10, Some(5), 16, Status::Expired),
        (10, Some(0), 10, Status::Present),
        (i64::MIN, Some(0), i64::MAX, Status::Expired),
        (i64::MAX, None, i64::MIN, Status::Future),
    ];
    for (event_time, ttl, at, status) in cases {
        assert_eq!(
            row_status(EventTime(event_time), ttl.map(Ttl::from_micros), EventTime(at)),
            status,
            "{event_time} {ttl:?} {at}"
        );
    }
}

/// Numbers and names are in logs and metrics.
#[test]
fn numbers_and_names_are_fixed() {
    let names = Status::ALL.map(|status| (status as u8, status.name()));
    let expected = [
        (0, "present"),
        (1, "null"),
        (2, "not_found"),
        (3, "outside_ttl"),
        (4, "future"),
        (5, "failed"),
        (6, "defaulted"),
        (7, "stale"),
    ];
    assert_eq!(names, expected);
    let present: Vec<Status> = Status::ALL.into_iter().filter(|status| status.is_present()).collect();
    assert_eq!(present, [Status::Present, Status::Defaulted]);
}
