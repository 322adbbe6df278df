use mobula::remote;

struct Counter;

#[remote(max_concurrency = 0)]
impl Counter {
    pub fn new() -> Self {
        Self
    }
}

fn main() {}
