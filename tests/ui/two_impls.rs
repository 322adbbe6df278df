use mobula::remote;

struct Counter(u64);

#[remote]
impl Counter {
    pub fn new() -> Self {
        Self(0)
    }
}

#[remote]
impl Counter {
    pub fn increment(&mut self) {
        self.0 += 1;
    }
}

fn main() {}
