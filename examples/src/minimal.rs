//! The least that a service does: open a host, fill a request, read the matrix that the model wants.

use std::error::Error;
use std::path::Path;

use unskew::{EventTime, Fields, Host, HostOptions};

/// The fields that a request has once. Names and types are checked against the service once.
#[derive(Fields)]
struct Bid<'a> {
    user_segment: Option<&'a str>,
}

/// The fields of a candidate.
#[derive(Fields)]
struct Item {
    item_id: i64,
    position: Option<i64>,
}

/// Ranks three items.
pub fn run(store: &Path, now: EventTime) -> Result<(), Box<dyn Error>> {
    // Maps snapshots, loads native code, and checks all of it before anything is served.
    let host = Host::open(store, HostOptions::default())?;
    let ranker = host.service("ranker").ok_or("the generation has no ranker")?;

    // One session a thread. The request and the matrix keep their memory from bid to bid.
    let mut session = host.session();
    let mut request = ranker.request_of::<Bid<'_>, Item>(now)?;
    let mut matrix: Vec<f32> = Vec::new();

    request.reset(now);
    request.set(&Bid {
        user_segment: Some("sports"),
    });
    for item_id in [1, 3, 5] {
        request.push(&Item {
            item_id,
            position: Some(1),
        });
    }
    let features = session.evaluate(&request)?;
    features.write_f32(f32::NAN, &mut matrix);

    println!("generation {}", features.generation());
    println!("{}", features.names().collect::<Vec<_>>().join(" "));
    for row in matrix.chunks(features.width()) {
        println!("{row:?}");
    }
    Ok(())
}
