use mobula::remote;

struct Counter;

#[remote]
impl Counter {
    pub fn new() -> Self {
        Self
    }

    pub fn increment(&mut self) {}

    fn hidden(&self) {
        let _ = self;
    }
}

fn main() {
    let counter = Counter::remote();
    counter.hidden.remote();
}
