use mobula::remote;

#[remote]
trait Fetch {
    async fn fetch(&self) -> String;
}

fn main() {}
