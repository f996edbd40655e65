use unskew_guest::Output;

#[derive(Output)]
struct Context {
    position: u32,
    page: &'static str,
    bids: Option<Vec<f64>>,
}

fn main() {}
