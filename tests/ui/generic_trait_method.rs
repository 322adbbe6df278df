use mobula::remote;

#[remote]
trait Shows {
    fn show<T: ToString>(&self, x: T) -> String;
}

fn main() {}
