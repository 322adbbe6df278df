use mobula::remote;

struct Counter;

#[remote]
impl Counter {
    #[remote(num_cpus = 1)]
    pub fn new() -> Self {
        Self
    }
}

fn main() {}
