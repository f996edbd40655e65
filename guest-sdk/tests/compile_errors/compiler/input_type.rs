use unskew_guest::Input;

#[derive(Input)]
struct Request {
    position: u32,
    page: String,
    bids: Option<Vec<f64>>,
}

fn main() {}
