//! A host's metrics for Prometheus, in the OpenMetrics text format.
//!
//! [`text()`] is a whole scrape; [`HostCollector`] joins the metrics of a service that has a registry of `prometheus-client`.
//! `grafana.json` beside this crate's manifest is a dashboard of them.
//!
//! | metric | labels | |
//! |---|---|---|
//! | `unskew_generation` | | the generation that is served |
//! | `unskew_latest_generation` | | the store's current generation, as last seen |
//! | `unskew_resident_generations` | | generations in memory |
//! | `unskew_quarantined_generations` | | generations that are left for a while because calls failed in them |
//! | `unskew_mapped_bytes` | | of all snapshots in memory |
//! | `unskew_sessions` | | sessions that live |
//! | `unskew_snapshot_age_seconds` | view | the time of the scrape less the watermark |
//! | `unskew_snapshot_rows` | view | |
//! | `unskew_snapshot_late_events` | view | those that it leaves out, if the view declares a lateness |
//! | `unskew_swap_seconds` | outcome | histogram: changes of the generation, and failed attempts |
//! | `unskew_golden_seconds` | outcome | histogram: the golden calls of each module of a generation before it is served |
//! | `unskew_audits_total` | outcome | calls that were made again on a fresh instance, and those that should have been |
//! | `unskew_requests_total` | service | evaluated or refused |
//! | `unskew_requests_refused_total` | service | a field was missing, a view too old |
//! | `unskew_rows_total` | service | candidates |
//! | `unskew_request_seconds` | service | histogram: whole evaluations, one request in 64 |
//! | `unskew_request_lookup_seconds` | service | histogram: all lookups of a request, one request in 64 |
//! | `unskew_lookups_total` | service, view, result | a key that is the same for all rows of a request counts once |
//! | `unskew_missing_values_total` | service, feature, reason | a value that stands for all rows of a request counts once |
//! | `unskew_call_failures_total` | service, step, module, kind | of aggregates and row transforms |
//! | `unskew_call_seconds` | service, step, module | histogram: their calls, in one request of 64 |
//! | `unskew_key_lookups_total` | result | by `Session::lookup` |
//! | `unskew_key_lookup_seconds` | | histogram: one in 64 of them |
//! | `unskew_fresh_entities` | view | entities with fresh events |
//! | `unskew_fresh_failed_entities` | view | those with an event that could not be counted in: their values are missing |
//! | `unskew_fresh_events` | view | events that are kept, for some snapshot in memory does not have them |
//! | `unskew_fresh_bytes` | view | their memory, and that of what is made of them |
//! | `unskew_fresh_oldest_age_seconds` | view | the time of the scrape less that of the first of them |
//! | `unskew_fresh_gap` | view | 1 where a generation in memory is so old that events between are forgotten, or were refused as late that it would take |
//! | `unskew_fresh_pushed_total` | view, outcome | events: taken, covered (the snapshot had them), or a reason to refuse them |
//! | `unskew_fresh_forgotten_total` | view | events that all snapshots have |
//! | `unskew_fresh_full_total` | view | pushes that were refused as a whole, for want of memory |
//!
//! Results and reasons are the names of [`unskew::Status`]. Counts that are zero are left out where there is one for each
//! feature or each kind of failure.

use std::fmt;
use std::time::SystemTime;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, MetricEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;
use unskew::metrics::{FailureKind, FreshMetrics, Histogram, Metrics};
use unskew::{Audits, EventTime, Host, Refusal, Status};

/// The content type of what [`text()`] gives.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// A scrape of a host: its counters added up, ages by the clock of now.
///
/// # Errors
/// None but those of formatting, which writing to memory does not have.
pub fn text(host: &Host) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(HostCollector::new(host.clone())));
    let mut text = String::new();
    text::encode(&mut text, &registry)?;
    Ok(text)
}

/// A host among the metrics of a process: for `Registry::register_collector`.
#[derive(Debug)]
pub struct HostCollector {
    host: Host,
}

impl HostCollector {
    /// The collector of a host.
    pub fn new(host: Host) -> Self {
        Self { host }
    }
}

impl Collector for HostCollector {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        encode(&self.host.metrics(), now(), encoder)
    }
}

