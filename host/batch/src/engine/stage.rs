use std::sync::{Mutex, MutexGuard};

use crate::backfill::{Phase, Progress};

/// How far a backfill is.
pub(crate) struct Stages<'a> {
    spine_rows: u64,
    /// Of all phases, in rows.
    work: u64,
    stage: Mutex<Stage>,
    progress: &'a (dyn Fn(Progress<'_>) + Sync),
}

struct Stage {
    phase: Phase,
    view: Option<String>,
    rows: u64,
    rows_all: u64,
    parts: u64,
    parts_all: u64,
    /// Of the phases before, and of this one.
    work_before: u64,
    work_here: u64,
}

/// A row that is emitted is read, gathered, transformed, encoded and compressed.
const EMIT_WORK: u64 = 4;

impl<'a> Stages<'a> {
    /// Of a spine of so many rows and the histories of its views.
    pub fn new(
        spine_rows: u64,
        history_rows: impl Iterator<Item = u64>,
        progress: &'a (dyn Fn(Progress<'_>) + Sync),
    ) -> Self {
        // Each view is divided, then joined.
        let views: u64 = history_rows.map(|rows| 2 * (spine_rows + rows)).sum();
        Self {
            spine_rows,
            work: views + EMIT_WORK * spine_rows,
            stage: Mutex::new(Stage {
                phase: Phase::Divide,
                view: None,
                rows: 0,
                rows_all: 0,
                parts: 0,
                parts_all: 0,
                work_before: 0,
                work_here: 0,
            }),
            progress,
        }
    }

    /// A phase begins, of so many rows in so many parts.
    pub fn begin(&self, phase: Phase, view: Option<&str>, rows: u64, parts: u64) {
        let mut stage = self.lock();
        let work = match phase {
            // In the end all that came before is done, whatever was left out of it.
            Phase::Emit => EMIT_WORK * self.spine_rows,
            Phase::Divide | Phase::Join => rows,
        };
        *stage = Stage {
            phase,
            view: view.map(str::to_owned),
            rows: 0,
            rows_all: rows,
            parts: 0,
            parts_all: parts,
            work_before: match phase {
                Phase::Emit => self.work - work,
                Phase::Divide | Phase::Join => stage.work_before + stage.work_here,
            },
            work_here: work,
        };
        self.tell(&stage);
    }

    /// So many more rows and parts are done.
    pub fn advance(&self, rows: u64, parts: u64) {
        let mut stage = self.lock();
        stage.rows += rows;
        stage.parts += parts;
        self.tell(&stage);
    }

    fn tell(&self, stage: &Stage) {
        let here = stage.work_here as f64 * stage.rows as f64 / stage.rows_all.max(1) as f64;
        (self.progress)(Progress {
            phase: stage.phase,
            view: stage.view.as_deref(),
            rows: stage.rows,
            rows_all: stage.rows_all,
            parts: stage.parts,
            parts_all: stage.parts_all,
            fraction: ((stage.work_before as f64 + here) / self.work.max(1) as f64).min(1.0),
        });
    }

    fn lock(&self) -> MutexGuard<'_, Stage> {
        self.stage.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}
