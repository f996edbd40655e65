use std::fmt::{Display, Write as _};
use std::io::{self, Write as _};

use comfy_table::{ContentArrangement, Table, presets};
use serde_json::Value as Json;

use crate::failure::{Context, Failure};

/// The least columns of a terminal that a table is fitted to.
const MIN_TABLE_WIDTH: u16 = 60;

/// What a command found or did, for people and for programs.
pub struct Answer {
    /// Lines of text, each with its end.
    pub text: String,
    /// One object.
    pub json: Json,
    /// Whether some rows failed: the command ends with 3.
    pub is_partial: bool,
}

impl Answer {
    /// An answer that is whole.
    pub fn new(text: String, json: Json) -> Self {
        Self {
            text,
            json,
            is_partial: false,
        }
    }

    /// Prints one of the two on standard output, and gives whether it is partial. A reader that has gone away has read enough.
    pub fn print(&self, is_json: bool) -> Result<bool, Failure> {
        let mut out = io::stdout().lock();
        let written = match is_json {
            true => writeln!(out, "{}", self.json),
            false => out.write_all(self.text.as_bytes()),
        };
        match written.and_then(|()| out.flush()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
            result => result.context(|| "cannot write to standard output".to_owned())?,
        }
        Ok(self.is_partial)
    }
}

/// Labelled values, one a line, the values below each other.
#[derive(Default)]
pub struct Facts(Vec<(String, String)>);

impl Facts {
    /// Adds a line.
    pub fn with(mut self, label: impl Into<String>, value: impl Display) -> Self {
        self.0.push((label.into(), value.to_string()));
        self
    }

    /// Adds a line if there is a value.
    pub fn with_some(self, label: &str, value: Option<impl Display>) -> Self {
        match value {
            Some(value) => self.with(label, value),
            None => self,
        }
    }

    /// The lines.
    pub fn text(self) -> String {
        let width = self.0.iter().map(|(label, _)| label.chars().count()).max().unwrap_or(0);
        self.0.into_iter().fold(String::new(), |mut text, (label, value)| {
            let _ = writeln!(text, "{label:width$}  {value}");
            text
        })
    }
}

/// A table below a title; nothing at all where there are no rows. On a terminal it is at most as wide as that.
pub fn titled_table(title: &str, header: &[&str], rows: Vec<Vec<String>>) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let mut table = Table::new();
    table
        .load_style(presets::UTF8_BORDERS_ONLY)
        .set_header(header)
        .add_rows(rows);
    // A terminal that does not know its width says 0, and a narrow one is better left to wrap lines itself.
    if table.width().is_some_and(|width| MIN_TABLE_WIDTH <= width) {
        table.set_content_arrangement(ContentArrangement::Dynamic);
    }
    let lines: String = table.lines().map(|line| format!("{}\n", line.trim_end())).collect();
    format!("\n{title}\n{lines}")
}

/// A number with its thousands apart.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A count and its noun: `1 row`, `1,200 rows`.
pub fn counted(number: u64, noun: &str) -> String {
    format!("{} {noun}{}", grouped(number), if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_stand_apart() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (1_000, "1,000"),
            (123_456, "123,456"),
            (1_234_567, "1,234,567"),
            (u64::MAX, "18,446,744,073,709,551,615"),
        ] {
            assert_eq!(grouped(number), text);
        }
        assert_eq!(counted(1, "row"), "1 row");
        assert_eq!(counted(1_200, "row"), "1,200 rows");
    }

    #[test]
    fn values_stand_below_each_other() {
        let facts = Facts::default()
            .with("a", 1)
            .with_some("none", None::<u8>)
            .with("long", "x");
        assert_eq!(facts.text(), "a     1\nlong  x\n");
        assert_eq!(Facts::default().text(), "");
    }

    #[test]
    fn an_empty_table_is_nothing() {
        assert_eq!(titled_table("inputs", &["name"], Vec::new()), "");
    }
}
