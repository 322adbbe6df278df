use mobula::remote;

struct Counter;

#[remote]
impl Counter {
    pub fn new() -> Self {
        Self
    }

    fn options() {}
}

fn main() {}
