use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use unskew_batch::{ChunkOptions, ColumnRequest, TableChunk, TableChunks, TableSource, entity_keys};
use unskew_frame::{Column, ColumnType, Value};
use unskew_snapshot::{
    DEFAULT_MEMORY_BUDGET_BYTES, DuplicateKeys, EventTime, FeatureColumn, KeyColumn, KeyType, SnapshotSchema,
    SnapshotWriter, Ttl, WriteError, WriteOptions, WriteStage, parse_duration_us,
};

use crate::answer::{Answer, grouped};
use crate::failure::{Context, Failure};
use crate::output::{answer_written, check_directory};
use crate::value::{parse_bytes, parse_time};
use crate::watch::Watch;

/// How many rows are read between two lines about it.
const TOLD_ROWS: usize = 5_000_000;

/// Build a snapshot from tables.
///
/// Every row of the tables becomes a row of the snapshot, in whatever order they come; of rows with one key, `--duplicates
/// as-of` keeps the one that an as-of join at the watermark would choose. Tables may be larger than memory: a few rows are read
/// at a time, and beyond `--memory` those read so far are sorted on disk. `unskew materialize` builds the snapshot of a
/// project's view.
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  unskew snapshot build item_price.snapshot --from prices.parquet --view item_price \\\n    --key item_id:i64 --feature price:f64 --feature label:string --event-time time"
)]
pub struct Build {
    /// The file to write; snapshots are never overwritten.
    out: PathBuf,
    /// A .parquet, .csv or .jsonl file, or a directory of Parquet files; may be given again.
    #[arg(long, required = true, value_name = "PATH")]
    from: Vec<PathBuf>,
    /// The name of the view.
    #[arg(long, value_name = "NAME")]
    view: String,
    /// A part of the entity key: i64, string or bytes; in order.
    #[arg(long, required = true, value_name = "COLUMN:TYPE", value_parser = parse_key)]
    key: Vec<(String, KeyType)>,
    /// A feature: f64, f32, i64, bool, timestamp, string, bytes or f32[N]; in order.
    #[arg(long, value_name = "COLUMN:TYPE", value_parser = parse_feature)]
    feature: Vec<(String, ColumnType)>,
    /// The column of the time when a row happened.
    #[arg(long, value_name = "COLUMN")]
    event_time: String,
    /// The column of the time when a row became known.
    #[arg(long, value_name = "COLUMN")]
    known_at: Option<String>,
    /// How long a row counts, as in 7d; for ever if it is not given.
    #[arg(long, value_name = "DURATION", value_parser = parse_ttl)]
    ttl: Option<Ttl>,
    /// The time as of which the snapshot is. A later row is refused.
    #[arg(long, value_name = "RFC3339", value_parser = parse_time)]
    watermark: EventTime,
    /// What happens to keys with several rows.
    #[arg(long, value_enum, default_value_t = Duplicates::Refuse)]
    duplicates: Duplicates,
    /// The memory to sort in, as in 1GiB or 512MiB.
    #[arg(long, value_name = "SIZE", value_parser = parse_bytes)]
    memory: Option<u64>,
    /// Where rows are sorted on disk: the directory of the snapshot, if it is not given.
    #[arg(long, value_name = "DIRECTORY")]
    spill: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Duplicates {
    /// They are an error.
    Refuse,
    /// The greatest by event time, known-at and values is kept.
    AsOf,
}

impl Build {
    pub fn run(self) -> Result<Answer, Failure> {
        check_directory(&self.out)?;
        let mut writer = SnapshotWriter::create(&self.out, self.options()).map_err(failure)?;
        let watch = Watch::new();
        for path in &self.from {
            watch.say(&format!("reading {}", path.display()));
            self.push_table(path, &mut writer, &watch)?;
        }
        let mut last = None;
        let written = writer.finish_with(&mut |progress| {
            let (stage, percent) = (progress.stage, progress.rows_done * 100 / progress.rows_total.max(1));
            // A line for each quarter where lines stay.
            if last != Some((stage, percent / 25)) {
                last = Some((stage, percent / 25));
                let verb = if stage == WriteStage::Sorting {
                    "sorting"
                } else {
                    "writing"
                };
                watch.say(&format!("{verb} {} rows: {percent} %", grouped(progress.rows_total)));
            }
        });
        drop(watch);
        Ok(answer_written(&self.view, self.watermark, &written.map_err(failure)?))
    }

