use mobula::remote;

#[remote(num_returns = 2)]
fn work() -> (u8, u8) {
    (1, 2)
}

fn main() {}
