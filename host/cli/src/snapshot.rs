mod build;
pub mod diff;
pub mod layers;

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::{Map, Value as Json, json};
use unskew::Digest;
use unskew_frame::Value;
use unskew_snapshot::{
    Backing, EntityKey, FORMAT_VERSION, FeatureColumn, FeatureStatistics, KeyColumn, KeyPart, KeyType, OpenError,
    OpenOptions, OpenProgress, OpenStage, Row, Snapshot, SnapshotSchema,
};

use self::layers::{delta_facts, delta_json, digest_of, layers_on};
use crate::answer::{Answer, Facts, counted, grouped, titled_table};
use crate::failure::Failure;
use crate::output::late_text;
use crate::value::{parse_hex, value_json, value_text};
use crate::watch::Watch;

/// Of a file of fewer bytes nothing is told while it is checked: it takes no time.
const TOLD_BYTES: u64 = 64 << 20;

/// Build snapshot files and look into them.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  unskew snapshot inspect item_ctr.snapshot")]
pub struct SnapshotArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Build(build::Build),
    Inspect(Inspect),
    Get(Get),
    Diff(diff::Diff),
    Delta(layers::Delta),
    Compact(layers::Compact),
    Verify(Verify),
}

impl SnapshotArgs {
    pub fn run(self) -> Result<Answer, Failure> {
        match self.command {
            Command::Build(command) => command.run(),
            Command::Diff(command) => command.run(),
            Command::Delta(command) => command.run(),
            Command::Compact(command) => command.run(),
            Command::Inspect(command) => command.run(),
            Command::Get(command) => command.run(),
            Command::Verify(command) => command.run(),
        }
    }
}

/// Show what a snapshot is of.
///
/// Prints its view, key, features with their nulls and ranges, rows, watermark, size, and the module that computed its rows.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  unskew snapshot inspect item_ctr.snapshot")]
struct Inspect {
    /// The snapshot.
    file: PathBuf,
}

/// Show the row of a key.
///
/// Prints the row's event time and its values, or that the key is not there, which is an answer and no failure. Write
/// integers in decimal and bytes in hexadecimal; write `--` before a text that begins with a dash.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  unskew snapshot get item_ctr.snapshot 42")]
struct Get {
    /// The snapshot.
    file: PathBuf,
    /// The parts of the entity key, in the order of the schema.
    #[arg(required = true, value_name = "KEY", allow_negative_numbers = true)]
    key: Vec<String>,
    /// A delta on the snapshot; give all of them in the order of their numbers.
    #[arg(long = "delta", value_name = "DELTA")]
    deltas: Vec<PathBuf>,
}

/// Check every byte of a snapshot.
///
/// Checks lengths, checksums, metadata, and every key and value, as a host does before it serves the file. Damage is reported
/// with its section and offset. With `--private` or `--lock` it also tells what this machine gives a host that opens the file so.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  unskew snapshot verify item_ctr.snapshot")]
struct Verify {
    /// The snapshot.
    file: PathBuf,
    /// Check a copy in memory of its own, on huge pages where the kernel gives them, instead of the file's pages.
    #[arg(long)]
    private: bool,
    /// Lock the pages in memory; needs a sufficient `ulimit -l`.
    #[arg(long)]
    lock: bool,
}

