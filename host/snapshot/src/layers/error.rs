use core::fmt;

use crate::{EventTime, LateEvents, Lateness, MAX_DELTAS, SnapshotMeta};

/// Why a file does not lie over the ones before.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{flaw}")]
pub struct LayerError {
    layer: usize,
    /// Elsewhere, for errors are to be small.
    flaw: Box<LayerFlaw>,
}

impl LayerError {
    pub(super) fn new(layer: usize, flaw: LayerFlaw) -> Self {
        let flaw = Box::new(flaw);
        Self { layer, flaw }
    }

    /// Which file it is: 0 is the base, 1 the first delta.
    pub fn layer(&self) -> usize {
        self.layer
    }

    /// What is wrong with it.
    pub fn flaw(&self) -> &LayerFlaw {
        &self.flaw
    }
}

/// What is wrong with a file that is to lie over others.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LayerFlaw {
    /// A delta is given as the base.
    #[error("it is a delta, not a snapshot that deltas follow")]
    NotABase,
    /// A whole snapshot is given as a delta.
    #[error("it is a whole snapshot, not a delta")]
    NotADelta,
    /// The delta is of another base.
    #[error("it is a delta of the snapshot {}, not of {}", Hex(named), Hex(base))]
    OtherBase {
        /// The digest that it names.
        named: [u8; 32],
        /// The digest of the base.
        base: [u8; 32],
    },
    /// The delta follows another file than the one before it.
    #[error(
        "it is delta {found} and follows {}, not delta {expected}, which follows {}",
        Hex(named),
        Hex(previous)
    )]
    Order {
        /// Its number.
        found: u32,
        /// The number that would be right.
        expected: usize,
        /// The digest that it names.
        named: [u8; 32],
        /// The digest of what it is to follow.
        previous: [u8; 32],
    },
    /// Its view, key, features or TTL are others.
    #[error(
        "it is of view `{found}`, or of other columns, keys or another TTL than the snapshot of view `{view}` before it"
    )]
    Schema {
        /// Its view.
        found: String,
        /// The view of the one before.
        view: String,
    },
    /// Another module computed its rows.
    #[error("its rows are of another version of the module than those before it")]
    Module,
    /// Its view declared another lateness.
    #[error("it was made with {}, the one before it with {}", shown(found), shown(before))]
    Lateness {
        /// Its lateness.
        found: Option<Lateness>,
        /// The lateness of the one before.
        before: Option<Lateness>,
    },
    /// It is of an earlier time than the one before it.
    #[error("its watermark, {found}, is before {watermark}, that of the file it follows")]
    Earlier {
        /// Its watermark.
        found: EventTime,
        /// The watermark of the one before.
        watermark: EventTime,
    },
    /// There are [`MAX_DELTAS`] already.
    #[error("a base has at most {MAX_DELTAS} deltas: compact them")]
    TooMany,
    /// The files have too many slots together.
    #[error("the files have more places for rows together than a u32 counts: compact them")]
    TooLarge,
}

/// Whether rows of `next` may take the place of those of `before`.
pub(super) fn check_same(before: &SnapshotMeta, next: &SnapshotMeta) -> Result<(), LayerFlaw> {
    if next.schema != before.schema {
        return Err(LayerFlaw::Schema {
            found: next.schema.view.clone(),
            view: before.schema.view.clone(),
        });
    }
    if (next.module_digest, next.state_version) != (before.module_digest, before.state_version) {
        return Err(LayerFlaw::Module);
    }
    let lateness = |meta: &SnapshotMeta| meta.late.map(|LateEvents { lateness, .. }| lateness);
    if lateness(next) != lateness(before) {
        return Err(LayerFlaw::Lateness {
            found: lateness(next),
            before: lateness(before),
        });
    }
    if next.watermark < before.watermark {
        return Err(LayerFlaw::Earlier {
            found: next.watermark,
            watermark: before.watermark,
        });
    }
    Ok(())
}

fn shown(lateness: &Option<Lateness>) -> String {
    lateness.map_or("no lateness".to_owned(), |lateness| format!("a lateness of {lateness}"))
}

/// A digest as store and manifests write it.
struct Hex<'a>(&'a [u8; 32]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sha256:")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
