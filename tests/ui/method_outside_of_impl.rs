use mobula::remote;

struct Counter;

impl Counter {
    #[remote]
    pub fn increment(&mut self) {}
}

fn main() {}
