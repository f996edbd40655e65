use rkyv::rancor;
use unskew_frame::ColumnType;

use crate::{
    DeltaOf, EventTime, FeatureColumn, FeatureStatistics, KeyColumn, KeyType, LateEvents, SnapshotMeta, SnapshotSchema,
    Ttl, delta, late,
};

/// The metadata section, archived: [`SnapshotMeta`] with types as numbers, so that a change of the Rust types is not a change
/// of the format.
#[derive(rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
struct Metadata {
    view: String,
    key: Vec<Key>,
    features: Vec<Feature>,
    ttl_us: Option<u64>,
    watermark_us: i64,
    row_count: u64,
    /// The first and the last event time.
    event_times_us: Option<(i64, i64)>,
    module_digest: Option<[u8; 32]>,
    state_version: Option<u32>,
    builder: String,
    extensions: Vec<Extension>,
}

/// What later writers add: `delta`, `late`. One that is not required is skipped by readers that do not know it.
#[derive(rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
struct Extension {
    name: String,
    is_required: bool,
    bytes: Vec<u8>,
}

#[derive(rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
struct Key {
    name: String,
    key_type: u32,
}

#[derive(rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
struct Feature {
    name: String,
    column_type: u32,
    vector_len: u32,
    null_count: u64,
    nan_count: u64,
    /// The least and the greatest of the values that are numbers.
    range: Option<(f64, f64)>,
}

/// The bytes of the metadata section; a function of `meta` alone.
pub(crate) fn encode(meta: &SnapshotMeta) -> Result<Vec<u8>, String> {
    let schema = &meta.schema;
    let metadata = Metadata {
        view: schema.view.clone(),
        key: schema
            .key
            .iter()
            .map(|column| Key {
                name: column.name.clone(),
                key_type: column.key_type.tag().into(),
            })
            .collect(),
        features: schema
            .features
            .iter()
            .zip(&meta.statistics)
            .map(|(column, statistics)| Feature {
                name: column.name.clone(),
                column_type: column.column_type.tag().into(),
                vector_len: column.column_type.vector_len(),
                null_count: statistics.null_count,
                nan_count: statistics.nan_count,
                range: statistics.range,
            })
            .collect(),
        ttl_us: schema.ttl.map(Ttl::as_micros),
        watermark_us: meta.watermark.as_micros(),
        row_count: meta.row_count,
        event_times_us: meta
            .event_times
            .map(|(first, last)| (first.as_micros(), last.as_micros())),
        module_digest: meta.module_digest,
        state_version: meta.state_version,
        builder: meta.builder.clone(),
        extensions: extensions(meta),
    };
    match rkyv::to_bytes::<rancor::Error>(&metadata) {
        Ok(bytes) => Ok(bytes.into_vec()),
        Err(error) => Err(error.to_string()),
    }
}

/// What the metadata section says, with its schema checked. `bytes` are aligned to 16 and their checksum held: the
/// validation of rkyv makes them safe to read, it does not find damage.
pub(crate) fn decode(bytes: &[u8]) -> Result<SnapshotMeta, String> {
    let metadata: Metadata =
        rkyv::from_bytes::<_, rancor::Error>(bytes).map_err(|error| format!("it cannot be read: {error}"))?;
    let Extensions {
        delta,
        removed_count,
        late,
    } = decode_extensions(&metadata.extensions)?;
    if removed_count > metadata.row_count {
        return Err(format!("it counts {removed_count} removed keys, more than rows"));
    }
    let statistics = metadata.features.iter().map(|column| FeatureStatistics {
        null_count: column.null_count,
        nan_count: column.nan_count,
        range: column.range,
    });
    let statistics = statistics.collect();
    let key = metadata.key.into_iter().map(|column| {
        let key_type = tag(column.key_type)
            .and_then(KeyType::from_tag)
            .ok_or_else(|| format!("key column `{}` is of an unknown type", column.name))?;
        Ok(KeyColumn::new(column.name, key_type))
    });
    let key = key.collect::<Result<_, String>>()?;
    let features = metadata.features.into_iter().map(|column| {
        let column_type = tag(column.column_type)
            .and_then(|tag| ColumnType::from_tag(tag, column.vector_len))
            .ok_or_else(|| format!("feature `{}` is of an unknown type", column.name))?;
        Ok(FeatureColumn::new(column.name, column_type))
    });
    let features = features.collect::<Result<_, String>>()?;
    let schema = SnapshotSchema {
        view: metadata.view,
        key,
        features,
        ttl: metadata.ttl_us.map(Ttl::from_micros),
    };
    schema.check().map_err(|error| error.to_string())?;
    Ok(SnapshotMeta {
        schema,
        watermark: EventTime(metadata.watermark_us),
        module_digest: metadata.module_digest,
        state_version: metadata.state_version,
        late,
        delta,
        row_count: metadata.row_count,
        removed_count,
        event_times: metadata
            .event_times_us
            .map(|(first, last)| (EventTime(first), EventTime(last))),
        statistics,
        builder: metadata.builder,
    })
}

fn extensions(meta: &SnapshotMeta) -> Vec<Extension> {
    let delta = meta.delta.map(|of| Extension {
        name: delta::EXTENSION.to_owned(),
        // A reader that took a delta for a whole snapshot would miss most keys.
        is_required: true,
        bytes: of.encode(meta.removed_count),
    });
    let late = meta.late.map(|late| Extension {
        name: late::EXTENSION.to_owned(),
        // A reader that does not know it serves the same states.
        is_required: false,
        bytes: late.encode(),
    });
    delta.into_iter().chain(late).collect()
}

/// What the extensions say that this program knows.
#[derive(Default)]
struct Extensions {
    delta: Option<DeltaOf>,
    /// The keys that the delta removes.
    removed_count: u64,
    late: Option<LateEvents>,
}

fn decode_extensions(extensions: &[Extension]) -> Result<Extensions, String> {
    let mut known = Extensions::default();
    for extension in extensions {
        match extension.name.as_str() {
            delta::EXTENSION => {
                let decoded = DeltaOf::decode(&extension.bytes).filter(|_| known.delta.is_none());
                let (of, removed_count) = decoded.ok_or("what it says of the base of a delta is malformed")?;
                (known.delta, known.removed_count) = (Some(of), removed_count);
            }
            late::EXTENSION => {
                let decoded = LateEvents::decode(&extension.bytes).filter(|_| known.late.is_none());
                known.late = Some(decoded.ok_or("what it says of late events is malformed")?);
            }
            name if extension.is_required => {
                return Err(format!("it needs `{name}`, which this program does not know"));
            }
            _ => {}
        }
    }
    Ok(known)
}

fn tag(number: u32) -> Option<u8> {
    u8::try_from(number).ok()
}
