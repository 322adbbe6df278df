use mobula::remote;

#[derive(serde::Serialize, serde::Deserialize)]
struct Unique;

#[remote]
fn take(_x: Unique) {}

fn main() {}
