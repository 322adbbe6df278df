use mobula::remote;

struct Counter;

#[remote]
impl Counter {
    pub fn new(&self) -> Self {
        Self
    }
}

fn main() {}
