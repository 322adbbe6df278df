use mobula::remote;

struct Counter;

#[remote]
impl Counter {
    pub fn new() -> Self {
        Self
    }

    pub fn show<T: ToString>(&self, x: T) -> String {
        x.to_string()
    }
}

fn main() {}