/// Encodes metrics that were read at `now`.
///
/// # Errors
/// Those of the encoder.
pub fn encode(metrics: &Metrics, now: EventTime, encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
    let mut families = Families(encoder);
    encode_host(metrics, now, &mut families)?;
    encode_services(metrics, &mut families)?;
    encode_lookups(metrics, &mut families)?;
    encode_fresh(metrics, now, &mut families)
}

fn now() -> EventTime {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    EventTime(since.map_or(0, |since| i64::try_from(since.as_micros()).unwrap_or(i64::MAX)))
}

fn encode_host(metrics: &Metrics, now: EventTime, families: &mut Families<'_>) -> Result<(), fmt::Error> {
    let gauges: [(&str, &str, u64); 6] = [
        ("unskew_generation", "The generation that is served", metrics.generation),
        (
            "unskew_latest_generation",
            "The store's current generation, as last seen",
            metrics.latest_generation,
        ),
        (
            "unskew_resident_generations",
            "Generations in memory",
            metrics.resident_generations as u64,
        ),
        (
            "unskew_quarantined_generations",
            "Generations that are left for a while because calls failed in them",
            metrics.quarantined_generations as u64,
        ),
        (
            "unskew_mapped_bytes",
            "Bytes of all snapshots in memory",
            metrics.mapped_bytes,
        ),
        ("unskew_sessions", "Sessions that live", metrics.sessions as u64),
    ];
    for (name, help, value) in gauges {
        families.family(name, help, MetricType::Gauge)?.encode_gauge(&value)?;
    }
    let mut age = families.family(
        "unskew_snapshot_age_seconds",
        "The time of the scrape less the snapshot's watermark",
        MetricType::Gauge,
    )?;
    for snapshot in &metrics.snapshots {
        let micros = i128::from(now.0) - i128::from(snapshot.watermark.0);
        age.encode_family(&[("view", &snapshot.view)])?
            .encode_gauge(&(micros as f64 / 1e6))?;
    }
    let mut rows = families.family("unskew_snapshot_rows", "Rows of the snapshot", MetricType::Gauge)?;
    for snapshot in &metrics.snapshots {
        rows.encode_family(&[("view", &snapshot.view)])?
            .encode_gauge(&snapshot.rows)?;
    }
    let mut late = families.family(
        "unskew_snapshot_late_events",
        "Events that the snapshot leaves out because they were late",
        MetricType::Gauge,
    )?;
    for snapshot in &metrics.snapshots {
        if let Some(count) = snapshot.late {
            late.encode_family(&[("view", &snapshot.view)])?.encode_gauge(&count)?;
        }
    }
    let mut swaps = families.family(
        "unskew_swap_seconds",
        "Changes of the generation, and failed attempts",
        MetricType::Histogram,
    )?;
    for swap in &metrics.swaps {
        encode_histogram(&mut swaps, &[("outcome", swap.outcome.name())], &swap.duration)?;
    }
    let mut golden = families.family(
        "unskew_golden_seconds",
        "Golden calls of a module, all of them",
        MetricType::Histogram,
    )?;
    for run in &metrics.golden {
        encode_histogram(&mut golden, &[("outcome", run.outcome.name())], &run.duration)?;
    }
    encode_audits(&metrics.audits, families)
}

fn encode_audits(audits: &Audits, families: &mut Families<'_>) -> Result<(), fmt::Error> {
    let mut family = families.family(
        "unskew_audits",
        "Calls that were made again on a fresh instance",
        MetricType::Counter,
    )?;
    for (outcome, count) in [
        ("exact", audits.exact),
        ("differing", audits.differing),
        ("unfinished", audits.unfinished),
        ("dropped", audits.dropped),
    ] {
        encode_count(&mut family, &[("outcome", outcome)], count)?;
    }
    Ok(())
}

