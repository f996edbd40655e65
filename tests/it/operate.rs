//! What an operator does with a host: pin, roll back, revoke, look at its health, and leave it alone.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use unskew::{
    ActivateError, Backing, EntityKey, EvaluateError, Host, HostOptions, KeyPart, LookupError, NotReady, Refresh,
    Status, Value,
};
use unskew_batch::Project;
use unskew_tests::{Fixture, chain, patient};

use crate::host::{PROJECT, fixture, serve, watermark};
use crate::refused::{flip, rewrite};

/// Generations 1 to `count`, of which the last is current.
fn published(count: i64) -> Fixture {
    let fixture = fixture();
    (1..=count).for_each(|number| assert_eq!(fixture.publish(watermark(number)), number as u64));
    fixture
}

fn open(fixture: &Fixture, options: HostOptions) -> Host {
    Host::open(fixture.store.root(), options).unwrap_or_else(|error| panic!("{}", chain(&error)))
}

fn set_current(fixture: &Fixture, number: u64) {
    let draft = fixture.store.root().join("current.new");
    fs::write(&draft, format!("{number}\n")).expect("the store can be written");
    fs::rename(draft, fixture.store.current_path()).expect("a file can be renamed");
}

/// Waits for what another thread does; a minute stands for never.
pub fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < Duration::from_secs(60), "{what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// What becomes of a request at `hours` after the snapshots' watermark, whose view `second` may be three hours old.
fn stale(when_stale: &str, hours: i64) -> Result<Vec<(Status, bool)>, EvaluateError> {
    let host = stale_after_three_hours(when_stale).host();
    let mut request = host
        .service("model")
        .expect("it is published")
        .request(watermark(2 + hours));
    request.push_candidate(&[Value::I64(1)]).expect("a candidate");
    let mut session = host.session();
    let features = session.evaluate(&request)?;
    let fate = |feature| (features.status(0, feature), features.value(0, feature).is_null());
    Ok((0..features.width()).map(fate).collect())
}

fn stale_after_three_hours(when_stale: &str) -> Fixture {
    let mut fixture = fixture();
    let limited = r#"features = [{ name = "number", type = "i64" }, { name = "label", type = "string" }]"#;
    let policy = format!("{limited}\nmax_age = \"3h\"\n{when_stale}");
    let aggregate = r#"module = "ctr-history""#;
    let text = PROJECT.replace(limited, &policy);
    let text = text.replace(aggregate, &format!("{aggregate}\nmax_age = \"3h\"\n{when_stale}"));
    fixture.project = Project::parse(&fixture.path("unskew.toml"), &text).expect("a good project");
    fixture.publish(watermark(2));
    fixture
}

#[test]
fn a_view_says_what_happens_when_its_snapshot_is_too_old() {
    let present = vec![(Status::Present, false); 3];
    let fail = r#"when_stale = "fail""#;
    let missing = r#"when_stale = "missing""#;
    // Three hours are not more than three hours.
    for policy in ["", r#"when_stale = "serve""#, missing, fail] {
        assert_eq!(stale(policy, 3).as_ref(), Ok(&present), "{policy}");
    }
    for policy in ["", r#"when_stale = "serve""#] {
        assert_eq!(stale(policy, 9).as_ref(), Ok(&present), "{policy}");
    }
    let gone = (Status::Stale, true);
    assert_eq!(stale(missing, 4), Ok(vec![(Status::Present, false), gone, gone]));
    let error = stale(fail, 4).expect_err("it says that requests fail");
    let fixture = stale_after_three_hours(fail);
    let host = fixture.host();
    assert_eq!(host.health().watermarks["second"], watermark(2));
    assert_eq!(host.ready(watermark(5)), Ok(()));
    let not_ready = host.ready(watermark(6)).expect_err("its requests fail");
    assert_eq!(not_ready.to_string(), format!("service `model`: {error}"));
    let tolerant = stale_after_three_hours(missing).host();
    assert_eq!(tolerant.ready(watermark(6)), Ok(()));
    assert_eq!(
        error.to_string(),
        "the snapshot of view `second` is 14400 s older than the request, beyond 10800 s: publish a newer one"
    );
}

fn served(host: &Host) -> u64 {
    let (values, generation) = serve(host);
    assert_eq!(
        values,
        vec![generation as i64; 12],
        "code and data are of one generation"
    );
    assert_eq!(host.current(), generation);
    generation
}

