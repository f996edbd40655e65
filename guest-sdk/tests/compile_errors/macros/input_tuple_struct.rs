use unskew_guest::Input;

#[derive(Input)]
struct Request(i64, f64);

#[derive(Input)]
enum Kind {
    Banner,
}

fn main() {}
