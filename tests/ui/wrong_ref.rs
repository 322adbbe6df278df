use mobula::{ObjectRef, remote};

#[remote]
fn length(x: &str) -> usize {
    x.len()
}

#[remote]
fn add(x: i64, y: i64) -> i64 {
    x + y
}

fn main() {
    let length: ObjectRef<usize> = length::remote("x");
    add::remote(1, &length);
}
