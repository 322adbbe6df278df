use mobula::remote;

#[remote]
trait Tracked {
    fn calls(&self) -> u64;
}

struct Counter;

#[remote]
impl Counter {
    pub fn new() -> Self {
        Self
    }
}

#[remote(num_cpus = 1)]
impl Tracked for Counter {
    fn calls(&self) -> u64 {
        1
    }
}

fn main() {}