    fn options(&self) -> WriteOptions {
        let schema = SnapshotSchema {
            view: self.view.clone(),
            key: self
                .key
                .iter()
                .map(|(name, of_type)| KeyColumn::new(name, *of_type))
                .collect(),
            features: self
                .feature
                .iter()
                .map(|(name, of_type)| FeatureColumn::new(name, *of_type))
                .collect(),
            ttl: self.ttl,
        };
        let mut options = WriteOptions::new(schema, self.watermark);
        options.duplicates = match self.duplicates {
            Duplicates::Refuse => DuplicateKeys::Refuse,
            Duplicates::AsOf => DuplicateKeys::AsOf,
        };
        options.memory_budget_bytes = self.memory.unwrap_or(DEFAULT_MEMORY_BUDGET_BYTES);
        options.spill_directory = self.spill.clone();
        options
    }

    fn push_table(&self, path: &Path, writer: &mut SnapshotWriter, watch: &Watch) -> Result<(), Failure> {
        let request = |name: &str, column_type, nullable| ColumnRequest {
            name: name.to_owned(),
            column_type,
            required: true,
            nullable,
        };
        let keys = self
            .key
            .iter()
            .map(|(name, of_type)| request(name, of_type.column_type(), false));
        let features = self.feature.iter().map(|(name, of_type)| request(name, *of_type, true));
        let source = TableSource {
            path: path.to_owned(),
            columns: keys.chain(features).collect(),
            event_time: self.event_time.clone(),
            known_at: self.known_at.clone(),
        };
        let mut rows = 0;
        for chunk in TableChunks::open(source, ChunkOptions::default())? {
            let chunk = chunk?;
            self.push_chunk(&chunk, writer)?;
            let told = rows / TOLD_ROWS;
            rows += chunk.table.rows();
            if rows / TOLD_ROWS > told {
                watch.say(&format!("reading {}: {} rows", path.display(), grouped(rows as u64)));
            }
        }
        Ok(())
    }

    fn push_chunk(&self, chunk: &TableChunk, writer: &mut SnapshotWriter) -> Result<(), Failure> {
        let table = &chunk.table;
        let (keys, features) = table.columns().split_at(self.key.len());
        let keys: Vec<&Column> = keys.iter().collect();
        let in_row = |row: usize| format!("{}: row {}", chunk.path.display(), chunk.first_row + row as u64 + 1);
        let keys = match entity_keys(&keys, table.rows()) {
            Ok(keys) => keys,
            Err(error) => return Err(error.source).context(|| in_row(error.row)),
        };
        let mut values: Vec<Value<'_>> = Vec::with_capacity(features.len());
        for (row, key) in keys.iter().enumerate() {
            // The key's columns may not be missing, so each row has one.
            let Some(key) = key else { continue };
            values.clear();
            values.extend(features.iter().map(|column| column.value(row)));
            let known_at = table.known_at().and_then(|known_at| known_at[row]);
            writer
                .push(key.as_ref(), table.event_time()[row], known_at, &values)
                .map_err(failure)
                .context(|| in_row(row))?;
        }
        Ok(())
    }
}

/// What the user can do about it.
fn failure(error: WriteError) -> Failure {
    let help = match &error {
        WriteError::DuplicateKey { .. } => "give --duplicates as-of, or clean the table",
        WriteError::AfterWatermark { .. } => "give a later --watermark",
        _ => return error.into(),
    };
    Failure::from(error).help(help)
}

fn parse_key(text: &str) -> Result<(String, KeyType), String> {
    let (name, of_type) = split(text)?;
    let of_type = of_type.parse::<KeyType>().map_err(|error| error.to_string())?;
    Ok((name, of_type))
}

fn parse_feature(text: &str) -> Result<(String, ColumnType), String> {
    let (name, of_type) = split(text)?;
    let of_type = of_type.parse::<ColumnType>().map_err(|error| error.to_string())?;
    Ok((name, of_type))
}

fn split(text: &str) -> Result<(String, &str), String> {
    let (name, of_type) = text
        .rsplit_once(':')
        .ok_or_else(|| "write the column and its type, as in item_id:i64".to_owned())?;
    Ok((name.to_owned(), of_type))
}

fn parse_ttl(text: &str) -> Result<Ttl, String> {
    parse_duration_us(text)
        .map(Ttl::from_micros)
        .map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_may_have_a_colon_in_its_name() {
        assert_eq!(parse_key("a:b:i64"), Ok(("a:b".to_owned(), KeyType::I64)));
        assert_eq!(parse_feature("v:f32[8]"), Ok(("v".to_owned(), ColumnType::Vector(8))));
        assert!(parse_key("item_id").is_err() && parse_key("item_id:f64").is_err());
    }
}
