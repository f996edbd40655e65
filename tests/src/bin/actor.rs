//! A process of its own for tests: one that must not take the tests with it, or that stands beside others on one store.
//!
//! `actor <role> <store> [number]`

use std::error::Error;
use std::fs::{self, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use unskew::{
    Backing, CallError, CallLimits, Cpu, EvaluateError, EventTime, FreshOptions, Host, HostOptions, Refresh, Store,
    Value,
};
use unskew_registry::prepare;
use unskew_tests::hostile::{BAD_ROWS, Function, GOOD_ROWS, Guest};
use unskew_tests::stamped::{Answer, ITEMS, Rows, answer, fill, next_generation, publish, request, set_current};
use unskew_tests::{chain, patient};

type Outcome = Result<(), Box<dyn Error>>;

/// In each view of a store.
const ROWS: u64 = 500;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [role, root, rest @ ..] = &arguments[..] else {
        eprintln!("actor <role> <store> [number]");
        return ExitCode::FAILURE;
    };
    let store = Store::new(root);
    let number = rest.first().and_then(|number| number.parse().ok()).unwrap_or(1);
    let outcome = match role.as_str() {
        "publish" => (0..number).try_for_each(|_| publish_next(&store)),
        "prepare" => prepare_again(&store, number),
        "serve" => serve_until(&store, number),
        "swap" => swap(&store, number),
        "deny" => deny(&store),
        "push" => push(&store, number),
        "stack" => stacks(&store),
        _ => Err("there is no such role".into()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Standard error may be as full as the disk.
            let _ = std::io::Write::write_all(
                &mut std::io::stderr(),
                format!("{role}: {}\n", chain(&*error)).as_bytes(),
            );
            ExitCode::FAILURE
        }
    }
}

/// Pushes an impression of one item after the other, from `first` on, and prints each that was taken, until it is killed.
fn push(store: &Store, first: u64) -> Outcome {
    let host = Host::open(
        store.root(),
        HostOptions {
            fresh: FreshOptions {
                journal_dir: Some(store.root().join("journal")),
                ..FreshOptions::default()
            },
            ..patient()
        },
    )?;
    let watermark = host.health().watermarks["item_ctr"].0;
    let mut events = host.events("item_ctr", &["item_id", "clicked"])?;
    let mut out = std::io::stdout().lock();
    for item in first.. {
        let time = EventTime(watermark + item as i64);
        events.clear();
        events.push(time, None, &[Value::I64(item as i64), Value::Bool(false)])?;
        if host.push(&events, time)?.taken != 1 {
            return Err(format!("item {item} was not taken").into());
        }
        writeln!(out, "{item}")?;
        out.flush()?;
    }
    Ok(())
}

fn publish_next(store: &Store) -> Outcome {
    let generation = next_generation(store)?;
    match publish(store, generation, ROWS)? {
        published if published == generation => Ok(()),
        published => Err(format!("{published} was published, not {generation}").into()),
    }
}

/// Makes native code anew, and damages it, again and again.
fn prepare_again(store: &Store, times: u64) -> Outcome {
    for time in 0..times {
        let current = store.current()?.ok_or("the store is empty")?;
        let manifest = store.manifest(current)?;
        for entry in manifest.modules.values() {
            let path = Store::compiled_path(&store.compiled_dir(), &entry.digest, Cpu::best());
            if time % 2 == 0 {
                // Another process may have done so.
                let _ = fs::remove_file(path);
            } else {
                fs::write(path, "native code that is none")?;
            }
        }
        prepare(store, &store.compiled_dir(), &manifest, Cpu::best(), |_, _, _| ())?;
    }
    Ok(())
}

fn pick(seed: u64) -> Rows {
    let mut rows = [0; ITEMS + 1];
    for (index, row) in rows.iter_mut().enumerate() {
        *row = (seed * 31 + index as u64 * 97) % ROWS;
    }
    rows
}

/// Asks until told to stop, and expects right answers.
fn ask(host: &Host, is_done: &AtomicBool) -> Result<u64, String> {
    let mut session = host.session();
    let mut request = request(host).map_err(|error| error.to_string())?;
    let mut asked = 0;
    while !is_done.load(Ordering::Relaxed) || asked == 0 {
        let rows = pick(asked);
        fill(&mut request, &rows).map_err(|error| error.to_string())?;
        match answer(&mut session, &request, &rows) {
            Answer::Right => asked += 1,
            other => return Err(format!("answer {asked} is {other:?}")),
        }
        // Generations are loaded with what requests leave of the processors.
        thread::sleep(Duration::from_micros(100));
    }
    Ok(asked)
}

/// One answer, of this generation.
fn expect(host: &Host, generation: u64) -> Outcome {
    ask(host, &AtomicBool::new(true))?;
    match host.current() {
        current if current == generation => Ok(()),
        current => Err(format!("{current} is served, not {generation}").into()),
    }
}