#[test]
fn a_rollback_stays_until_it_is_unpinned() {
    let fixture = published(2);
    set_current(&fixture, 1);
    let host = open(&fixture, patient());
    assert!(matches!(host.rollback(), Err(ActivateError::NothingBefore)));
    set_current(&fixture, 2);
    host.refresh().expect("it is whole");
    assert_eq!((served(&host), host.health().resident), (2, vec![1, 2]));

    assert_eq!(host.rollback().expect("1 is in memory"), 1);
    assert_eq!((served(&host), host.is_pinned()), (1, true));
    assert!(host.is_up_to_date(), "it is meant");
    assert!(
        matches!(host.rollback(), Err(ActivateError::NothingBefore)),
        "further back"
    );
    assert_eq!(host.refresh().expect("nothing fails"), Refresh::Held(2));
    assert_eq!((served(&host), host.latest_seen()), (1, 2));
    host.unpin();
    assert_eq!((served(&host), host.is_pinned()), (1, false));
    assert_eq!(host.refresh().expect("it is whole"), Refresh::Activated(2));
    assert_eq!(served(&host), 2);
}

#[test]
fn a_pinned_generation_comes_from_the_store_and_holds() {
    let fixture = published(3);
    let host = open(&fixture, patient());
    host.pin(1).expect("it is in the store");
    assert_eq!(served(&host), 1);
    let error = chain(&host.pin(7).expect_err("there is none"));
    assert!(error.contains("000000000007.json"), "{error}");
    assert_eq!(
        (served(&host), host.health().pinned),
        (1, Some(1)),
        "a pin that fails changes nothing"
    );
    assert_eq!(host.refresh().expect("nothing fails"), Refresh::Held(3));
    host.pin(3).expect("it is in memory");
    assert_eq!(served(&host), 3);
}

#[test]
fn a_revoked_generation_never_comes_back() {
    let fixture = published(3);
    set_current(&fixture, 1);
    let host = open(&fixture, patient());
    host.pin(1).expect("it is served");
    host.revoke(1).expect_err("there is no other to serve");
    assert_eq!(host.ready(watermark(20)), Err(NotReady::Revoked { generation: 1 }));
    assert_eq!((served(&host), host.is_pinned()), (1, false), "serving goes on");
    set_current(&fixture, 2);
    host.refresh().expect("it is whole");
    set_current(&fixture, 3);
    host.refresh().expect("it is whole");

    host.revoke(3).expect("2 is in memory");
    assert_eq!((served(&host), host.is_pinned()), (2, false));
    assert_eq!(host.refresh().expect("nothing fails"), Refresh::Held(3));
    assert!(host.is_up_to_date(), "it is meant");
    assert!(matches!(host.pin(3), Err(ActivateError::Revoked { generation: 3 })));
    assert_eq!((served(&host), host.health().revoked), (2, vec![1, 3]));
    fixture.publish(watermark(4));
    assert_eq!(host.refresh().expect("it is whole"), Refresh::Activated(4));
    assert_eq!(served(&host), 4);
}

/// The one before may be about to let go of its directory.
pub fn reopen(fixture: &Fixture, options: &HostOptions) -> Host {
    let mut opened = None;
    wait_until("the directory is free", || {
        match Host::open(fixture.store.root(), options.clone()) {
            Ok(host) => opened = Some(host),
            Err(error) => assert!(chain(&error).contains("another host"), "{}", chain(&error)),
        }
        opened.is_some()
    });
    opened.expect("it is open")
}

#[test]
fn what_an_operator_decided_outlives_a_restart() {
    let fixture = published(3);
    set_current(&fixture, 2);
    let options = HostOptions {
        state_dir: Some(fixture.path("state")),
        ..patient()
    };
    let host = open(&fixture, options.clone());
    let error = Host::open(fixture.store.root(), options.clone()).expect_err("the directory is taken");
    assert!(chain(&error).contains("another host"), "{error}");
    set_current(&fixture, 3);
    host.refresh().expect("it is whole");
    host.rollback().expect("2 is in memory");
    drop(host);
    let host = reopen(&fixture, &options);
    assert_eq!((served(&host), host.is_pinned(), host.latest_seen()), (2, true, 3));
    host.unpin();
    host.revoke(3).expect("it is not served");
    drop(host);
    let host = reopen(&fixture, &options);
    assert_eq!(
        (served(&host), host.is_pinned(), host.health().revoked),
        (2, false, vec![3])
    );
    assert_eq!(host.refresh().expect("nothing fails"), Refresh::Held(3));
    // Nothing is left to serve: a start does not serve what it never may.
    host.revoke(2).expect_err("nothing is before it");
    drop(host);
    wait_until("the directory is free", || {
        let error = chain(&Host::open(fixture.store.root(), options.clone()).expect_err("all are revoked"));
        assert!(error.contains("revoked") || error.contains("another host"), "{error}");
        error.contains("generation 3 was revoked")
    });
}

