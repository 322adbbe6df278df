use mobula::remote;

#[remote]
trait Copies {
    fn copy(&self) -> Self;
}

fn main() {}