/// Follows the store up to a generation, with right answers all the while.
fn serve_until(store: &Store, generation: u64) -> Outcome {
    let options = HostOptions {
        follow: Some(Duration::from_millis(20)),
        wait: Duration::from_secs(30),
        ..patient()
    };
    // Its native code may be missing or damaged this very moment.
    let start = Instant::now();
    let host = loop {
        match Host::open(store.root(), options.clone()) {
            Err(_) if start.elapsed() < Duration::from_secs(60) => thread::sleep(Duration::from_millis(20)),
            opened => break opened?,
        }
    };
    let is_done = AtomicBool::new(false);
    thread::scope(|scope| {
        let asking = scope.spawn(|| ask(&host, &is_done));
        let start = Instant::now();
        while host.current() < generation && start.elapsed() < Duration::from_secs(120) && !asking.is_finished() {
            thread::sleep(Duration::from_millis(5));
        }
        is_done.store(true, Ordering::Relaxed);
        asking.join().map_err(|_| "it panicked")??;
        match host.current() {
            current if current == generation => Ok(()),
            current => Err(format!("{current} is served, not {generation}: {:?}", host.health().failure).into()),
        }
    })
}

/// Swaps two generations many times under load; memory, mappings and files are afterwards what they were.
fn swap(store: &Store, times: u64) -> Outcome {
    for (snapshots, times) in [(Backing::File, times), (Backing::Private, times / 10)] {
        let options = HostOptions {
            kept_generations: 0,
            snapshots,
            ..patient()
        };
        let host = Host::open(store.root(), options)?;
        let is_done = AtomicBool::new(false);
        thread::scope(|scope| -> Outcome {
            let asking = [(); 2].map(|()| scope.spawn(|| ask(&host, &is_done)));
            let swapped = swap_and_measure(store, &host, times);
            is_done.store(true, Ordering::Relaxed);
            for thread in asking {
                thread.join().map_err(|_| "it panicked")??;
            }
            swapped
        })?;
    }
    Ok(())
}

fn swap_and_measure(store: &Store, host: &Host, times: u64) -> Outcome {
    let swap = |times: u64| -> Outcome {
        for _ in 0..times {
            let next = 3 - host.current();
            set_current(store, next)?;
            if host.refresh()? != Refresh::Activated(next) {
                return Err(format!("generation {next} was not activated").into());
            }
        }
        Ok(())
    };
    // What is made once is made by then.
    swap(times / 10)?;
    let before = Usage::settled(None)?;
    swap(times)?;
    let after = Usage::settled(Some(&before))?;
    if after.mappings <= before.mappings + 8
        && after.files <= before.files
        && after.resident_kib <= before.resident_kib + (16 << 10)
    {
        return Ok(());
    }
    Err(format!("before {times} swaps {before:?}, afterwards {after:?}").into())
}

#[derive(Debug)]
struct Usage {
    mappings: usize,
    files: usize,
    resident_kib: u64,
}

impl Usage {
    fn now() -> Result<Self, Box<dyn Error>> {
        let status = fs::read_to_string("/proc/self/status")?;
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = resident.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok());
        Ok(Self {
            mappings: fs::read_to_string("/proc/self/maps")?.lines().count(),
            files: fs::read_dir("/proc/self/fd")?.count(),
            resident_kib: kib.ok_or("the system does not tell")?,
        })
    }

    /// The least within a second or, where there is something to come back to, when it came back.
    fn settled(to: Option<&Self>) -> Result<Self, Box<dyn Error>> {
        let start = Instant::now();
        let mut least = Self::now()?;
        let wait = Duration::from_secs(if to.is_some() { 20 } else { 1 });
        while start.elapsed() < wait
            && to.is_none_or(|to| least.mappings > to.mappings || least.resident_kib > to.resident_kib)
        {
            thread::sleep(Duration::from_millis(10));
            let now = Self::now()?;
            least.mappings = least.mappings.min(now.mappings);
            least.files = least.files.min(now.files);
            least.resident_kib = least.resident_kib.min(now.resident_kib);
        }
        Ok(least)
    }
}

