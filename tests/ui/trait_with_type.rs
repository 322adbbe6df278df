use mobula::remote;

#[remote]
trait Holds {
    type Held;
    fn held(&self) -> u8;
}

fn main() {}
