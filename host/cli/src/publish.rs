use std::collections::{BTreeMap, BTreeSet};

use clap::Args;
use serde_json::{Value as Json, json};
use unskew::{Cpu, Module, Plan, descriptors};
use unskew_batch::{Project, PublishError, publish, publish_deltas};
use unskew_registry::prepare;
use unskew_snapshot::EventTime;

use crate::answer::{Answer, Facts, counted};
use crate::failure::{Context, Failure};
use crate::modules::{ModuleArgs, modules_of_service};
use crate::project::{ProjectArgs, explain_source};
use crate::value::parse_time;
use crate::watch::Watch;

/// Publish a generation: modules, snapshots and services that belong together.
///
/// Materializes every view that a service reads as of the watermark, puts the modules and the snapshots into the store under
/// their digests, compiles the modules, and makes all of it the store's current generation in one last step. If any step
/// fails, the generation before stays current. Hosts that serve from the store take the new one at their next refresh.
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  unskew publish --watermark 2024-01-15 \\\n    --module modules/ctr-history.wasm --module modules/request-context.wasm"
)]
pub struct Publish {
    #[command(flatten)]
    project: ProjectArgs,
    /// The time as of which the snapshots are.
    #[arg(long, value_name = "RFC3339", value_parser = parse_time)]
    watermark: EventTime,
    /// Publish what changed since the store's current generation as a delta on each of its snapshots.
    ///
    /// Reads what `unskew materialize --delta-from` reads, and does not see what that does not. A view is materialized whole where it
    /// has no snapshot in the store, where that has eight deltas already, or where the view or its module changed.
    #[arg(long)]
    delta: bool,
    #[command(flatten)]
    modules: ModuleArgs,
}

impl Publish {
    pub fn run(self) -> Result<Answer, Failure> {
        let project = self.project.load()?;
        let catalog = project.catalog();
        if catalog.services.is_empty() {
            return Err(Failure::new(format!("{} defines no service", project.path().display()))
                .help("add one: a table [[service]] with the features that a model reads"));
        }
        let needed: BTreeSet<&str> = catalog
            .services
            .iter()
            .flat_map(|service| modules_of_service(catalog, service))
            .collect();
        let store = self.project.store();
        let modules = self.modules.load(&store, &needed)?.modules;
        let views = views_read(&project, &modules)?;

        let watch = Watch::new();
        let views = views.iter().map(String::as_str);
        let on_view = |view: &str| watch.say(&format!("materializing view {view}"));
        let manifest = match self.delta {
            false => publish(&project, &modules, &store, views, self.watermark, on_view),
            true => publish_deltas(&project, &modules, &store, views, self.watermark, on_view),
        };
        let manifest = manifest.map_err(|error| match error {
            PublishError::Materialize(error) => explain_source(error, &project),
            error => error.into(),
        })?;
        let generation = manifest.generation;
        // Loading compiled them already; this is for a cache that someone emptied meanwhile.
        prepare(&store, &store.compiled_dir(), &manifest, Cpu::best(), |_, _, _| ()).help(|| {
            format!(
                "generation {generation} is published; run `unskew prepare --store {}`",
                store.root().display()
            )
        })?;
        drop(watch);

        let mut facts = Facts::default()
            .with("generation", generation)
            .with("store", store.root().display())
            .with("watermark", self.watermark);
        for (name, entry) in &manifest.modules {
            facts = facts.with(format!("module {name}"), format!("{} {}", entry.version, entry.digest));
        }
        for (view, entry) in &manifest.snapshots {
            facts = facts.with(
                format!("view {view}"),
                format!(
                    "{}, {}{}",
                    counted(entry.row_count, "row"),
                    late(entry.late_count),
                    entry.digest
                ),
            );
            for (number, delta) in (1..).zip(&entry.deltas) {
                facts = facts.with(
                    format!("delta {number} of {view}"),
                    format!(
                        "{}, {}{}",
                        counted(delta.row_count, "row"),
                        late(delta.late_count),
                        delta.digest
                    ),
                );
            }
        }
        let json = json!({
            "generation": generation,
            "store": store.root().display().to_string(),
            "watermark": self.watermark.to_string(),
            "modules": manifest.modules.iter().map(|(name, entry)| {
                (name.clone(), json!({ "version": entry.version, "digest": entry.digest }))
            }).collect::<serde_json::Map<String, Json>>(),
            "snapshots": manifest.snapshots.iter().map(|(view, entry)| {
                (view.clone(), json!({
                    "rows": entry.row_count,
                    "late": entry.late_count,
                    "digest": entry.digest,
                    "deltas": entry.deltas,
                }))
            }).collect::<serde_json::Map<String, Json>>(),
        });
        Ok(Answer {
            text: facts.text(),
            json,
            is_partial: false,
        })
    }
}

/// What is said of the events that a file leaves out.
fn late(count: Option<u64>) -> String {
    count.map_or(String::new(), |count| counted(count, "late event") + " left out, ")
}

/// The views that the project's services read. Every service is resolved as a host would do it.
fn views_read(project: &Project, modules: &BTreeMap<String, Module>) -> Result<BTreeSet<String>, Failure> {
    let descriptors = descriptors(modules);
    let mut views = BTreeSet::new();
    for service in &project.catalog().services {
        let plan = Plan::resolve(project.catalog(), &service.name, &descriptors)
            .context(|| format!("{} cannot be published", project.path().display()))?;
        views.extend(plan.views.into_iter().map(|step| step.view));
    }
    Ok(views)
}
