//! The bidder answers bids over a socket, also while what it serves changes.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value as Json, json};
use unskew::{EventTime, Host, HostOptions};
use unskew_bidder::Bidder;

/// Item 1 was clicked once an hour in four impressions: (168 + 0.02 * 50) / (672 + 50) of them, at 0.4 a click.
const PRICE: f64 = 169.0 / 722.0 * 400.0;

fn now() -> EventTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock");
    EventTime(since.as_micros() as i64)
}

fn three_days_later() -> EventTime {
    EventTime(now().0 + 3 * 86_400_000_000)
}

/// Makes the store of the examples, as a stranger would; again: its next generation. `UNSKEW_EXAMPLES` names their program
/// where it is built already.
fn publish(directory: &Path) {
    let mut command = match std::env::var_os("UNSKEW_EXAMPLES") {
        Some(program) => Command::new(program),
        None => {
            let mut cargo = Command::new(env!("CARGO"));
            cargo
                .args(["run", "--quiet", "--locked", "--package", "unskew-examples", "--"])
                .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."));
            cargo
        }
    };
    let status = command.arg("store").arg(directory).status().expect("it runs");
    assert!(status.success());
}

fn serve(directory: &Path, clock: fn() -> EventTime) -> SocketAddr {
    let options = HostOptions {
        follow: Some(Duration::from_secs(1)),
        ..HostOptions::default()
    };
    let host = Host::open(directory.join("store"), options).expect("the store is whole");
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let address = listener.local_addr().expect("it is bound");
    listener.set_nonblocking(true).expect("a socket");
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
        runtime.expect("a runtime").block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).expect("a socket");
            axum::serve(listener, Bidder::new(host, clock).router()).await
        })
    });
    address
}

/// A connection that is kept.
struct Client(BufReader<TcpStream>);

impl Client {
    fn new(address: SocketAddr) -> Self {
        Self(BufReader::new(TcpStream::connect(address).expect("it listens")))
    }

    /// The status and the body of the answer.
    fn ask(&mut self, head: &str, body: &str) -> (u16, String) {
        let length = body.len();
        let request = format!(
            "{head} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
        );
        self.0.get_mut().write_all(request.as_bytes()).expect("it reads");
        let line = |client: &mut BufReader<TcpStream>| {
            let mut line = String::new();
            client.read_line(&mut line).expect("it answers");
            line.trim_end().to_ascii_lowercase()
        };
        let status = line(&mut self.0)
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok());
        let mut length = 0;
        loop {
            let header = line(&mut self.0);
            match header.split_once(": ") {
                Some(("content-length", bytes)) => length = bytes.parse().expect("a number"),
                Some(_) => {}
                None => break,
            }
        }
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).expect("the whole body comes");
        (status.expect("a status"), String::from_utf8(body).expect("text"))
    }
}

fn bid_request(floors: [f64; 2]) -> String {
    json!({
        "id": "7",
        "imp": [{ "id": "a", "bidfloor": floors[0] }, { "id": "b", "bidfloor": floors[1] }],
        "user": { "keywords": "sports" },
        "tmax": 100,
    })
    .to_string()
}

/// The generation that a bid was computed with, after the bid was looked at.
fn generation_of(status: u16, body: &str) -> u64 {
    assert_eq!(status, 200, "{body}");
    let answer: Json = serde_json::from_str(body).expect("it is JSON");
    assert_eq!(answer["id"], "7");
    let bids = answer["seatbid"][0]["bid"].as_array().expect("bids");
    assert_eq!(bids.len(), 1, "the floor of b is beyond any value: {answer}");
    assert_eq!((&bids[0]["impid"], &bids[0]["adid"]), (&json!("a"), &json!("1")));
    let price = bids[0]["price"].as_f64().expect("a price");
    assert!((price - PRICE).abs() < 1.0, "{answer}");
    answer["ext"]["generation"].as_u64().expect("a generation")
}

#[test]
fn the_bidder_answers_bids_while_generations_change() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    publish(directory.path());
    let address = serve(directory.path(), now);
    let mut client = Client::new(address);
    assert_eq!(client.ask("GET /ready", ""), (200, "ready".to_owned()));
    assert_eq!(client.ask("POST /bid", &bid_request([1_000.0, 1_000.0])).0, 204);
    assert_eq!(client.ask("POST /bid", "{").0, 400);

    let request = bid_request([0.5, 1_000.0]);
    let stop = AtomicBool::new(false);
    let served: Vec<u64> = thread::scope(|scope| {
        let clients: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let mut client = Client::new(address);
                    let (mut count, mut last) = (0, 1);
                    while !stop.load(Ordering::Relaxed) {
                        let (status, body) = client.ask("POST /bid", &request);
                        let generation = generation_of(status, &body);
                        assert!(last <= generation, "{generation} after {last}");
                        (count, last) = (count + 1, generation);
                    }
                    count
                })
            })
            .collect();
        publish(directory.path());
        let start = Instant::now();
        let mut client = Client::new(address);
        let is_served = loop {
            let (status, body) = client.ask("POST /bid", &request);
            let generation = generation_of(status, &body);
            if generation == 2 || start.elapsed() > Duration::from_secs(60) {
                break generation == 2;
            }
            thread::sleep(Duration::from_millis(10));
        };
        stop.store(true, Ordering::Relaxed);
        assert!(is_served, "the second generation is not served after a minute");
        clients
            .into_iter()
            .map(|client| client.join().expect("every bid is right"))
            .collect()
    });
    assert!(served.iter().all(|count| *count > 0), "{served:?}");

    let (status, text) = client.ask("GET /metrics", "");
    assert_eq!(status, 200);
    assert!(text.contains("unskew_generation 2\n"), "{text}");
    // A generation in which many calls fail is left for the one before.
    assert!(text.contains("unskew_quarantined_generations 0\n"), "{text}");

    // Three days later the click-through rates are too old: missing, so there is nothing to bid with.
    let late = serve(directory.path(), three_days_later);
    assert_eq!(Client::new(late).ask("POST /bid", &request).0, 204);
}
