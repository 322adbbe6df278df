use mobula::remote;

#[remote(timeout = 30)]
fn work() {}

fn main() {}
