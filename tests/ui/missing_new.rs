use mobula::remote;

struct Counter;

#[remote]
impl Counter {
    pub fn increment(&mut self) {}
}

fn main() {}
