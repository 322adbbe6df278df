use mobula::remote;

#[remote]
trait Holds {
    const HELD: u8;
    fn held(&self) -> u8;
}

fn main() {}
