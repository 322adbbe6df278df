use mobula::remote;

#[remote]
extern "C" fn foreign() {}

fn main() {}
