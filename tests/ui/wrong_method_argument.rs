use mobula::remote;

struct Counter(i64);

#[remote]
impl Counter {
    pub fn new() -> Self {
        Self(0)
    }

    pub fn add(&mut self, by: i64) {
        self.0 += by;
    }
}

fn main() {
    Counter::remote().add.remote("one");
}
