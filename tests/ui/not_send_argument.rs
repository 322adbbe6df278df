use mobula::remote;
use std::rc::Rc;

#[remote]
fn take(_x: Rc<u8>) {}

fn main() {}
