use super::*;

#[test]
fn a_duration_is_in_the_first_bucket_that_it_is_not_beyond() {
    let bounds: Vec<u64> = Histogram::new(100).bounds_ns().collect();
    assert_eq!((bounds[0], bounds[1], bounds[17]), (100, 200, 13_107_200));
    for ns in (0..500).chain(bounds.iter().flat_map(|bound| [bound - 1, *bound, bound + 1])) {
        let expected = bounds.iter().position(|bound| ns <= *bound).unwrap_or(BUCKETS);
        assert_eq!(bucket(ns, 100), expected, "{ns} ns");
    }
    assert_eq!(bucket(u64::MAX, 100), BUCKETS);
}

#[test]
fn what_is_recorded_is_read_and_added() {
    let recorder = Recorder::new(100);
    for ns in [50, 150, 150, 1 << 40] {
        recorder.record(Duration::from_nanos(ns));
    }
    let mut read = recorder.read();
    assert_eq!((read.counts[0], read.counts[1], read.counts[BUCKETS]), (1, 2, 1));
    assert_eq!((read.count(), read.sum_ns), (4, 350 + (1 << 40)));
    read.add(&recorder.read());
    assert_eq!((read.count(), read.sum_ns), (8, 700 + (1 << 41)));
}
