//! The `unskew` command.
fn main() {}