fn encode_services(metrics: &Metrics, families: &mut Families<'_>) -> Result<(), fmt::Error> {
    let services = &metrics.services;
    let counters: [(&str, &str, Vec<u64>); 3] = [
        (
            "unskew_requests",
            "Requests that were evaluated or refused",
            services.iter().map(|service| service.requests).collect(),
        ),
        (
            "unskew_requests_refused",
            "Requests that lacked a field or found a view too old",
            services.iter().map(|service| service.refused).collect(),
        ),
        (
            "unskew_rows",
            "Rows of all requests: candidates",
            services.iter().map(|service| service.rows).collect(),
        ),
    ];
    for (name, help, counts) in counters {
        let mut family = families.family(name, help, MetricType::Counter)?;
        for (service, count) in services.iter().zip(counts) {
            encode_count(&mut family, &[("service", service.service.as_str())], count)?;
        }
    }
    let mut durations = families.family(
        "unskew_request_seconds",
        "Whole evaluations, of one request in 64",
        MetricType::Histogram,
    )?;
    for service in services {
        encode_histogram(
            &mut durations,
            &[("service", service.service.as_str())],
            &service.duration,
        )?;
    }
    let mut durations = families.family(
        "unskew_request_lookup_seconds",
        "All lookups of a request, of one request in 64",
        MetricType::Histogram,
    )?;
    for service in services {
        let labels = [("service", service.service.as_str())];
        encode_histogram(&mut durations, &labels, &service.lookup_duration)?;
    }
    encode_views(metrics, families)?;
    encode_calls(metrics, families)
}

fn encode_views(metrics: &Metrics, families: &mut Families<'_>) -> Result<(), fmt::Error> {
    let mut lookups = families.family(
        "unskew_lookups",
        "Lookups of keys by their results",
        MetricType::Counter,
    )?;
    for service in &metrics.services {
        for view in &service.views {
            for (status, count) in Status::ALL.into_iter().zip(view.lookups) {
                if count > 0 || status.is_present() {
                    let labels = [
                        ("service", service.service.as_str()),
                        ("view", &view.view),
                        ("result", status.name()),
                    ];
                    encode_count(&mut lookups, &labels, count)?;
                }
            }
        }
    }
    let mut missing = families.family(
        "unskew_missing_values",
        "Values that the model lacked",
        MetricType::Counter,
    )?;
    for service in &metrics.services {
        for feature in &service.features {
            for (status, count) in Status::ALL.into_iter().zip(feature.missing) {
                if count > 0 {
                    let labels = [
                        ("service", service.service.as_str()),
                        ("feature", &feature.feature),
                        ("reason", status.name()),
                    ];
                    encode_count(&mut missing, &labels, count)?;
                }
            }
        }
    }
    Ok(())
}

fn encode_calls(metrics: &Metrics, families: &mut Families<'_>) -> Result<(), fmt::Error> {
    let mut failures = families.family(
        "unskew_call_failures",
        "Calls of aggregates and row transforms that failed",
        MetricType::Counter,
    )?;
    for service in &metrics.services {
        for call in &service.calls {
            for (kind, count) in FailureKind::ALL.into_iter().zip(call.failures) {
                if count > 0 {
                    let labels = [
                        ("service", service.service.as_str()),
                        ("step", &call.step),
                        ("module", &call.module),
                        ("kind", kind.name()),
                    ];
                    encode_count(&mut failures, &labels, count)?;
                }
            }
        }
    }
    let mut durations = families.family(
        "unskew_call_seconds",
        "Calls of aggregates and row transforms, in one request of 64",
        MetricType::Histogram,
    )?;
    for service in &metrics.services {
        for call in &service.calls {
            let labels = [
                ("service", service.service.as_str()),
                ("step", &call.step),
                ("module", &call.module),
            ];
            encode_histogram(&mut durations, &labels, &call.duration)?;
        }
    }
    Ok(())
}

fn encode_lookups(metrics: &Metrics, families: &mut Families<'_>) -> Result<(), fmt::Error> {
    let lookups = &metrics.lookups;
    let mut counts = families.family("unskew_key_lookups", "Lookups of single keys", MetricType::Counter)?;
    for (result, count) in [(Status::Present, lookups.found), (Status::NotFound, lookups.not_found)] {
        encode_count(&mut counts, &[("result", result.name())], count)?;
    }
    let mut durations = families.family(
        "unskew_key_lookup_seconds",
        "Lookups of single keys, one in 64",
        MetricType::Histogram,
    )?;
    encode_buckets(&mut durations, &lookups.duration)
}

