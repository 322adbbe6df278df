use mobula::remote;

#[remote(num_cpus = 1e999)]
fn work() {}

fn main() {}
