use mobula::remote;

struct Counter;

#[remote]
impl Counter {
    #[cfg(unix)]
    pub fn new() -> Self {
        Self
    }

    #[cfg(not(unix))]
    pub fn new() -> Self {
        Self
    }
}

fn main() {}
