use unskew_guest::{Input, Output, row_transform};

#[derive(Input)]
pub struct Request {
    pub price: f64,
}

#[derive(Output)]
pub struct Bucket {
    pub bucket: i64,
}

/// The bucket of a price.
#[row_transform(owner = "ads-ranking")]
pub fn price_bucket(request: Request) {
    let _ = request.price;
}

fn main() {}
