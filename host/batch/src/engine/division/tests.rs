use super::*;

#[test]
fn a_share_is_divided_where_its_times_say() {
    let division = Division::new(1, [vec![], vec![10, 20]]);
    assert_eq!(division.parts(), 4);
    assert_eq!((division.parts_of(0), division.parts_of(1)), (0..1, 1..4));
    let part = |word, time| division.part(division.share(word), || time);
    assert_eq!(part(0, i64::MAX), 0);
    let times = [i64::MIN, 9, 10, 19, 20, i64::MAX];
    assert_eq!(times.map(|time| part(u64::MAX, time)), [1, 1, 2, 2, 3, 3]);
    assert_eq!(Division::new(0, [vec![]]).share(u64::MAX), 0);
}

#[test]
fn slices_are_of_one_size_as_far_as_times_allow() {
    assert_eq!(quantiles((0..100).rev().collect(), 4), [25, 50, 75]);
    assert_eq!(quantiles(vec![7; 100], 4), Vec::<i64>::new());
    assert_eq!(quantiles([vec![1], vec![7; 99]].concat(), 4), [7]);
    assert_eq!(quantiles(Vec::new(), 4), Vec::<i64>::new());
    assert_eq!(quantiles(vec![1, 2], 8), [2]);
}
