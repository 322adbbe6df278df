use mobula::remote;

#[remote]
trait Counts {
    fn count(&self) -> impl Iterator<Item = u8>;
}

fn main() {}
