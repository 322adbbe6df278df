use mobula::remote;

struct Counter;

#[remote]
impl Counter {
    pub async fn new() -> Self {
        Self
    }
}

fn main() {}
