use unskew_guest::Input;

#[derive(Input)]
struct Request<T> {
    position: T,
}

#[derive(Input)]
struct Pages<'a, 'b> {
    page: &'a str,
    referrer: &'b str,
}

fn main() {}
