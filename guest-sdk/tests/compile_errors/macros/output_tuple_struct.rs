use unskew_guest::Output;

#[derive(Output)]
struct Context(i64, f64);

#[derive(Output)]
struct Nothing {}

fn main() {}
