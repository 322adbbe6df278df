use mobula::remote;

#[derive(Clone)]
struct Local;

#[remote]
fn take(_x: Local) {}

fn main() {}
