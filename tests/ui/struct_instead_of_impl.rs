use mobula::remote;

#[remote]
struct Counter {
    value: i64,
}

fn main() {}
