use mobula::remote;

#[remote(max_restarts = 2)]
fn work() {}

fn main() {}
