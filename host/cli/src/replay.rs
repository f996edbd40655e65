use std::collections::BTreeSet;
use std::path::PathBuf;

use clap::Args;
use serde_json::json;
use unskew_batch::{ArrivalError, ArrivalOptions, Arrivals, BackfillOptions, Filter, replay_arrivals};
use unskew_snapshot::EventTime;

use crate::answer::{Answer, Facts, grouped};
use crate::failure::Failure;
use crate::modules::{ModuleArgs, modules_of_service, modules_of_view};
use crate::project::{ProjectArgs, check_defined};
use crate::value::parse_time;
use crate::watch::Watch;

/// Replay a log as it arrived through a host, and compare what is served with a backfill, bit for bit.
///
/// Snapshots are made as of the start. Then each event of the views' sources is pushed to a host when it became known (at its
/// known-at, or when it happened if its source has none), and each row of the spine is asked for at its time. Meanwhile newer
/// snapshots are made and served, the host goes back from them, and is ended and opened again with its journal. It fails where any
/// value differs. Nothing is left behind; spine, events and features are held in memory: `--where` makes it less.
#[derive(Args, Debug)]
#[command(after_help = "Example:
  unskew replay --service ranking --spine impressions.parquet --snapshots-at 2024-01-15 \\
    --where 'prediction_time >= 2024-01-15' --module modules/ctr-history.wasm")]
pub struct Replay {
    #[command(flatten)]
    project: ProjectArgs,
    /// The service that is asked.
    #[arg(long, value_name = "NAME")]
    service: String,
    /// What is asked when.
    #[arg(long, value_name = "FILE")]
    spine: PathBuf,
    /// The spine's column of the prediction time.
    #[arg(long, value_name = "NAME", default_value = "prediction_time")]
    time_column: String,
    /// Only the rows that fulfil this: see `unskew backfill`.
    #[arg(long = "where", value_name = "CONDITION")]
    filters: Vec<Filter>,
    /// The time as of which the first snapshots are made [default: that of the first row].
    #[arg(long, value_name = "RFC3339", value_parser = parse_time)]
    snapshots_at: Option<EventTime>,
    /// How many newer snapshots are served, how often the host goes back and how often it is opened again: so many times each.
    #[arg(long, value_name = "COUNT", default_value_t = 3)]
    disturbances: usize,
    /// Of all that is by chance: another seed, another order and other moments.
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    seed: u64,
    /// Pushes one event twice, to see that it is found: then the replay fails.
    #[arg(long)]
    push_twice: bool,
    #[command(flatten)]
    modules: ModuleArgs,
}

impl Replay {
    pub fn run(self) -> Result<Answer, Failure> {
        let project = self.project.load()?;
        let catalog = project.catalog();
        let names = catalog.services.iter().map(|service| service.name.as_str());
        check_defined("service", &self.service, project.path(), names)?;
        // A generation has all of a project's views and services.
        let of_services = catalog
            .services
            .iter()
            .flat_map(|service| modules_of_service(catalog, service));
        let needed: BTreeSet<&str> = catalog
            .views
            .iter()
            .flat_map(modules_of_view)
            .chain(of_services)
            .collect();
        let store = self.project.store();
        let modules = self.modules.load(&store, &needed)?.modules;
        let options = ArrivalOptions {
            backfill: BackfillOptions {
                service: self.service,
                spine: self.spine,
                time_column: self.time_column,
                filter: self.filters.into_iter().fold(Filter::default(), Filter::and),
                max_quarantined: 0,
                ..BackfillOptions::default()
            },
            snapshots_at: self.snapshots_at,
            disturbances: self.disturbances,
            seed: self.seed,
            push_twice: self.push_twice,
        };
        let scratch = tempfile::tempdir()?;
        let watch = Watch::new();
        watch.say("computing what is to be served");
        let found = replay_arrivals(&project, &modules, &store, scratch.path(), &options, |served, of| {
            if served % 1_000 == 0 || served == of {
                watch.say(&format!(
                    "served {} of {} requests",
                    grouped(served as u64),
                    grouped(of as u64)
                ));
            }
        });
        drop(watch);
        let found = found.map_err(|error| match error {
            ArrivalError::Backfill(error) => crate::backfill::explain(error, &project, &options.backfill),
            error => error.into(),
        })?;
        answer(&options.backfill.service, &found)
    }
}

fn answer(service: &str, found: &Arrivals) -> Result<Answer, Failure> {
    let parity = &found.parity;
    if !parity.is_exact() {
        let message = match parity.values {
            0 => "no row of the spine is at or after the first snapshots: nothing was compared".to_owned(),
            values => format!(
                "{} of {} values were served otherwise than a backfill computes them",
                grouped(parity.mismatches),
                grouped(values)
            ),
        };
        let lines: Vec<String> = parity.named.iter().map(ToString::to_string).collect();
        return Err(match lines.is_empty() {
            true => Failure::new(message),
            false => Failure::new(message).help(lines.join("\n")),
        });
    }
    let text = Facts::default()
        .with("service", service)
        .with("requests", grouped(found.requests))
        .with("values", format!("{}, all the same", grouped(parity.values)))
        .with("events", format!("{} pushed", grouped(found.events)))
        .with("", format!("{} that snapshots had", grouped(found.covered)))
        .with("", format!("{} without a key", grouped(found.keyless)))
        .with("", format!("{} refused as late", grouped(found.late)))
        .with("swaps", found.swaps)
        .with("rollbacks", found.rollbacks)
        .with("restarts", found.restarts)
        .text();
    let json = json!({
        "service": service,
        "requests": found.requests,
        "rows": parity.rows,
        "values": parity.values,
        "mismatches": parity.mismatches,
        "events": found.events,
        "covered": found.covered,
        "keyless": found.keyless,
        "late": found.late,
        "swaps": found.swaps,
        "rollbacks": found.rollbacks,
        "restarts": found.restarts,
    });
    Ok(Answer::new(text, json))
}
