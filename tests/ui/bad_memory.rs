use mobula::remote;

#[remote(memory = "2 gigabytes")]
fn work() {}

fn main() {}
