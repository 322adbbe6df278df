use mobula::remote;

#[remote]
fn push(list: &mut Vec<u8>) {
    list.push(1);
}

fn main() {}
