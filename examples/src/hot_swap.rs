//! A host that follows its store: generations are published while requests go on, and then the operator goes back.

use std::error::Error;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use unskew::{EventTime, Host, HostOptions, Service, Value};

use crate::shop::Shop;

/// Serves from two threads, publishes twice, rolls back.
pub fn run(shop: &Shop, now: EventTime) -> Result<(), Box<dyn Error>> {
    let options = HostOptions {
        // Told by the file system, and looking every second besides.
        follow: Some(Duration::from_secs(1)),
        ..HostOptions::default()
    };
    let host = Host::open(shop.store.root(), options)?;
    let ranker = host.service("ranker").ok_or("the generation has no ranker")?;
    let (stop, served, failed) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));

    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut session = host.session();
                let mut request = ranker.request(now);
                while !stop.load(Ordering::Relaxed) {
                    // A request sees one generation, from its first lookup to its last transform.
                    let outcome =
                        fill(&ranker, &mut request, now).and_then(|()| Ok(session.evaluate(&request)?.rows()));
                    let counter = if outcome.is_ok() { &served } else { &failed };
                    counter.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let swapped = swap(shop, &host, now);
        stop.store(true, Ordering::Relaxed);
        swapped
    })?;
    println!(
        "{} requests served, {} failed",
        served.load(Ordering::Relaxed),
        failed.load(Ordering::Relaxed)
    );
    Ok(())
}

fn swap(shop: &Shop, host: &Host, now: EventTime) -> Result<(), Box<dyn Error>> {
    println!("serving generation {}", host.current());
    for hours in 1..=2 {
        let number = shop.publish(EventTime(now.0 - hours * 3_600_000_000))?;
        let start = Instant::now();
        while host.current() != number {
            if start.elapsed() > Duration::from_secs(60) {
                return Err(format!("generation {number} is not served: {:?}", host.health()).into());
            }
            thread::sleep(Duration::from_millis(1));
        }
        println!("serving generation {number}");
    }
    // Nothing is loaded: the one before is still in memory. The host stays there until it is told otherwise.
    println!("rolled back to generation {}", host.rollback()?);
    host.unpin();
    Ok(())
}

fn fill(ranker: &Service, request: &mut unskew::Request, now: EventTime) -> Result<(), Box<dyn Error>> {
    request.reset(now);
    if let Some(segment) = ranker.request_field("user_segment") {
        request.set_at(segment, Value::String("sports"))?;
    }
    for item in 1..=5 {
        request.push_candidate(&[Value::I64(item), Value::I64(1)])?;
    }
    Ok(())
}
