use mobula::remote;

#[derive(Clone)]
struct Local;

#[remote]
fn take(_x: u8, _y: &[Local]) {}

fn main() {}
