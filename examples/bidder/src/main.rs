//! Serves bids from a store until it is stopped, and every generation that is published there meanwhile.
//!
//! ```sh
//! cargo run -p unskew-examples -- store target/shop      # again while the bidder runs: the next generation
//! cargo run --release --manifest-path examples/bidder/Cargo.toml --target-dir target/bidder -- target/shop/store
//! ```

use std::error::Error;
use std::net::Ipv4Addr;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::net::TcpListener;
use unskew::{EventTime, Host, HostOptions};
use unskew_bidder::Bidder;

const PORT: u16 = 8080;
const EXAMPLE: &str = r#"{"id":"1","imp":[{"id":"a","bidfloor":0.5}],"user":{"keywords":"sports"}}"#;

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
    let mut arguments = std::env::args().skip(1);
    let store = arguments
        .next()
        .ok_or("give the directory of a store, and a port if not 8080")?;
    let port = arguments.next().map_or(Ok(PORT), |port| port.parse())?;
    let options = HostOptions {
        // Told by the file system, and looking every five seconds besides.
        follow: Some(Duration::from_secs(5)),
        ..HostOptions::default()
    };
    let bidder = Bidder::new(Host::open(store, options)?, now);
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?
        .block_on(async {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
            println!("curl -s localhost:{port}/bid -H 'content-type: application/json' -d '{EXAMPLE}'");
            axum::serve(listener, bidder.router()).await?;
            Ok(())
        })
}

/// The time at the edge of the program: the library takes it as an argument.
fn now() -> EventTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    EventTime(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}
