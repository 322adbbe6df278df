use mobula::remote;

struct Counter;

#[remote]
impl Counter {
    pub fn new() -> Self {
        Self
    }

    #[remote(num_cpus = 2)]
    pub fn work(&self) {}
}

fn main() {}
