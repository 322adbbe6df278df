use mobula::remote;

#[remote(num_cpus = 2, num_gpus = 1, num_cpus = 3)]
fn work() {}

fn main() {}
