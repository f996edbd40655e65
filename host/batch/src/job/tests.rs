use super::*;

fn job() -> Job {
    let stamp = |path: &str| InputStamp {
        path: path.into(),
        bytes: 7,
        modified_ns: Some(5),
        tag: None,
    };
    Job {
        question: BTreeMap::from([("the lag".to_owned(), "0 us".to_owned())]),
        definitions: Some(Digest::of(b"definitions")),
        modules: BTreeMap::from([("ctr".to_owned(), Digest::of(b"ctr"))]),
        inputs: vec![stamp("a"), stamp("b")],
        version: "1".to_owned(),
        overwrite: false,
    }
}

#[track_caller]
fn check(change: impl FnOnce(&mut Job), expected: &[&str]) {
    let before = job();
    let mut after = job();
    change(&mut after);
    assert_eq!(before.differences(&after), expected);
    assert_eq!(before.digest() == after.digest(), expected.is_empty());
}

#[test]
fn what_differs_is_named() {
    check(|_| (), &[]);
    check(|job| job.overwrite = true, &[]);
    check(
        |job| drop(job.question.insert("the lag".to_owned(), "5 us".to_owned())),
        &["the lag was 0 us, now it is 5 us"],
    );
    check(
        |job| job.definitions = None,
        &["the project defines something differently"],
    );
    check(
        |job| {
            job.modules.insert("ctr".to_owned(), Digest::of(b"other"));
        },
        &["module `ctr` is another"],
    );
    check(|job| job.modules.clear(), &["module `ctr` is another"]);
    check(
        |job| job.inputs[1].modified_ns = Some(6),
        &["b was written since, or is another file"],
    );
    check(
        |job| drop(job.inputs.pop()),
        &["b was written since, or is another file"],
    );
    check(
        |job| job.version = "2".to_owned(),
        &["it was begun by version 1, this is 2"],
    );
}
