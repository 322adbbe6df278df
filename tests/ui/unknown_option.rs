use mobula::remote;

#[remote(num_cpu = 2)]
fn work() {}

fn main() {}
