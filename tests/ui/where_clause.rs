use mobula::remote;

#[remote]
fn answer() -> u8
where
    u8: Copy,
{
    42
}

fn main() {}
