use mobula::remote;

pub struct Wrong;

#[remote]
fn fail() -> Result<u8, Wrong> {
    Err(Wrong)
}

fn main() {}
