use mobula::remote;

#[remote]
fn add(x: i64, y: i64) -> i64 {
    x + y
}

fn main() {
    add::remote(1);
}
