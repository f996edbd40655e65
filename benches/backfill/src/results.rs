use std::collections::BTreeMap;
use std::error::Error;
use std::fs;

use serde_json::json;
use unskew_backfill_benches::run::{Run, machine, median};

use crate::data::Size;
use crate::tool::Tool;
use crate::{Arguments, Files};

/// What the tools took.
#[derive(Default)]
pub struct Results {
    runs: BTreeMap<&'static str, Vec<Run>>,
    notes: BTreeMap<&'static str, String>,
}

impl Results {
    pub fn add(&mut self, tool: &Tool, outcome: Result<Run, String>) {
        match outcome {
            Ok(run) => self.runs.entry(tool.name).or_default().push(run),
            Err(why) => self.note(tool, format!("failed: {why}")),
        }
    }

    /// What is to be told of a tool beside its figures.
    pub fn note(&mut self, tool: &Tool, note: String) {
        self.notes.insert(tool.name, note);
    }

    /// Whether a tool came to an end.
    pub fn has(&self, tool: &Tool) -> bool {
        self.runs.contains_key(tool.name)
    }

    pub fn tell(
        &self,
        arguments: &Arguments,
        size: &Size,
        files: &Files,
        tools: &[Tool],
    ) -> Result<(), Box<dyn Error>> {
        let bytes = |name: &str| fs::metadata(files.path(name)).map_or(0, |metadata| metadata.len());
        let about = format!(
            "as-of join, {} spine rows x {} history rows of {} features, {} users ({}); {} + {} bytes of Parquet to Parquet, \
             zstd level 3 (floats of unskew and the floor: 1); {} threads of {}; {} MiB for unskew; {} rounds, medians; slow tools once",
            size.spine_rows,
            size.history_rows,
            size.features,
            size.users,
            if size.is_uniform { "uniform" } else { "Zipf, exponent 1" },
            bytes("spine.parquet"),
            bytes("history.parquet"),
            arguments.threads,
            machine(),
            arguments.memory_mib,
            self.runs.get("unskew").map_or(0, Vec::len),
        );
        let base = if self.runs.contains_key("floor") {
            "floor"
        } else {
            "unskew"
        };
        if !arguments.json {
            println!("{about}\n");
            println!(
                "{:<18} {:>8} {:>8} {:>8} {:>9} {:>12}",
                "",
                "wall s",
                format!("x {base}"),
                "cpu s",
                "peak MiB",
                "bytes"
            );
        }
        for tool in tools {
            let note = self.notes.get(tool.name).map_or("", String::as_str);
            let Some(runs) = self.runs.get(tool.name) else {
                if !arguments.json {
                    println!("{:<18} {note}", tool.name);
                }
                continue;
            };
            let of = |figure: fn(&Run) -> f64| median(runs.iter().map(figure));
            let (wall_s, cpu_s, peak_mib) = (of(|run| run.wall_s), of(|run| run.cpu_s), of(|run| run.peak_mib));
            // Of each round, as what slows one down slows its neighbours down.
            let pairs = runs.iter().zip(&self.runs[base]);
            let ratio = median(pairs.map(|(run, base)| run.wall_s / base.wall_s));
            let out = bytes(&format!("{}.parquet", tool.name));
            let name = format!("{} {}", tool.name, runs[0].version);
            match arguments.json {
                true => println!(
                    "{}",
                    json!({
                        "bench": "backfill", "case": tool.name, "version": runs[0].version, "rows": size.spine_rows, "bytes": out,
                        "threads": arguments.threads, "value": wall_s, "unit": "s", "ratio": ratio, "relative_to": base,
                        "cpu_s": cpu_s, "peak_mib": peak_mib, "note": note, "about": about,
                    })
                ),
                false => {
                    println!("{name:<18} {wall_s:>8.2} {ratio:>8.2} {cpu_s:>8.2} {peak_mib:>9.0} {out:>12}  {note}")
                }
            }
        }
        if !arguments.json {
            println!();
        }
        Ok(())
    }
}
