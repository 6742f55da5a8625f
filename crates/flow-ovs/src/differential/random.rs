//! Reproducible random numbers (SplitMix64): each case has its own sequence.

pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64, case: u64) -> Self {
        let mut random = Random(seed ^ case.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        random.word();
        random
    }

    pub(super) fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ word >> 31
    }

    /// A number below `bound`, which isn't 0.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        (self.word() % bound.max(1) as u64) as usize
    }

    /// True once in `times`.
    pub(super) fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    pub(super) fn byte(&mut self) -> u8 {
        self.word() as u8
    }

    pub(super) fn pick<T: Copy>(&mut self, choices: &[T], otherwise: T) -> T {
        let index = self.below(choices.len());
        choices.get(index).copied().unwrap_or(otherwise)
    }

    pub(super) fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let word = self.word().to_ne_bytes();
            chunk.iter_mut().zip(word).for_each(|(byte, random)| *byte = random);
        }
    }
}
