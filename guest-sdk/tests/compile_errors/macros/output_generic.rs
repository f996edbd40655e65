use unskew_guest::Output;

#[derive(Output)]
struct Context<T> {
    position: T,
}

#[derive(Output)]
struct Page<'a> {
    page: &'a str,
}

fn main() {}
