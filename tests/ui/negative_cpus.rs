use mobula::remote;

#[remote(num_cpus = -1)]
fn work() {}

fn main() {}
