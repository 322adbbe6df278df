use mobula::remote;

struct Counter;

#[remote]
impl Counter {
    pub fn new() -> Option<Self> {
        Some(Self)
    }
}

fn main() {}
