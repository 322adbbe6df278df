use mobula::remote;

struct Holder<T>(T);

#[remote]
impl<T: Send> Holder<T> {
    pub fn new(value: T) -> Self {
        Self(value)
    }
}

fn main() {}
