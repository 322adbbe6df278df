use mobula::remote;

struct Counter;

#[remote]
impl Counter {
    pub fn new() -> Self {
        Self
    }

    pub fn remote(&self) {}
}

fn main() {}
