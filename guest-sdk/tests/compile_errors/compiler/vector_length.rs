use unskew_guest::Output;

#[derive(Output)]
struct Embedding {
    embedding: [f32; 20_000],
}

fn main() {
    let columns = <Embedding as Output>::COLUMNS;
    assert!(columns.is_empty());
}