fn encode_fresh(metrics: &Metrics, now: EventTime, families: &mut Families<'_>) -> Result<(), fmt::Error> {
    type Read = fn(&FreshMetrics) -> u64;
    let gauges: [(&str, &str, Read); 5] = [
        ("unskew_fresh_entities", "Entities with fresh events", |fresh| {
            fresh.entities
        }),
        (
            "unskew_fresh_failed_entities",
            "Entities with an event that could not be counted in",
            |fresh| fresh.failed_entities,
        ),
        (
            "unskew_fresh_events",
            "Events that some snapshot in memory does not have",
            |fresh| fresh.events,
        ),
        (
            "unskew_fresh_bytes",
            "Bytes of fresh events and of what is made of them",
            |fresh| fresh.bytes,
        ),
        (
            "unskew_fresh_gap",
            "Whether a generation in memory is so old that events between are forgotten",
            |fresh| u64::from(fresh.has_gap),
        ),
    ];
    for (name, help, read) in gauges {
        let mut family = families.family(name, help, MetricType::Gauge)?;
        for fresh in &metrics.fresh {
            family
                .encode_family(&[("view", &fresh.view)])?
                .encode_gauge(&read(fresh))?;
        }
    }
    let mut age = families.family(
        "unskew_fresh_oldest_age_seconds",
        "The time of the scrape less that of the first fresh event",
        MetricType::Gauge,
    )?;
    for fresh in &metrics.fresh {
        if let Some(oldest) = fresh.oldest_event {
            let micros = i128::from(now.0) - i128::from(oldest.0);
            age.encode_family(&[("view", &fresh.view)])?
                .encode_gauge(&(micros as f64 / 1e6))?;
        }
    }
    let mut pushed = families.family(
        "unskew_fresh_pushed",
        "Events by what became of them",
        MetricType::Counter,
    )?;
    for fresh in &metrics.fresh {
        let refused = Refusal::ALL.into_iter().zip(fresh.refused);
        let refused = refused
            .map(|(refusal, count)| (refusal.name(), count))
            .filter(|(_, count)| *count > 0);
        for (outcome, count) in [("taken", fresh.taken), ("covered", fresh.covered)]
            .into_iter()
            .chain(refused)
        {
            encode_count(
                &mut pushed,
                &[("view", fresh.view.as_str()), ("outcome", outcome)],
                count,
            )?;
        }
    }
    let counters: [(&str, &str, Read); 2] = [
        ("unskew_fresh_forgotten", "Events that all snapshots have", |fresh| {
            fresh.forgotten
        }),
        (
            "unskew_fresh_full",
            "Pushes that were refused for want of memory",
            |fresh| fresh.full,
        ),
    ];
    for (name, help, read) in counters {
        let mut family = families.family(name, help, MetricType::Counter)?;
        for fresh in &metrics.fresh {
            encode_count(&mut family, &[("view", fresh.view.as_str())], read(fresh))?;
        }
    }
    Ok(())
}

/// The encoder.
struct Families<'a>(DescriptorEncoder<'a>);

impl Families<'_> {
    fn family<'s>(&'s mut self, name: &'s str, help: &str, kind: MetricType) -> Result<MetricEncoder<'s>, fmt::Error> {
        self.0.encode_descriptor(name, help, None, kind)
    }
}

fn encode_count(family: &mut MetricEncoder<'_>, labels: &impl EncodeLabelSet, count: u64) -> Result<(), fmt::Error> {
    family
        .encode_family(labels)?
        .encode_counter::<NoLabelSet, _, u64>(&count, None)
}

fn encode_histogram<L: EncodeLabelSet>(
    family: &mut MetricEncoder<'_>,
    labels: &L,
    histogram: &Histogram,
) -> Result<(), fmt::Error> {
    encode_buckets(&mut family.encode_family(labels)?, histogram)
}

fn encode_buckets(metric: &mut MetricEncoder<'_>, histogram: &Histogram) -> Result<(), fmt::Error> {
    let bounds = histogram.bounds_ns().map(|ns| ns as f64 / 1e9).chain([f64::INFINITY]);
    let buckets: Vec<(f64, u64)> = bounds.zip(histogram.counts).collect();
    let sum = histogram.sum_ns as f64 / 1e9;
    metric.encode_histogram::<NoLabelSet>(sum, histogram.count(), &buckets, None)
}
