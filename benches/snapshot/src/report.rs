use std::fmt::Write as _;

use serde_json::json;

use crate::processor;

/// Where figures go: a table to standard output or, with JSON, figures there and the table to standard error.
#[derive(Clone, Copy, Debug)]
pub struct Report {
    /// The name of the bench.
    pub bench: &'static str,
    /// Whether figures are printed as JSON.
    pub json: bool,
}

/// One figure, for programs.
#[derive(Clone, Debug)]
pub struct Figure<'a> {
    /// What was measured, from the general to the particular.
    pub case: String,
    /// The rows of the table.
    pub rows: u64,
    /// The bytes of the table as it is stored.
    pub bytes: u64,
    /// What was found.
    pub value: f64,
    /// In what.
    pub unit: &'a str,
    /// The median ratio to something measured in the same rounds, and to what.
    pub ratio: Option<(f64, &'a str)>,
}

impl Report {
    /// Prints figures, if they are wanted as JSON.
    pub fn figures<'a>(&self, figures: impl IntoIterator<Item = Figure<'a>>) {
        if !self.json {
            return;
        }
        for figure in figures {
            let mut object = json!({
                "bench": self.bench,
                "case": figure.case,
                "rows": figure.rows,
                "bytes": figure.bytes,
                "threads": 1,
                "value": figure.value,
                "unit": figure.unit,
                "machine": processor(),
            });
            if let Some((ratio, relative_to)) = figure.ratio {
                object["ratio"] = json!(ratio);
                object["relative_to"] = json!(relative_to);
            }
            println!("{object}");
        }
    }

    /// Prints the table under what it is about.
    pub fn table(&self, about: &str, table: &Table) {
        let text = format!("{}: {about}\n{}, 1 thread\n\n{}", self.bench, processor(), table.text());
        if self.json {
            eprintln!("{text}");
        } else {
            println!("{text}");
        }
    }

    /// Says on standard error what goes on.
    pub fn progress(&self, step: &str) {
        eprintln!("{}: {step}", self.bench);
    }
}

/// A table of text, its columns as wide as their widest cell.
#[derive(Clone, Debug)]
pub struct Table {
    lines: Vec<Vec<String>>,
}

impl Table {
    /// A table with these heads of columns.
    pub fn new(heads: &[&str]) -> Self {
        let heads = heads.iter().map(|head| (*head).to_owned()).collect();
        Self { lines: vec![heads] }
    }

    /// Appends a line, one cell a column.
    pub fn push(&mut self, line: Vec<String>) {
        self.lines.push(line);
    }

    /// The first column to the left, numbers to the right.
    fn text(&self) -> String {
        let columns = self.lines[0].len();
        let width = |column: usize| {
            let cells = self.lines.iter().filter_map(|line| line.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let mut text = String::new();
        for (index, line) in self.lines.iter().enumerate() {
            for (column, (cell, width)) in line.iter().zip(&widths).enumerate() {
                // Writing to a string does not fail.
                let _ = match column {
                    0 => write!(text, "{cell:<width$}"),
                    _ => write!(text, "  {cell:>width$}"),
                };
            }
            text.push('\n');
            if index == 0 {
                let rule: usize = widths.iter().sum::<usize>() + 2 * (columns - 1);
                let _ = writeln!(text, "{}", "-".repeat(rule));
            }
        }
        text
    }
}
