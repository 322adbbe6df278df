use mobula::remote;

#[remote(num_cpus = 1)]
trait Tracked {
    fn calls(&self) -> u64;
}

fn main() {}