impl Inspect {
    fn run(self) -> Result<Answer, Failure> {
        let snapshot = open(&self.file)?;
        let (meta, schema) = (snapshot.meta(), snapshot.schema());
        let module = meta.module_digest.map(Digest);
        let event_times = meta
            .event_times
            .map(|(first, last)| [first.to_string(), last.to_string()]);
        let facts = Facts::default()
            .with("view", &schema.view)
            .with("rows", grouped(meta.row_count))
            .with("watermark", meta.watermark)
            .with_some("event times", event_times.as_ref().map(|times| times.join(" to ")))
            .with("ttl", schema.ttl.map_or("none".to_owned(), |ttl| ttl.to_string()))
            .with("size", format!("{} bytes", grouped(snapshot.file_bytes())))
            .with(
                "format",
                format!(
                    "{FORMAT_VERSION}, {} slots of {} bytes",
                    grouped(snapshot.slot_count()),
                    snapshot.row_bytes_each()
                ),
            )
            .with_some("module", module)
            .with_some("state version", meta.state_version)
            .with_some("late", meta.late.map(late_text))
            .with("builder", &meta.builder);
        let facts = delta_facts(facts, meta);
        let key = schema.key.iter().map(|part| (&part.name, part.key_type.to_string()));
        let key_rows = key.clone().map(|(name, of_type)| vec![name.clone(), of_type]).collect();
        let features = || schema.features.iter().zip(&meta.statistics);
        let feature_rows = features().map(|(feature, statistics)| {
            let range = statistics
                .range
                .map_or(String::new(), |(low, high)| format!("{low:?} to {high:?}"));
            vec![
                feature.name.clone(),
                feature.column_type.to_string(),
                grouped(statistics.null_count),
                grouped(statistics.nan_count),
                range,
            ]
        });
        let text = facts.text()
            + &titled_table("key", &["name", "type"], key_rows)
            + &titled_table(
                "features",
                &["name", "type", "nulls", "NaN", "range"],
                feature_rows.collect(),
            );
        let column = |(name, of_type): (&String, String)| json!({ "name": name, "type": of_type });
        let feature = |(feature, statistics): (&FeatureColumn, &FeatureStatistics)| {
            json!({
                "name": feature.name,
                "type": feature.column_type.to_string(),
                "nulls": statistics.null_count,
                "nan": statistics.nan_count,
                "range": statistics.range.map(|(low, high)| [low, high].map(|bound| value_json(Value::F64(bound)))),
            })
        };
        let json = json!({
            "view": schema.view,
            "key": key.map(column).collect::<Json>(),
            "features": features().map(feature).collect::<Json>(),
            "rows": meta.row_count,
            "watermark": meta.watermark.to_string(),
            "event_times": event_times,
            "ttl_us": schema.ttl.map(|ttl| ttl.as_micros()),
            "bytes": snapshot.file_bytes(),
            "format": FORMAT_VERSION,
            "slots": snapshot.slot_count(),
            "row_bytes": snapshot.row_bytes_each(),
            "module": module,
            "state_version": meta.state_version,
            "lateness_us": meta.late.map(|late| late.lateness.as_micros()),
            "late": meta.late.map(|late| late.count),
            "builder": meta.builder,
            "delta": delta_json(meta),
        });
        Ok(Answer::new(text, json))
    }
}

impl Get {
    fn run(self) -> Result<Answer, Failure> {
        let snapshot = open(&self.file)?;
        let key = parse_key(snapshot.schema(), &self.key)?;
        if snapshot.meta().delta.is_some() && self.deltas.is_empty() {
            // What a delta says of a key, by itself.
            return Ok(self.answer(&key, snapshot.schema(), snapshot.get(key.as_ref())));
        }
        let layers = layers_on(&self.file, snapshot, &self.deltas)?;
        Ok(self.answer(&key, layers.schema(), layers.get(key.as_ref())))
    }

    fn answer(&self, key: &EntityKey, schema: &SnapshotSchema, row: Option<Row<'_>>) -> Answer {
        let Some(row) = row.filter(|row| !row.is_removed()) else {
            let (what, is_removed) = match row {
                None => ("has no row of", false),
                Some(_) => ("removes", true),
            };
            return Answer::new(
                format!("{} {what} {key}\n", self.file.display()),
                json!({ "key": self.key, "found": false, "removed": is_removed }),
            );
        };
        let named = || {
            schema
                .features
                .iter()
                .map(|feature| feature.name.as_str())
                .zip(row.values())
        };
        let facts = Facts::default().with("key", key).with("event time", row.event_time());
        let text = named()
            .fold(facts, |facts, (name, value)| facts.with(name, value_text(value)))
            .text();
        let values: Map<String, Json> = named()
            .map(|(name, value)| (name.to_owned(), value_json(value)))
            .collect();
        let json = json!({
            "key": self.key,
            "found": true,
            "event_time": row.event_time().to_string(),
            "values": values,
        });
        Answer::new(text, json)
    }
}

