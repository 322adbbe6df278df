use mobula::remote;

#[remote(timeout = "30 seconds")]
fn work() {}

fn main() {}
