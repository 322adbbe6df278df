use mobula::remote;

#[remote]
fn serve() -> ! {
    loop {}
}

fn main() {}