impl Verify {
    fn run(self) -> Result<Answer, Failure> {
        let options = OpenOptions {
            backing: if self.private { Backing::Private } else { Backing::File },
            is_locked: self.lock,
            ..OpenOptions::default()
        };
        let watch = Watch::new();
        let mut last = None;
        let snapshot = open_with(&self.file, &options, &mut |progress| {
            let percent = progress.bytes_done * 100 / progress.bytes_total.max(1);
            if progress.bytes_total >= TOLD_BYTES && last != Some((progress.stage, percent / 25)) {
                last = Some((progress.stage, percent / 25));
                watch.say(&format!(
                    "{} {} bytes: {percent} %",
                    stage_name(progress.stage),
                    grouped(progress.bytes_total)
                ));
            }
        })?;
        drop(watch);
        let digest = digest_of(&self.file)?;
        let memory = snapshot.residency();
        let mut facts = Facts::default()
            .with("sound", self.file.display())
            .with("rows", grouped(snapshot.len() as u64))
            .with("size", format!("{} bytes", grouped(snapshot.file_bytes())))
            .with("digest", digest);
        facts = delta_facts(facts, snapshot.meta());
        if self.private || self.lock {
            facts = facts
                .with("huge pages", format!("{} bytes", grouped(memory.huge_page_bytes)))
                .with("prefaulted", if memory.is_prefaulted { "yes" } else { "no" });
        }
        if self.lock {
            let refusal = memory.lock_refusal.as_deref().unwrap_or("not asked for");
            let locked = match memory.is_locked {
                true => "yes".to_owned(),
                false => format!("no: {refusal}: `ulimit -l` shows how much may be"),
            };
            facts = facts.with("locked", locked);
        }
        let json = json!({
            "path": self.file.display().to_string(),
            "rows": snapshot.len(),
            "bytes": snapshot.file_bytes(),
            "digest": digest,
            "delta": delta_json(snapshot.meta()),
            "memory": {
                "private": self.private,
                "huge_page_bytes": memory.huge_page_bytes,
                "prefaulted": memory.is_prefaulted,
                "locked": memory.is_locked,
                "lock_refusal": memory.lock_refusal,
            },
        });
        Ok(Answer {
            text: facts.text(),
            json,
            is_partial: false,
        })
    }
}

const fn stage_name(stage: OpenStage) -> &'static str {
    match stage {
        OpenStage::Copying => "copying",
        OpenStage::CheckingRows => "checking the rows of",
        _ => "checking the checksums of",
    }
}

fn open(path: &Path) -> Result<Snapshot, Failure> {
    open_with(path, &OpenOptions::default(), &mut |_| {})
}

fn open_with(path: &Path, options: &OpenOptions, progress: &mut dyn FnMut(OpenProgress)) -> Result<Snapshot, Failure> {
    Snapshot::open_with(path, options, progress).map_err(|error| {
        let help = match &error {
            OpenError::NotASnapshot { .. } => {
                "give a file that `unskew snapshot build`, `unskew materialize` or `unskew publish` wrote"
            }
            error if error.is_corrupt() => "fetch another copy of it, or materialize it again",
            error if error.is_unsupported_version() => "materialize it again with this version of unskew",
            _ => return error.into(),
        };
        Failure::from(error).help(help)
    })
}

/// The key of these texts, each read as its part's type.
fn parse_key(schema: &SnapshotSchema, texts: &[String]) -> Result<EntityKey, Failure> {
    if texts.len() != schema.key.len() {
        return Err(Failure::new(format!(
            "the key has {}, {} given",
            counted(schema.key.len() as u64, "part"),
            if texts.len() == 1 {
                "1 was".to_owned()
            } else {
                format!("{} were", texts.len())
            }
        ))
        .help(format!("give, in this order: {}", key_parts(&schema.key))));
    }
    let mut key = EntityKey::default();
    for (part, text) in schema.key.iter().zip(texts) {
        let wrong = |wanted: &str| Failure::new(format!("key `{}`: `{text}` is not {wanted}", part.name));
        match part.key_type {
            KeyType::I64 => {
                let number = text.parse().map_err(|_| wrong("an i64"))?;
                key.push(KeyPart::I64(number))?;
            }
            KeyType::String => key.push(KeyPart::String(text))?,
            KeyType::Bytes => {
                let bytes = parse_hex(text).ok_or_else(|| wrong("a pair of hexadecimal digits for each byte"))?;
                key.push(KeyPart::Bytes(&bytes))?;
            }
        }
    }
    Ok(key)
}

fn key_parts(key: &[KeyColumn]) -> String {
    let parts: Vec<String> = key
        .iter()
        .map(|part| format!("{} ({})", part.name, part.key_type))
        .collect();
    parts.join(", ")
}
