use mobula::remote;

#[remote]
fn first(x: &str) -> &str {
    &x[..1]
}

fn main() {}
