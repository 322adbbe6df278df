use mobula::remote;

struct Local;

#[remote]
fn make() -> Local {
    Local
}

fn main() {}
