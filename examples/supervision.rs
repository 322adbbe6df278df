//! An actor that crashes: it is built again, what was queued goes on, and its death has a cause.
//!
//! Run it with `cargo run --release --example supervision`. A panic fails the one call that panicked.
//! The actor is rebuilt from the arguments of its constructor, twice here, and the calls behind the
//! crash run on the new one. After the third crash it is dead, and every call says what killed it first. That
//! nobody reads the failure of the third crash itself is logged, on standard error.

use mobula::prelude::*;

/// Divides, and keeps count of what it did.
pub struct Divider {
    dividend: i64,
    divisions: u32,
}

#[remote(max_restarts = 2)]
impl Divider {
    /// Divides always the same number.
    pub fn new(dividend: i64) -> Self {
        Self { dividend, divisions: 0 }
    }

    /// The quotient, and how many this instance has made. Panics if there is none.
    pub fn divide(&mut self, by: i64) -> (i64, u32) {
        let quotient = self.dividend / by;
        self.divisions += 1;
        (quotient, self.divisions)
    }

    /// As `divide`, but with an error instead of the panic: the actor lives on.
    pub fn try_divide(&mut self, by: i64) -> Result<i64, String> {
        self.dividend.checked_div(by).ok_or_else(|| format!("{} cannot be divided by {by}", self.dividend))
    }
}

fn main() -> mobula::Result<()> {
    let _session = mobula::init()?;
    let divider = Divider::remote(100);

    if let Err(error) = divider.try_divide.remote(0).get() {
        println!("an `Err` fails its call: {:?}, {}", error.kind(), error.message());
    }

    // All five are queued before the first has run; the second and the fourth crash the actor.
    let calls = [5, 0, 10, 0, 20].map(|by| (by, divider.divide.remote(by)));
    for (by, call) in calls {
        match call.get() {
            Ok((quotient, divisions)) => {
                println!("100 / {by} = {quotient}, division {divisions} of its instance");
            }
            Err(error) => println!("100 / {by} failed: {:?}, {}", error.kind(), error.message()),
        }
    }

    // No restart is left: the third crash is the last.
    divider.divide.remote(0);
    let dead = divider.divide.remote(1).get().expect_err("the actor is dead");
    println!("now it is dead: {:?} in `{}`", dead.kind(), dead.function().unwrap_or("no function"));
    let cause = dead.cause().expect("it died of something");
    println!(
        "because of: {:?} in `{}`, {}",
        cause.kind(),
        cause.function().unwrap_or("no function"),
        cause.message()
    );
    Ok(())
}
