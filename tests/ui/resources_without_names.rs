use mobula::remote;

#[remote(resources = 2)]
fn work() {}

fn main() {}
