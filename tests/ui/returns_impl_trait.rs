use mobula::remote;

#[remote]
fn shown() -> impl std::fmt::Display {
    1
}

fn main() {}
