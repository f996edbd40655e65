use std::collections::BTreeSet;
use std::path::PathBuf;

use clap::Args;
use unskew_batch::{BackfillOptions, Filter, Project};
use unskew_snapshot::EventTime;

use crate::failure::Failure;
use crate::modules::{LoadedModules, ModuleArgs, modules_of_service};
use crate::project::{ProjectArgs, check_defined};
use crate::value::{parse_lag, parse_time};

/// Which features to compute, for which rows, and as of when.
#[derive(Args, Debug)]
pub struct QuestionArgs {
    #[command(flatten)]
    project: ProjectArgs,
    /// The service whose features are computed.
    #[arg(long, value_name = "NAME")]
    service: String,
    /// The rows to compute them for: a file, a directory of Parquet files, or the URL of either.
    #[arg(long, value_name = "FILE")]
    pub spine: PathBuf,
    /// The spine's column of the prediction time.
    #[arg(long, value_name = "NAME", default_value = "prediction_time")]
    time_column: String,
    /// Only for the rows that fulfil this, as in 'date >= 2026-01-01 and date < 2026-02-01'; if given more than once, all of it.
    ///
    /// A condition is a column of the spine, one of = < <= > >=, and a date, a time, an integer or a text. Files in directories
    /// such as date=2026-01-01 and row groups that cannot have such rows are not read.
    #[arg(long = "where", value_name = "CONDITION")]
    filters: Vec<Filter>,
    /// Compute as though nothing later than this had been known: what a host with a snapshot of this watermark serves.
    #[arg(long, value_name = "RFC3339", value_parser = parse_time)]
    freeze_at: Option<EventTime>,
    /// Compute as though everything had become known this much later, as in 6h: what a pipeline that is so late serves.
    #[arg(long, value_name = "DURATION", value_parser = parse_lag)]
    lag: Option<u64>,
    #[command(flatten)]
    modules: ModuleArgs,
}

impl QuestionArgs {
    /// Reads the project and the modules that the service needs.
    pub fn load(&self) -> Result<(Project, LoadedModules), Failure> {
        let project = self.project.load()?;
        let services = &project.catalog().services;
        let names = services.iter().map(|service| service.name.as_str());
        check_defined("service", &self.service, project.path(), names)?;
        let used = services.iter().filter(|service| service.name == self.service);
        let needed: BTreeSet<&str> = used
            .flat_map(|service| modules_of_service(project.catalog(), service))
            .collect();
        let modules = self.modules.load(&self.project.store(), &needed)?;
        Ok((project, modules))
    }

    /// The same question as a backfill has it.
    pub fn into_options(self) -> BackfillOptions {
        BackfillOptions {
            service: self.service,
            spine: self.spine,
            time_column: self.time_column,
            filter: self.filters.into_iter().fold(Filter::default(), Filter::and),
            freeze_at: self.freeze_at,
            lag_us: self.lag.unwrap_or(0),
            ..BackfillOptions::default()
        }
    }
}
