use mobula::remote;

struct Counter;

#[remote]
impl Counter {
    pub fn new() -> Self {
        Self
    }

    #[remote(timeout = "1s")]
    fn hidden(&self) {}
}

fn main() {}
