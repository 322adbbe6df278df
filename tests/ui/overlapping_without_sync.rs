use mobula::remote;
use std::cell::Cell;

struct Counter(Cell<u8>);

#[remote(max_concurrency = 2)]
impl Counter {
    pub fn new() -> Self {
        Self(Cell::new(0))
    }

    pub fn get(&self) -> u8 {
        self.0.get()
    }
}

fn main() {}
