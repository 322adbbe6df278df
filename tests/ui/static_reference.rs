use mobula::remote;

#[remote]
fn length(x: &'static str) -> usize {
    x.len()
}

fn main() {}
