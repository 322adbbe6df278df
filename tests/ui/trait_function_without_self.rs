use mobula::remote;

#[remote]
trait Makes {
    fn make() -> u8;
}

fn main() {}
