use mobula::remote;

#[remote]
fn show(x: &dyn std::fmt::Display) -> String {
    x.to_string()
}

fn main() {}
