//! The Mersenne Twister: Matsumoto and Nishimura, "Mersenne Twister: A 623-dimensionally equidistributed
//! uniform pseudo-random number generator", ACM TOMACS 8(1), 1998, with the seeding of 2002.
//!
//! The state is 624 words. All are renewed at once, each from itself, its neighbour and the word 397 places
//! on; then they are handed out one after the other, tempered by shifts and masks.

const WORDS: usize = 624;
const MIDDLE: usize = 397;
const TWIST: u32 = 0x9908_B0DF;
const SEED_MULTIPLIER: u32 = 1_812_433_253;
const TOP_BIT: u32 = 1 << 31;

/// MT19937, 32 bits at a time.
#[derive(Debug)]
pub(super) struct Mt19937 {
    state: [u32; WORDS],
    /// The next word to hand out; `WORDS` if they are used up.
    next: usize,
}

impl Mt19937 {
    pub(super) fn new(seed: u32) -> Self {
        let mut state = [seed; WORDS];
        let mut word = seed;
        for (i, slot) in (0..).zip(&mut state).skip(1) {
            word = SEED_MULTIPLIER.wrapping_mul(word ^ (word >> 30)).wrapping_add(i);
            *slot = word;
        }
        Self { state, next: WORDS }
    }

    pub(super) fn next_u32(&mut self) -> u32 {
        if self.next == WORDS {
            self.renew();
        }
        let mut word = self.state[self.next];
        self.next += 1;
        word ^= word >> 11;
        word ^= (word << 7) & 0x9D2C_5680;
        word ^= (word << 15) & 0xEFC6_0000;
        word ^ (word >> 18)
    }

    fn renew(&mut self) {
        for i in 0..WORDS {
            let joined = (self.state[i] & TOP_BIT) | (self.state[(i + 1) % WORDS] & !TOP_BIT);
            let twist = if joined & 1 == 1 { TWIST } else { 0 };
            self.state[i] = self.state[(i + MIDDLE) % WORDS] ^ (joined >> 1) ^ twist;
        }
        self.next = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The C++ standard fixes the 10000th number of the default seed (\[rand.predef\]).
    #[test]
    fn ten_thousandth_number() {
        let mut mt = Mt19937::new(5489);
        assert_eq!((0..10_000).map(|_| mt.next_u32()).last(), Some(4_123_659_995));
    }
}
