use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use unskew_batch::Progress;

use crate::answer::counted;

/// What a command says on standard error while it works: a moving line on a terminal, plain lines elsewhere.
pub struct Watch {
    bar: Option<ProgressBar>,
    spine_rows: usize,
    /// Tenths of the spine that were told of.
    tenths: usize,
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
            spine_rows: 0,
            tenths: 0,
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

    /// Says a step of a backfill. Of the rows that go through transforms, a plain line for each tenth.
    pub fn step(&mut self, progress: Progress<'_>) {
        let rows = |rows: usize| counted(rows as u64, "row");
        match progress {
            Progress::Spine(count) => {
                self.spine_rows = count;
                self.say(&format!("read the spine: {}", rows(count)));
            }
            Progress::Source(view, count) => self.say(&format!("read the history of view {view}: {}", rows(count))),
            Progress::View(view) => self.say(&format!("joined view {view}")),
            Progress::Transformed(count) => {
                let tenths = count * 10 / self.spine_rows.max(1);
                if self.bar.is_some() || self.tenths < tenths {
                    self.tenths = tenths;
                    let all = rows(self.spine_rows);
                    self.say(&format!(
                        "transformed {} of {all}",
                        crate::answer::grouped(count as u64)
                    ));
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
