use mobula::remote;

#[remote(max_retries = -1)]
fn work() {}

fn main() {}
