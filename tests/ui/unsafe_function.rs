use mobula::remote;

#[remote]
unsafe fn danger() {}

fn main() {}
