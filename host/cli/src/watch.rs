use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use unskew_batch::Progress;

use crate::answer::counted;

/// What a command says on standard error while it works: a moving line on a terminal, plain lines elsewhere.
pub struct Watch {
    bar: Option<ProgressBar>,
    spine_rows: AtomicUsize,
    /// Tenths of the spine that were told of.
    tenths: AtomicUsize,
}

impl Watch {
    /// A watch that has said nothing yet.
    pub fn new() -> Self {
        let bar = io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new_spinner();
            if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} ({elapsed})") {
                bar.set_style(style);
            }
            bar.enable_steady_tick(Duration::from_millis(100));
            bar
        });
        Self {
            bar,
            spine_rows: AtomicUsize::new(0),
            tenths: AtomicUsize::new(0),
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

    /// Says a step of a backfill, from any thread. Of the rows that are done, a plain line for each tenth.
    pub fn step(&self, progress: Progress<'_>) {
        let rows = |rows: usize| counted(rows as u64, "row");
        match progress {
            Progress::Spine(count) => {
                self.spine_rows.store(count, Ordering::Relaxed);
                self.say(&format!("read the spine: {}", rows(count)));
            }
            Progress::Source(view, count) => self.say(&format!("read the history of view {view}: {}", rows(count))),
            Progress::View(view) => self.say(&format!("joined view {view}")),
            Progress::Transformed(count) => {
                let all = self.spine_rows.load(Ordering::Relaxed);
                let tenths = count * 10 / all.max(1);
                if self.tenths.fetch_max(tenths, Ordering::Relaxed) < tenths || self.bar.is_some() {
                    let all = rows(all);
                    self.say(&format!("computed {} of {all}", crate::answer::grouped(count as u64)));
                }
            }
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