/// The store has two generations; of the second nothing may be read, one thing after the other.
fn deny(store: &Store) -> Outcome {
    let options = HostOptions {
        kept_generations: 0,
        ..patient()
    };
    set_current(store, 1)?;
    let host = Host::open(store.root(), options.clone())?;
    let manifest = store.manifest(2)?;
    let mut paths: Vec<PathBuf> = vec![
        store.current_path(),
        store.manifest_path(2),
        store.root().join("generations"),
        store.root().join("snapshots"),
        store.compiled_dir(),
        store.root().to_owned(),
    ];
    paths.extend(
        manifest
            .snapshots
            .values()
            .map(|entry| store.snapshot_path(&entry.digest)),
    );
    let code = |entry: &unskew::ModuleEntry| Store::compiled_path(&store.compiled_dir(), &entry.digest, Cpu::best());
    paths.extend(manifest.modules.values().map(code));
    for path in paths {
        set_current(store, 2)?;
        let refused = without(&path, 0o000, || {
            let refused = host.refresh().map_err(|error| chain(&error));
            expect(&host, 1).map(|()| refused)
        })??;
        let parent = path.parent().unwrap_or(&path).display().to_string();
        match refused {
            Ok(refresh) => return Err(format!("{}: {refresh:?} in spite of it", path.display()).into()),
            Err(error) if error.contains("Permission denied") && error.contains(&parent) => {}
            Err(error) => return Err(format!("{}: `{error}`", path.display()).into()),
        }
        host.refresh()?;
        expect(&host, 2)?;
        set_current(store, 1)?;
        host.refresh()?;
        expect(&host, 1)?;
    }
    // What a host writes is a note alone: it does without.
    set_current(store, 2)?;
    without(&store.compiled_dir(), 0o500, || -> Outcome {
        host.refresh()?;
        expect(&host, 2)?;
        expect(&Host::open(store.root(), options.clone())?, 2)
    })??;
    // A publisher that may not write changes nothing.
    for directory in ["modules", "snapshots", "generations"] {
        let path = store.root().join(directory);
        match without(&path, 0o500, || publish_next(store).map_err(|error| chain(&*error)))? {
            Err(error) if error.contains("Permission denied") && error.contains(directory) => {}
            other => return Err(format!("{directory}: {other:?}").into()),
        }
        if store.current()? != Some(2) {
            return Err("a publication that failed changed what is current".into());
        }
    }
    publish_next(store)?;
    host.refresh()?;
    expect(&host, 3)
}

/// Does something while a file or a directory has another mode.
fn without<T>(path: &Path, mode: u32, act: impl FnOnce() -> T) -> std::io::Result<T> {
    let before = fs::metadata(path)?.permissions();
    fs::set_permissions(path, Permissions::from_mode(mode))?;
    let done = act();
    fs::set_permissions(path, before)?;
    Ok(done)
}

/// Whatever the stack of a thread: it gets right answers, or is told that its stack is too small; a host that it opens serves.
fn stacks(store: &Store) -> Outcome {
    let host = Host::open(store.root(), patient())?;
    let recursion = Guest::does(
        Function::Apply,
        "(call $Apply (local.get $at0) (local.get $len0)) (drop)",
    );
    let module = recursion.load()?;
    let (mut evaluated, mut refused) = (0, 0);
    for kib in [
        32, 48, 64, 96, 128, 192, 256, 288, 320, 352, 384, 448, 512, 1_024, 2_048,
    ] {
        let on_thread = || -> Result<(bool, Option<CallError>), String> {
            let rows = pick(kib as u64);
            let mut session = host.session();
            let mut request = request(&host).map_err(|error| error.to_string())?;
            fill(&mut request, &rows).map_err(|error| error.to_string())?;
            let is_refused = matches!(session.evaluate(&request), Err(EvaluateError::Stack { .. }));
            if !is_refused && answer(&mut session, &request, &rows) != Answer::Right {
                return Err(format!("{kib} KiB: a wrong answer"));
            }
            // The component takes all the stack that it may.
            let called = module.instantiate(CallLimits {
                deadline: Duration::from_secs(30),
                ..CallLimits::SERVING
            });
            let called = called.ok().map(|mut instance| {
                let good = recursion.call(&mut instance, GOOD_ROWS).err();
                good.or_else(|| recursion.call(&mut instance, BAD_ROWS).err())
            });
            Ok((is_refused, called.unwrap_or(Some(CallError::Stack))))
        };
        let (is_refused, called) = thread::scope(|scope| {
            let thread = thread::Builder::new()
                .stack_size(kib << 10)
                .spawn_scoped(scope, on_thread);
            thread
                .map_err(|error| error.to_string())?
                .join()
                .map_err(|_| "it panicked".to_owned())?
        })?;
        let expected = if is_refused {
            [CallError::Stack, CallError::Trap]
        } else {
            [CallError::Trap; 2]
        };
        if !called.is_some_and(|error| expected.contains(&error)) {
            return Err(format!("{kib} KiB: {called:?}").into());
        }
        if is_refused {
            refused += 1;
        } else {
            evaluated += 1;
        }
        if is_refused != (kib < 400) {
            return Err(format!("{kib} KiB: refused: {is_refused}").into());
        }
    }
    let opened = thread::Builder::new().stack_size(64 << 10).spawn({
        let root = store.root().to_owned();
        || Host::open(root, patient()).map_err(|error| chain(&error))
    })?;
    let opened = opened.join().map_err(|_| "it panicked")??;
    expect(&opened, host.current())?;
    if evaluated == 0 || refused == 0 {
        return Err(format!("{evaluated} evaluated, {refused} refused").into());
    }
    Ok(())
}
