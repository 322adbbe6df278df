use mobula::remote;

#[remote(max_retries = 1.5)]
fn work() {}

fn main() {}
