use mobula::remote;
use std::rc::Rc;

struct Counter(Rc<u8>);

#[remote]
impl Counter {
    pub fn new() -> Self {
        Self(Rc::new(0))
    }
}

fn main() {}
