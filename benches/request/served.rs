//! A host of the same rows, whose store is made for the bench.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::json;
use unskew::{Backing, Catalog, Host, HostOptions, Request, Service, Session, SnapshotEntry, Store, Value};
use unskew_registry::{Draft, commit, load_modules, module_entries, put_snapshot};
use unskew_tests::{component, runtime};

use crate::data::{Bid, NOW, PAIR_TTL_US, Rows, View, Widths};

/// The whole, and what is left of it without the transform.
pub const SERVICES: [&str; 2] = ["model", "views"];

/// Publishes a generation and opens a host of it, whose snapshots are copies in huge pages.
pub fn host(directory: &Path, widths: Widths, rows: Rows) -> Host {
    let store = Store::new(directory);
    let modules = load_modules(runtime(), &store, &[component("request-context").to_vec()]).expect("the module loads");
    let mut snapshots = BTreeMap::new();
    for view in View::ALL {
        let path = directory.join(view.name());
        view.write(&path, widths, rows);
        let entry = SnapshotEntry {
            deltas: Vec::new(),
            digest: put_snapshot(&store, &path).expect("the store can be written"),
            watermark_us: NOW.0,
            row_count: view.rows(rows),
            late_count: None,
        };
        snapshots.insert(view.name().to_owned(), entry);
    }
    let draft = Draft {
        catalog: catalog(widths),
        modules: module_entries(&store, &modules).expect("the module computes row by row"),
        snapshots,
    };
    commit(&store, draft).expect("the generation is whole");
    let options = HostOptions {
        snapshots: Backing::Private,
        ..HostOptions::default()
    };
    Host::open(store.root(), options).expect("the generation is whole")
}

fn catalog(widths: Widths) -> Catalog {
    let key = |name: &str| json!({ "name": name, "type": "i64" });
    let entities: Vec<_> = View::ALL
        .iter()
        .map(
            |view| json!({ "name": view.name(), "keys": view.keys().iter().map(|name| key(name)).collect::<Vec<_>>() }),
        )
        .collect();
    let columns = |view: View| (0..view.width(widths)).map(move |feature| view.feature(feature));
    let views: Vec<_> = View::ALL
        .iter()
        .map(|view| {
            let features: Vec<_> = columns(*view)
                .map(|name| json!({ "name": name, "type": view.column_type().to_string() }))
                .collect();
            let mut object = json!({ "name": view.name(), "entity": view.name(), "features": features });
            if *view == View::Pair {
                object["ttl_us"] = json!(PAIR_TTL_US);
            }
            object
        })
        .collect();
    let of_views: Vec<String> = View::ALL
        .iter()
        .flat_map(|view| columns(*view).map(move |name| format!("{}:{name}", view.name())))
        .collect();
    let outputs = [
        "hour",
        "day_of_week",
        "item_hash",
        "segment_hash",
        "item_segment_hash",
        "item_position_hash",
        "floor_bucket",
        "ctr_trend",
        "ctr_logit",
        "ctr_at_position",
    ];
    let mut of_model = of_views.clone();
    of_model.extend(outputs.map(|output| format!("context:{output}")));
    let service = |name: &str, features: Vec<String>, transforms: serde_json::Value| {
        json!({
            "name": name,
            "request": [
                { "name": "user", "type": "i64" },
                { "name": "user_segment", "type": "string", "nullable": true },
                { "name": "floor_price", "type": "f64", "nullable": true },
            ],
            "candidate": [
                { "name": "item_id", "type": "i64" },
                { "name": "position", "type": "i64", "nullable": true },
            ],
            "transform": transforms,
            "features": features,
        })
    };
    let context = json!([{
        "name": "context",
        "module": "request-context",
        "inputs": { "ctr_1d": "item:ctr_1d", "ctr_7d": "item:ctr_7d" },
    }]);
    let catalog = json!({
        "entity": entities,
        "view": views,
        "service": [service(SERVICES[0], of_model, context), service(SERVICES[1], of_views, json!([]))],
    });
    serde_json::from_value(catalog).expect("a good catalog")
}

/// One thread's way through a service.
pub struct Serving {
    session: Session,
    request: Request,
}

/// What the parts of a request took.
#[derive(Clone, Copy, Debug, Default)]
pub struct Parts {
    /// Filling the request.
    pub request: Duration,
    /// Lookups and transforms.
    pub evaluate: Duration,
    /// Writing the matrix.
    pub matrix: Duration,
}

impl Serving {
    pub fn new(host: &Host, service: &str) -> Self {
        let service: Service = host.service(service).expect("it is published");
        Self {
            session: host.session(),
            request: service.request(NOW),
        }
    }

    /// Writes the matrix of a bid.
    pub fn evaluate(&mut self, bid: &Bid, missing: f32, matrix: &mut Vec<f32>) {
        self.fill(bid);
        let features = self.session.evaluate(&self.request).expect("the request fits");
        features.write_f32(missing, matrix);
    }

    /// The same with a clock between its parts.
    pub fn evaluate_in_parts(&mut self, bid: &Bid, missing: f32, matrix: &mut Vec<f32>) -> Parts {
        let start = Instant::now();
        self.fill(bid);
        let request = start.elapsed();
        let features = self.session.evaluate(&self.request).expect("the request fits");
        let evaluate = start.elapsed() - request;
        features.write_f32(missing, matrix);
        Parts {
            request,
            evaluate,
            matrix: start.elapsed() - request - evaluate,
        }
    }

    /// That the last request lost nothing to a failure.
    pub fn check(&mut self) {
        let features = self.session.evaluate(&self.request).expect("the request fits");
        assert!(features.failures().is_empty(), "{:?}", features.failures());
    }

    fn fill(&mut self, bid: &Bid) {
        let request = &mut self.request;
        request.reset(NOW);
        let mut set = |field, value| request.set(field, value).expect("the service has the field");
        set("user", Value::I64(bid.user));
        set("user_segment", Value::String(&bid.segment));
        set("floor_price", Value::F64(bid.floor_price));
        for (item, position) in &bid.candidates {
            request
                .push_candidate(&[Value::I64(*item), Value::I64(*position)])
                .expect("the candidate fits");
        }
    }
}
