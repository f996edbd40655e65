use std::path::Path;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde_json::{Map, Value, json};
use unskew::{Digest, SnapshotEntry};
use unskew_batch::{Backfilled, Parity, TrainingSet};

use crate::log::Log;

/// What the demo did: printed as it goes, and at the end.
#[derive(Default)]
pub struct Report {
    digests: Map<String, Value>,
    end: Map<String, Value>,
}

impl Report {
    pub fn log(&mut self, log: &Log, took: Duration) {
        step("log", took);
        eprintln!(
            "    {}: {} impressions, last day from {}",
            log.name,
            log.impressions.len(),
            log.watermark
        );
    }

    pub fn component(&mut self, name: &str, component: &[u8], took: Duration) {
        let digest = Digest::of(component);
        step("build", took);
        eprintln!("    {name}: {} bytes, {digest}", component.len());
        self.digests.insert(format!("module:{name}"), json!(digest.to_string()));
    }

    pub fn training(&mut self, made: &Backfilled, manifest: &Path, took: Duration) {
        let output = &made.output;
        step("backfill", took);
        eprintln!(
            "    {}: {} rows x {} features, {} bytes, manifest {}",
            output.path.display(),
            output.rows,
            made.plan.features.len(),
            output.bytes,
            manifest.display()
        );
        self.digests
            .insert("training_set".to_owned(), json!(output.digest.to_string()));
        self.end.insert("training_rows".to_owned(), json!(output.rows));
    }

    pub fn snapshot(&mut self, view: &str, entry: &SnapshotEntry, bytes: u64) {
        eprintln!("    snapshot of {view}: {} rows, {bytes} bytes", entry.row_count);
        self.digests.insert(format!("snapshot:{view}"), json!(entry.digest));
    }

    pub fn generation(&mut self, generation: u64, took: Duration) {
        step("materialize and publish", took);
        eprintln!("    generation {generation}");
    }

    pub fn frozen(&mut self, set: &TrainingSet, took: Duration) {
        step("backfill of the last day, frozen at its start", took);
        eprintln!("    {} rows", set.spine.rows());
    }

    pub fn parity(&mut self, parity: &Parity, latency_ns: &Histogram<u64>, candidates: usize, took: Duration) {
        step("serve and compare", took);
        let micros = |quantile| (latency_ns.value_at_quantile(quantile) as f64 / 100.0).round() / 10.0;
        let quantiles = [("p50", micros(0.5)), ("p99", micros(0.99)), ("p99.9", micros(0.999))];
        eprintln!("    {} requests of up to {candidates} candidates", latency_ns.len());
        self.end.insert("rows".to_owned(), json!(parity.rows));
        self.end.insert("values_compared".to_owned(), json!(parity.values));
        self.end.insert("mismatches".to_owned(), json!(parity.mismatches));
        self.end.insert("requests".to_owned(), json!(latency_ns.len()));
        self.end.insert("candidates_per_request".to_owned(), json!(candidates));
        let latencies: Map<String, Value> = quantiles
            .iter()
            .map(|(name, value)| ((*name).to_owned(), json!(value)))
            .collect();
        self.end.insert("evaluate_latency_us".to_owned(), latencies.into());
    }

    /// The end: for people, or as one object.
    pub fn print(mut self, directory: &Path, is_json: bool) {
        if is_json {
            self.end.insert("digests".to_owned(), self.digests.into());
            self.end
                .insert("files".to_owned(), json!(directory.display().to_string()));
            println!("{}", Value::Object(self.end));
            return;
        }
        println!("rows compared       {}", self.end["rows"]);
        println!("values compared     {}", self.end["values_compared"]);
        println!("mismatches          {}", self.end["mismatches"]);
        let latency = &self.end["evaluate_latency_us"];
        println!(
            "evaluate            p50 {} us, p99 {} us, p99.9 {} us, {} candidates a request",
            latency["p50"], latency["p99"], latency["p99.9"], self.end["candidates_per_request"]
        );
        println!("files               {}", directory.display());
    }
}

fn step(name: &str, took: Duration) {
    eprintln!("{name} ({:.1} s)", took.as_secs_f64());
}
