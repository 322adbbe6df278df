use mobula::remote;

#[remote(num_cpu = 2, memory = "much", detached)]
unsafe fn work<T>(_x: T, (_y, _z): (u8, u8), _list: &mut Vec<u8>) -> &str {
    ""
}

fn main() {}
