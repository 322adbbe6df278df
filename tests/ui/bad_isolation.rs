use mobula::remote;

#[remote(isolation = "container")]
fn work() {}

fn main() {}
