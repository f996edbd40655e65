use std::path::PathBuf;

use clap::Args;
use serde_json::{Value as Json, json};
use unskew::{ColumnDescriptor, Descriptor, Digest, Kind, Window};
use unskew_registry::{COMPONENT_BUDGET_BYTES, StateBound};
use unskew_snapshot::format_duration_us;

use crate::answer::{Answer, Facts, counted, grouped, titled_table};
use crate::failure::{Context, Failure};
use crate::modules::{golden_vectors, load_alone, read_component};

/// Check a component and show what it says of itself.
///
/// The component must be valid, import nothing and export one world of the contract with its very types. Then it is compiled
/// in a temporary folder, asked to describe itself and held to its golden vectors: its inputs, outputs, windows and owner are shown.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  unskew check modules/ctr-history.wasm")]
pub struct Check {
    /// The component.
    #[arg(value_name = "COMPONENT.wasm")]
    component: PathBuf,
}

impl Check {
    pub fn run(self) -> Result<Answer, Failure> {
        let (bytes, world) = read_component(&self.component)?;
        let digest = Digest::of(&bytes);
        let (module, vectors) = load_alone(&bytes)
            .context(|| format!("{} keeps to the contract, but does not work", self.component.display()))?;
        let descriptor = module.descriptor();
        let bound = StateBound::of(&bytes);

        let facts = Facts::default()
            .with("name", &descriptor.name)
            .with("version", &descriptor.version)
            .with("owner", &descriptor.owner)
            .with("world", world)
            .with("description", &descriptor.description)
            .with(
                "size",
                format!(
                    "{} bytes of a budget of {}",
                    grouped(bytes.len() as u64),
                    grouped(COMPONENT_BUDGET_BYTES as u64)
                ),
            )
            .with("golden", golden_vectors(vectors))
            .with_some("state", bound.map(|bound| state_bound(bound, &descriptor.kind)))
            .with("digest", digest);
        let mut json = descriptor_json(descriptor);
        json["world"] = json!(world.name());
        json["bytes"] = json!(bytes.len());
        json["golden_vectors"] = json!(vectors);
        json["digest"] = json!(digest);
        if let Some(bound) = bound {
            json["state_tiles_max"] = json!(bound.tiles);
            json["state_bytes_max"] = json!(bound.bytes);
            json["state_bytes_limit"] = json!(bound.limit_bytes);
        }
        Ok(Answer {
            text: facts.text() + &descriptor_tables(descriptor),
            json,
            is_partial: false,
        })
    }
}

/// How large the state of an entity can be.
fn state_bound(bound: StateBound, kind: &Kind) -> String {
    let limit = grouped(bound.limit_bytes);
    let windows = match kind {
        Kind::Aggregate(aggregation) => &aggregation.windows[..],
        Kind::Row => &[],
    };
    match (
        bound.tiles,
        bound.bytes,
        windows.iter().find(|window| window.hop_us == 0),
    ) {
        (Some(tiles), Some(bytes), _) if bytes <= bound.limit_bytes => {
            format!(
                "at most {} bytes an entity, in {}",
                grouped(bytes),
                counted(tiles, "tile")
            )
        }
        (Some(tiles), Some(bytes), _) => format!(
            "no bound below {limit} bytes an entity, beyond which a fold is refused: {} could have {}",
            counted(tiles, "tile"),
            grouped(bytes)
        ),
        (_, _, Some(window)) => format!(
            "no bound below {limit} bytes an entity, beyond which a fold is refused: window {} has an exact tail",
            window.name
        ),
        _ => format!(
            "no bound below {limit} bytes an entity, beyond which a fold is refused: an accumulator has none of its own"
        ),
    }
}

fn descriptor_tables(descriptor: &Descriptor) -> String {
    let columns = |title: &str, columns: &[ColumnDescriptor]| {
        let row = |column: &ColumnDescriptor| {
            vec![
                column.name.clone(),
                column.column_type.to_string(),
                if column.nullable { "may be missing" } else { "" }.to_owned(),
                column.doc.clone(),
            ]
        };
        titled_table(
            title,
            &["name", "type", "null", "meaning"],
            columns.iter().map(row).collect(),
        )
    };
    let mut text = columns("inputs", &descriptor.inputs);
    if let Kind::Aggregate(aggregation) = &descriptor.kind {
        text += &columns("events", &aggregation.events);
        let row = |window: &Window| vec![window.name.clone(), duration(window.length_us), duration(window.hop_us)];
        let rows = aggregation.windows.iter().map(row).collect();
        text += &titled_table("windows", &["name", "length", "hop"], rows);
    }
    text + &columns("outputs", &descriptor.outputs)
}

fn descriptor_json(descriptor: &Descriptor) -> Json {
    let columns = |columns: &[ColumnDescriptor]| -> Json {
        let column = |column: &ColumnDescriptor| {
            json!({
                "name": column.name,
                "type": column.column_type.to_string(),
                "nullable": column.nullable,
                "doc": column.doc,
            })
        };
        columns.iter().map(column).collect()
    };
    let mut json = json!({
        "name": descriptor.name,
        "version": descriptor.version,
        "owner": descriptor.owner,
        "description": descriptor.description,
        "inputs": columns(&descriptor.inputs),
        "outputs": columns(&descriptor.outputs),
    });
    if let Kind::Aggregate(aggregation) = &descriptor.kind {
        let window =
            |window: &Window| json!({ "name": window.name, "length_us": window.length_us, "hop_us": window.hop_us });
        json["events"] = columns(&aggregation.events);
        json["windows"] = aggregation.windows.iter().map(window).collect();
        json["state_version"] = json!(aggregation.state_version);
        json["readable_state_versions"] = json!(aggregation.readable_state_versions);
    }
    json
}

/// A length, or a hop: 0 is an exact tail.
fn duration(micros: i64) -> String {
    match u64::try_from(micros) {
        Ok(0) => "none: exact".to_owned(),
        Ok(micros) => format_duration_us(micros),
        Err(_) => format!("{micros} us"),
    }
}

#[cfg(test)]
mod tests;
