use mobula::remote;

#[remote]
fn first(x: &[u8]) -> Result<Option<&u8>, String> {
    Ok(x.first())
}

fn main() {}