/// As on a full disk: the decision holds while the host lives, and health says that it would not hold longer.
#[test]
fn a_decision_that_cannot_be_kept_holds_and_is_told() {
    let fixture = published(2);
    let state = fixture.path("state");
    let options = HostOptions {
        state_dir: Some(state.clone()),
        ..patient()
    };
    let host = open(&fixture, options);
    fs::remove_dir_all(&state).expect("the directory can be removed");
    host.pin(1).expect("it is in the store");
    assert_eq!((served(&host), host.is_pinned()), (1, true));
    let message = host.health().failure.expect("it says so").message;
    assert!(
        message.starts_with("a restart would forget what is pinned"),
        "{message}"
    );
    fs::create_dir(&state).expect("a directory in its place");
    host.unpin();
    assert_eq!(host.health().failure, None);
}

#[test]
fn a_host_follows_its_store() {
    let fixture = published(3);
    set_current(&fixture, 1);
    // Far longer than the test waits: it is the file system that tells.
    let told = open(
        &fixture,
        HostOptions {
            follow: Some(Duration::from_secs(3_600)),
            ..patient()
        },
    );
    let polling = open(
        &fixture,
        HostOptions {
            follow: Some(Duration::from_millis(20)),
            ..patient()
        },
    );
    let alone = open(&fixture, patient());
    set_current(&fixture, 2);
    for host in [&told, &polling] {
        wait_until("generation 2 is served", || host.current() == 2);
        assert_eq!(served(host), 2);
    }
    assert_eq!(served(&alone), 1);

    told.pin(1).expect("it is in the store");
    set_current(&fixture, 3);
    wait_until("generation 3 is seen", || told.latest_seen() == 3);
    assert_eq!(served(&told), 1);
    told.unpin();
    wait_until("generation 3 is served", || told.current() == 3);
}

/// Before the store is read, in between, and when somebody listens: an announcement is never missed, though nothing polls.
#[test]
fn what_is_announced_while_a_host_starts_is_served() {
    const STEPS: u32 = 24;
    let fixture = published(2);
    set_current(&fixture, 1);
    let options = HostOptions {
        follow: Some(Duration::from_secs(3_600)),
        ..patient()
    };
    let start = Instant::now();
    drop(open(&fixture, options.clone()));
    let took = start.elapsed();
    for step in 0..STEPS {
        set_current(&fixture, 1);
        let host = thread::scope(|scope| {
            scope.spawn(|| {
                thread::sleep(took * step / (STEPS - 4));
                set_current(&fixture, 2);
            });
            open(&fixture, options.clone())
        });
        wait_until("generation 2 is served", || host.current() == 2);
        assert_eq!(served(&host), 2);
    }
}

#[test]
fn a_store_that_goes_away_and_comes_back_does_not_show() {
    let fixture = published(2);
    set_current(&fixture, 1);
    let host = open(
        &fixture,
        HostOptions {
            follow: Some(Duration::from_millis(20)),
            ..patient()
        },
    );
    let (root, away) = (fixture.store.root(), fixture.path("away"));
    fs::rename(root, &away).expect("the store can be moved");
    wait_until("it is missed", || host.health().failure.is_some());
    assert_eq!(served(&host), 1);
    assert!(!host.is_up_to_date());
    fs::rename(&away, root).expect("and back");
    set_current(&fixture, 2);
    wait_until("generation 2 is served", || host.current() == 2);
    assert_eq!(host.health().failure, None);
}

#[test]
fn a_start_on_a_damaged_generation_serves_the_last_good_one() {
    let fixture = published(2);
    set_current(&fixture, 1);
    assert_eq!(served(&open(&fixture, patient())), 1);
    set_current(&fixture, 2);
    let manifest = fixture.store.manifest(2).expect("it is whole");
    let path = fixture.store.snapshot_path(&manifest.snapshots["first"].digest);
    rewrite(&path, |bytes| flip(bytes, 500));

    let host = open(&fixture, patient());
    assert_eq!((served(&host), host.latest_seen()), (1, 2));
    host.refresh().expect_err("it is damaged still");
    let failure = host.health().failure.expect("it says why");
    assert_eq!((failure.generation, failure.attempts), (2, 2));
    assert!(
        failure.message.contains(&path.display().to_string()),
        "{}",
        failure.message
    );
    rewrite(&path, |bytes| flip(bytes, 500));
    assert_eq!(host.refresh().expect("it is mended"), Refresh::Activated(2));
    assert_eq!((served(&host), host.is_up_to_date()), (2, true));
}

