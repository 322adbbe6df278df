use mobula::prelude::*;

#[remote]
fn square(x: i64) -> i64 { x * x }

#[derive(Default)]
pub struct Counter { value: i64 }

#[remote]
impl Counter {
    pub fn new() -> Self { Self::default() }
    pub fn increment(&mut self) -> i64 { self.value += 1; self.value }
}

fn main() -> mobula::Result<()> {
    let _session = mobula::init()?;
    let squares: Vec<_> = (0..4).map(square::remote).collect();
    println!("{:?}", mobula::get(&squares)?);             // [0, 1, 4, 9]
    let counter = Counter::remote();
    counter.increment.remote();
    println!("{}", counter.increment.remote().get()?);    // 2
    Ok(())
}
