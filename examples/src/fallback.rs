//! A transform that fails: what the request gets instead, and what the operator sees.

use std::error::Error;
use std::path::Path;

use unskew::{EventTime, Host, HostOptions, Value};

use crate::shop::ITEMS;

/// Asks for an item that a buggy transform cannot cope with.
pub fn run(store: &Path, now: EventTime) -> Result<(), Box<dyn Error>> {
    let host = Host::open(store, HostOptions::default())?;
    let costs = host.service("costs").ok_or("the generation has no costs")?;
    let cost = costs
        .plan()
        .feature_index("cost:micros_per_click")
        .ok_or("the service has no cost")?;
    let mut session = host.session();
    let mut request = costs.request(now);
    // The last item was never clicked: the transform divides by zero and traps. What does not come from it is there all the same.
    for item in [1, ITEMS] {
        request.reset(now);
        request.push_candidate(&[Value::I64(item)])?;
        let features = session.evaluate(&request)?;
        for (index, name) in features.names().enumerate() {
            let (value, status) = (features.value(0, index), features.status(0, index));
            println!("item {item}  {name:<24} {value:?} ({status})");
        }
        for failure in features.failures() {
            println!("item {item}  failed: {failure}");
        }
        println!("item {item}  cost per click: {}", features.status(0, cost));
    }
    Ok(())
}
