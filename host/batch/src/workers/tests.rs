use std::sync::atomic::AtomicU64;

use super::*;

#[test]
fn every_task_runs_once() {
    for (threads, tasks) in [(1, 0), (1, 3), (4, 1), (4, 1_000)] {
        let sum = AtomicU64::new(0);
        let done: Result<(), ()> = for_each(
            threads,
            tasks,
            || Ok(()),
            |(), task| {
                sum.fetch_add(task as u64 + 1, Ordering::Relaxed);
                Ok(())
            },
        );
        assert_eq!(done, Ok(()));
        assert_eq!(sum.into_inner(), (tasks * (tasks + 1) / 2) as u64);
    }
}

#[test]
fn the_first_task_that_fails_gives_the_error() {
    for _ in 0..50 {
        let done = for_each(
            4,
            100,
            || Ok(()),
            |(), task| if 10 <= task { Err(task) } else { Ok(()) },
        );
        assert_eq!(done, Err(10));
    }
}

#[test]
fn what_is_made_is_handed_over_in_order() {
    for threads in [1, 4] {
        let mut seen = Vec::new();
        let done: Result<(), ()> = for_each_in_order(
            threads,
            500,
            || Ok(()),
            |(), task| Ok(task),
            |made| {
                seen.push(made);
                Ok(())
            },
        );
        assert_eq!(done, Ok(()));
        assert!(seen.iter().copied().eq(0..500));
    }
}

#[test]
fn an_error_ends_those_that_wait() {
    let fails = |task| if task == 3 { Err(task) } else { Ok(task) };
    assert_eq!(
        for_each_in_order(4, 100, || Ok(()), |(), task| fails(task), |_| Ok(())),
        Err(3)
    );
    let consume = |made| fails(made).map(drop);
    assert_eq!(
        for_each_in_order(4, 100, || Ok(()), |(), task| Ok(task), consume),
        Err(3)
    );
}
