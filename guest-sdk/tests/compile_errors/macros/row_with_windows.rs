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
#[row_transform(owner = "ads-ranking", windows = ["1h"])]
pub fn price_bucket(request: Request) -> Bucket {
    Bucket { bucket: request.price as i64 }
}

fn main() {}
