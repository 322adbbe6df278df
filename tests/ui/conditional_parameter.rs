use mobula::remote;

#[remote]
fn add(x: u8, #[cfg(windows)] y: u8) -> u8 {
    x + 1
}

fn main() {}
