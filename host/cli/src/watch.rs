use std::io::{self, IsTerminal, Write};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use unskew_batch::Progress;

use crate::answer::grouped;

/// How to say how far the work is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Style {
    /// A moving line on a terminal, else JSON if it takes long.
    #[default]
    Auto,
    /// One JSON object a line: every 10 seconds, and at the end.
    Json,
    /// Nothing.
    None,
}

/// What a command says on standard error while it works.
pub struct Watch {
    bar: Option<ProgressBar>,
    is_json: bool,
    started: Instant,
    told: Mutex<Told>,
}

struct Told {
    /// When there was a line last.
    at: Instant,
    /// The last that was heard of the work.
    last: Option<serde_json::Value>,
    /// Whether that is worth a line at the end: there was one before, or lines were asked for.
    tells_end: bool,
}

/// The time between two lines of JSON.
const LINE_EVERY: Duration = Duration::from_secs(10);
const BAR: &str = "{spinner} {bar:24} {percent:>3}%  {msg}  ({elapsed})";
const SPINNER: &str = "{spinner} {msg} ({elapsed})";
/// The steps of a bar.
const BAR_STEPS: u64 = 1_000;

impl Watch {
    /// A watch that has said nothing yet.
    pub fn new() -> Self {
        Self::styled(Style::Auto)
    }

    /// The same, in a style.
    pub fn styled(style: Style) -> Self {
        let is_terminal = io::stderr().is_terminal();
        let bar = (style == Style::Auto && is_terminal).then(|| {
            let bar = ProgressBar::new_spinner();
            set_style(&bar, SPINNER);
            bar.enable_steady_tick(Duration::from_millis(100));
            bar
        });
        let started = Instant::now();
        Self {
            is_json: style == Style::Json || style == Style::Auto && !is_terminal,
            bar,
            started,
            told: Mutex::new(Told {
                at: started,
                last: None,
                tells_end: style == Style::Json,
            }),
        }
    }

    /// Says what is being done now.
    pub fn say(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.set_message(line.to_owned()),
            // Nobody may be listening; the work goes on.
            None => drop(writeln!(io::stderr(), "{line}")),
        }
    }

    /// Says how far a backfill is, from any thread.
    pub fn step(&self, progress: Progress<'_>) {
        if let Some(bar) = &self.bar {
            if bar.length().is_none() {
                bar.set_length(BAR_STEPS);
                set_style(bar, BAR);
            }
            bar.set_position((progress.fraction * BAR_STEPS as f64) as u64);
            bar.set_message(self.line(&progress));
        } else if self.is_json {
            let mut told = self.told();
            let line = self.object(&progress);
            if LINE_EVERY <= told.at.elapsed() {
                told.at = Instant::now();
                let _ = writeln!(io::stderr(), "{line}");
                told.last = None;
                told.tells_end = true;
            } else {
                told.last = Some(line);
            }
        }
    }

    /// As on a terminal: phase, parts, rows, rate, what is left, memory.
    fn line(&self, progress: &Progress<'_>) -> String {
        let mut line = progress.phase.name().to_owned();
        if let Some(view) = progress.view {
            line += &format!(" {view}");
        }
        line += &format!(
            "  {}/{} parts  {}/{} rows",
            progress.parts,
            progress.parts_all,
            grouped(progress.rows),
            grouped(progress.rows_all)
        );
        if let Some(left) = self.left(progress) {
            line += &format!("  {} left", indicatif::HumanDuration(left));
        }
        if let Some(bytes) = memory_bytes() {
            line += &format!("  {}", indicatif::BinaryBytes(bytes));
        }
        line
    }

    fn object(&self, progress: &Progress<'_>) -> serde_json::Value {
        let elapsed_s = self.started.elapsed().as_secs_f64();
        json!({
            "phase": progress.phase.name(),
            "view": progress.view,
            "parts": progress.parts,
            "parts_all": progress.parts_all,
            "rows": progress.rows,
            "rows_all": progress.rows_all,
            "fraction": (progress.fraction * 1e4).round() / 1e4,
            "fraction_per_s": (progress.fraction / elapsed_s.max(1e-3) * 1e6).round() / 1e6,
            "elapsed_s": (elapsed_s * 1e3).round() / 1e3,
            "left_s": self.left(progress).map(|left| left.as_secs()),
            "memory_bytes": memory_bytes(),
        })
    }

    /// The time that is left if it goes on as so far.
    fn left(&self, progress: &Progress<'_>) -> Option<Duration> {
        /// Before so much is done nobody can say.
        const KNOWN_FROM: f64 = 0.02;
        let left_s = self.started.elapsed().as_secs_f64() * (1.0 / progress.fraction - 1.0);
        (KNOWN_FROM < progress.fraction).then(|| Duration::from_secs_f64(left_s.clamp(0.0, 1e9)))
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

fn set_style(bar: &ProgressBar, template: &str) {
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
}

/// What this process has in memory, where that can be told.
fn memory_bytes() -> Option<u64> {
    const PAGE_BYTES: u64 = 4_096;
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * PAGE_BYTES)
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        // Where it ended.
        let mut told = self.told();
        if let Some(line) = told.last.take().filter(|_| told.tells_end) {
            let _ = writeln!(io::stderr(), "{line}");
        }
    }
}
