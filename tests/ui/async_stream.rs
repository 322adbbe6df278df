use mobula::remote;

#[remote]
async fn count() -> impl Iterator<Item = u8> {
    0..3
}

fn main() {}
