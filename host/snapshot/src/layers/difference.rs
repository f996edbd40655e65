use std::path::Path;

use unskew_frame::Value;

use super::error::{LayerFlaw, check_same};
use crate::{DiffError, KeyDiff, LateEvents, Layers, SnapshotWriter, WriteError, WriteOptions, Written, diff};

impl Layers {
    /// Writes the delta that leads from these rows to those of `after`: what was added and changed, and which keys were removed. Its
    /// watermark is that of `after`. Reads both once and compares every row.
    ///
    /// # Errors
    /// The rows of `after` cannot follow these, or the file cannot be written. Nothing is left at `path` that was not there before.
    pub fn write_delta(&self, after: &Self, path: &Path, memory_budget_bytes: u64) -> Result<Written, DeltaError> {
        let newest = after.newest();
        check_same(self.newest(), newest)?;
        let options = WriteOptions {
            delta: Some(self.next_delta().ok_or(LayerFlaw::TooMany)?),
            module_digest: newest.module_digest,
            state_version: newest.state_version,
            late: after.late().map(|late| LateEvents {
                count: late.count.saturating_sub(self.late().map_or(0, |before| before.count)),
                ..late
            }),
            memory_budget_bytes,
            ..WriteOptions::new(newest.schema.clone(), newest.watermark)
        };
        let mut writer = SnapshotWriter::create(path, options)?;
        let mut values: Vec<Value<'_>> = Vec::new();
        let mut failure = None;
        diff(self, after, &mut |key| {
            let pushed = match key {
                _ if failure.is_some() => return,
                KeyDiff::Removed(key, _) => writer.push_removed(key),
                KeyDiff::Added(key, row) | KeyDiff::Changed(key, [_, row]) => {
                    values.clear();
                    values.extend(row.values());
                    writer.push(key, row.event_time(), None, &values)
                }
            };
            failure = pushed.err();
        })?;
        match failure {
            None => Ok(writer.finish()?),
            Some(error) => Err(error.into()),
        }
    }
}

/// Why a delta was not written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeltaError {
    /// What is to come after cannot follow what is before.
    #[error(transparent)]
    Flaw(#[from] LayerFlaw),
    /// The keys cannot be compared.
    #[error(transparent)]
    Diff(#[from] DiffError),
    /// The file cannot be written.
    #[error(transparent)]
    Write(#[from] WriteError),
}
