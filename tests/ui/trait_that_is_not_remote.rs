use mobula::remote;

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

#[remote]
impl Tracked for Counter {
    fn calls(&self) -> u64 {
        1
    }
}

fn main() {}
