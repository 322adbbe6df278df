use mobula::remote;

#[remote]
fn length<'a>(x: &'a str) -> usize {
    x.len()
}

fn main() {}
