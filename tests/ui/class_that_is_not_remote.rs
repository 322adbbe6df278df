use mobula::remote;

#[remote]
trait Tracked {
    fn calls(&self) -> u64;
}

struct Counter;

#[remote]
impl Tracked for Counter {
    fn calls(&self) -> u64 {
        1
    }
}

fn main() {}
