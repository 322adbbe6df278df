use mobula::remote;

struct Local;

#[remote]
fn take(_x: &Local) {}

fn main() {}
