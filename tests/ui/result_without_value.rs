use mobula::remote;

#[remote]
fn show() -> std::fmt::Result {
    Ok(())
}

fn main() {}
