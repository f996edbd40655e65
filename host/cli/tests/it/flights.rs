//! What docs/first-training-set.md tells a stranger to do, done.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use unskew_tests::{python, root};

use crate::transcript::text;

/// The blocks of a language, in order.
fn blocks(page: &str, language: &str) -> Vec<String> {
    let opening = format!("```{language}\n");
    let block = |part: &str| part.split("```").next().unwrap_or_default().to_owned();
    page.split(&opening).skip(1).map(block).collect()
}

/// Runs a block as a user does who has `unskew` and Python in the path.
#[track_caller]
fn run(folder: &Path, block: &str) -> Output {
    let directory = |file: &Path| file.parent().map(PathBuf::from).unwrap_or_default();
    let mut path: Vec<PathBuf> = vec![directory(Path::new(env!("CARGO_BIN_EXE_unskew"))), directory(python())];
    path.extend(env::split_paths(&env::var_os("PATH").unwrap_or_default()));
    let path: OsString = env::join_paths(path).unwrap();
    let output = Command::new("sh")
        .args(["-e", "-c", block])
        .current_dir(folder)
        .env("PATH", path)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let printed = text(&output.stdout) + &text(&output.stderr);
    assert!(output.status.success(), "{block}\n{printed}");
    output
}

#[test]
fn a_stranger_makes_a_training_set_by_the_documentation() {
    let page = fs::read_to_string(root().join("docs/first-training-set.md")).unwrap();
    let commands = blocks(&page, "sh");
    let [fetch, init, backfill, look, audit, again] = commands.as_slice() else {
        panic!("six blocks of commands, not {commands:?}");
    };
    let edit = blocks(&page, "toml").remove(0);
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    run(folder, fetch);
    run(folder, init);

    let project = fs::read_to_string(folder.join("unskew.toml")).unwrap();
    let is_ttl = |line: &&str| line.starts_with("# ttl");
    let old: Vec<&str> = project.lines().filter(is_ttl).collect();
    let [old] = old.as_slice() else {
        panic!("one line to edit in\n{project}");
    };
    fs::write(folder.join("unskew.toml"), project.replace(old, edit.trim_end())).unwrap();

    run(folder, backfill);
    let seen = text(&run(folder, look).stdout);
    // As pandas has it: `merge_asof` by origin on time_hour, with a tolerance of 3 hours.
    let expected = run(
        folder,
        r#"python3 -c "
import pandas
flights, weather = pandas.read_csv('flights.csv'), pandas.read_csv('weather.csv')
for table in (flights, weather):
    table['time_hour'] = pandas.to_datetime(table['time_hour'])
flights = flights.reset_index().sort_values('time_hour', kind='stable')
weather = weather.sort_values('time_hour', kind='stable')
found = pandas.merge_asof(flights, weather, on='time_hour', by='origin', tolerance=pandas.Timedelta('3h'), suffixes=('', '_w'))
found = found.sort_values('index')
train = pandas.read_parquet('train.parquet')
for name in ['temp', 'dewp', 'humid', 'wind_dir', 'wind_speed', 'wind_gust', 'precip', 'pressure', 'visib']:
    ours, theirs = train['weather:' + name].astype('float64').to_numpy(), found[name].to_numpy()
    assert ((ours == theirs) | ((ours != ours) & (theirs != theirs))).all(), name
assert (train['tailnum'].fillna('') == flights.sort_values('index')['tailnum'].fillna('').to_numpy()).sum() > 300000
print(len(found), 'rows,', found['temp'].isna().sum(), 'without a temperature')
"
"#,
    );
    let expected = text(&expected.stdout);
    assert!(seen.ends_with(&expected), "{seen}\nnot\n{expected}");
    assert!(expected.starts_with("336776 rows"), "{expected}");

    let found = text(&run(folder, audit).stdout);
    assert!(
        found.contains("nothing is suspicious") && found.contains("weather.csv"),
        "{found}"
    );

    let moved = text(&run(folder, again).stdout);
    assert!(moved.contains("lag") && moved.contains("training set"), "{moved}");
}
