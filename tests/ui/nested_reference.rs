use mobula::remote;

#[remote]
fn length(x: Option<&str>) -> usize {
    x.map_or(0, str::len)
}

fn main() {}
