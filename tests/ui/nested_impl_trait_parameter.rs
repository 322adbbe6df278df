use mobula::remote;

#[remote]
fn show(x: &[impl std::fmt::Display]) -> String {
    x.iter().map(ToString::to_string).collect()
}

fn main() {}
