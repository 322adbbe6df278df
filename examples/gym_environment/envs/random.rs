//! The random numbers of `numpy.random.default_rng(seed)`, so that a seed starts the same episodes here.
//!
//! `SeedSequence` spreads the seed over 256 bits, and `PCG64` (XSL-RR) draws from there.

/// A source of random numbers.
pub(crate) struct Random {
    state: u128,
    increment: u128,
}

impl Random {
    pub(crate) fn from_seed(seed: u64) -> Self {
        let [state, increment] = spread(seed);
        let mut random = Self { state: 0, increment: increment << 1 | 1 };
        random.advance();
        random.state = random.state.wrapping_add(state);
        random.advance();
        random
    }

    /// A number from `low` on, below `high`.
    pub(crate) fn uniform(&mut self, low: f64, high: f64) -> f64 {
        /// 53 bits are as many as an `f64` has.
        const UNIT: f64 = 1.0 / (1_u64 << 53) as f64;
        low + (high - low) * ((self.draw() >> 11) as f64 * UNIT)
    }

    /// One of the whole numbers from 0 on, below `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.uniform(0.0, end as f64) as usize
    }

    fn draw(&mut self) -> u64 {
        self.advance();
        let folded = (self.state >> 64) as u64 ^ self.state as u64;
        folded.rotate_right((self.state >> 122) as u32)
    }

    fn advance(&mut self) {
        const MULTIPLIER: u128 = 0x2360_ed05_1fc6_5da4_4385_df64_9fcc_f645;
        self.state = self.state.wrapping_mul(MULTIPLIER).wrapping_add(self.increment);
    }
}

/// What `SeedSequence(seed)` makes of a seed: two numbers of 128 bits.
fn spread(seed: u64) -> [u128; 2] {
    let mut hash = Hash { constant: 0x43b0_d7e5, multiplier: 0x931e_8875 };
    let mut pool = [seed as u32, (seed >> 32) as u32, 0, 0].map(|word| hash.next(word));
    for from in 0..4 {
        for to in (0..4).filter(|to| *to != from) {
            let word = hash.next(pool[from]);
            pool[to] = fold(pool[to].wrapping_mul(0xca01_f9dd).wrapping_sub(word.wrapping_mul(0x4973_f715)));
        }
    }
    let mut hash = Hash { constant: 0x8b51_f9dd, multiplier: 0x58f3_8ded };
    // Words from low to high make 64 bits; of two such, the first is the high one.
    [(); 2].map(|()| {
        let [a, b, c, d] = pool.map(|word| u128::from(hash.next(word)));
        b << 96 | a << 64 | d << 32 | c
    })
}

struct Hash {
    constant: u32,
    multiplier: u32,
}

impl Hash {
    fn next(&mut self, word: u32) -> u32 {
        let word = word ^ self.constant;
        self.constant = self.constant.wrapping_mul(self.multiplier);
        fold(word.wrapping_mul(self.constant))
    }
}

fn fold(word: u32) -> u32 {
    word ^ word >> 16
}
