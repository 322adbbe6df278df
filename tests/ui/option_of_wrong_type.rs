use mobula::remote;

const NAME: u8 = 1;

#[remote(name = NAME)]
fn work() {}

fn main() {}
