//! Runs an example by its name.

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use unskew::EventTime;
use unskew_examples::shop::Shop;
use unskew_examples::{fallback, hot_swap, minimal};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let scratch = tempfile::tempdir()?;
    let directory = match arguments[..] {
        ["minimal" | "hot-swap" | "fallback"] => scratch.path().to_owned(),
        ["store", directory] => PathBuf::from(directory),
        _ => return Err("give an example: minimal, hot-swap, fallback, or store DIR".into()),
    };
    let now = now();
    let shop = Shop::open(&directory, now)?;
    match arguments[0] {
        "minimal" => minimal::run(shop.store.root(), now),
        "hot-swap" => hot_swap::run(&shop, now),
        "fallback" => fallback::run(shop.store.root(), now),
        _ => {
            println!("{}", shop.store.root().display());
            Ok(())
        }
    }
}

/// The time at the edge of the program: the library takes it as an argument.
fn now() -> EventTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    EventTime(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}
