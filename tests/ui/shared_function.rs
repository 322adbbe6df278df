use mobula::remote;

#[remote(isolation = "shared")]
fn work() {}

fn main() {}