#[test]
fn a_memory_limit_lets_go_of_what_is_kept_and_then_refuses() {
    let fixture = published(3);
    set_current(&fixture, 1);
    let each = open(&fixture, patient()).health().mapped_bytes;
    // Their sizes differ by a few bytes.
    let limit = |generations: u64| HostOptions {
        memory_bytes: Some(generations * each + each / 2),
        kept_generations: 5,
        ..patient()
    };
    let (one, two) = (open(&fixture, limit(1)), open(&fixture, limit(2)));
    for number in [2, 3] {
        set_current(&fixture, number);
        assert_eq!(two.refresh().expect("there is room"), Refresh::Activated(number));
        let error = one.refresh().expect_err("there is room for one");
        assert!(
            matches!(error, ActivateError::Memory { generation, .. } if generation == number),
            "{error}"
        );
        assert_eq!((served(&one), one.health().resident), (1, vec![1]));
    }
    assert_eq!((served(&two), two.health().resident), (3, vec![2, 3]));
}

#[test]
fn what_is_kept_stays_where_letting_go_wins_nothing() {
    let fixture = published(1);
    let each = open(&fixture, patient()).health().mapped_bytes;
    let options = HostOptions {
        memory_bytes: Some(each + each / 2),
        ..patient()
    };
    let host = open(&fixture, options);
    // The same snapshots again, which take no further memory; then others.
    fixture.publish(watermark(1));
    assert_eq!(host.refresh().expect("it shares all"), Refresh::Activated(2));
    fixture.publish(watermark(2));
    let error = host.refresh().expect_err("there is no room");
    assert!(matches!(error, ActivateError::Memory { generation: 3, .. }), "{error}");
    assert_eq!(host.health().resident, vec![1, 2]);
    assert_eq!(host.rollback().expect("1 is in memory"), 1);
}

#[test]
fn generations_share_what_they_have_in_common() {
    let fixture = published(1);
    let host = open(&fixture, patient());
    let alone = host.health().mapped_bytes;
    fixture.publish(watermark(1));
    assert_eq!(host.refresh().expect("it is whole"), Refresh::Activated(2));
    let health = host.health();
    assert_eq!(
        (health.resident, health.mapped_bytes, health.swaps),
        (vec![1, 2], alone, 1)
    );
}

/// How many mappings of files below `root` this process has.
#[cfg(target_os = "linux")]
fn mappings(root: &Path) -> usize {
    let maps = fs::read_to_string("/proc/self/maps").expect("Linux tells");
    let root = root.display().to_string();
    maps.lines().filter(|line| line.contains(&root)).count()
}

#[cfg(target_os = "linux")]
#[test]
fn what_is_no_longer_served_is_unmapped() {
    let fixture = published(3);
    let options = HostOptions {
        kept_generations: 0,
        ..patient()
    };
    let host = open(&fixture, options);
    let mut session = host.session();
    let service = host.service("model").expect("it is published");
    let mut request = service.request(watermark(20));
    request.push_candidate(&[unskew::Value::I64(1)]).expect("a candidate");
    let before = mappings(fixture.store.root());
    assert!(before > 0);
    for swap in 1..=200 {
        set_current(&fixture, 1 + swap % 3);
        host.refresh().expect("it is whole");
        let features = session.evaluate(&request).expect("it is served");
        assert_eq!(features.generation(), 1 + swap % 3);
    }
    assert_eq!(host.health().swaps, 200);
    wait_until("one generation is mapped", || mappings(fixture.store.root()) == before);
    drop((session, host));
    wait_until("nothing is mapped", || mappings(fixture.store.root()) == 0);
}

#[test]
fn a_lookup_reads_one_row() {
    let fixture = published(2);
    for snapshots in [Backing::File, Backing::Private] {
        let host = open(&fixture, HostOptions { snapshots, ..patient() });
        let session = host.session();
        let key = |user| EntityKey::new(&[KeyPart::I64(user)]).expect("a key");
        let number = |user| {
            session.lookup("first", key(user).as_ref(), |row, generation| {
                (row.map(|row| row.i64(0)), generation)
            })
        };
        assert_eq!(number(3), Ok((Some(2), 2)));
        assert_eq!(number(99), Ok((None, 2)));
        let read = |view, key: &EntityKey| session.lookup(view, key.as_ref(), |row, _| row.is_some());
        assert!(matches!(
            read("fourth", &key(3)),
            Err(LookupError::NoView { generation: 2, .. })
        ));
        let text = EntityKey::new(&[KeyPart::String("3")]).expect("a key");
        assert!(matches!(read("first", &text), Err(LookupError::Key { .. })));
    }
}
