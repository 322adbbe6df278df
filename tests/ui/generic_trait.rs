use mobula::remote;

#[remote]
trait Holds<T> {
    fn held(&self) -> u8;
}

fn main() {}
