//! The string of bytes that a case is played from. It never runs dry: after its end come zeros, which mean harmless things.

/// A reader of a script.
#[derive(Clone, Debug)]
pub struct Script<'a> {
    bytes: &'a [u8],
}

impl<'a> Script<'a> {
    /// From its first byte.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// Whether nothing but zeros follows.
    pub fn is_over(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The next byte.
    pub fn byte(&mut self) -> u8 {
        let Some((&first, rest)) = self.bytes.split_first() else { return 0 };
        self.bytes = rest;
        first
    }

    /// The next two.
    pub fn half(&mut self) -> u16 {
        u16::from_le_bytes([self.byte(), self.byte()])
    }

    /// The next four.
    pub fn word(&mut self) -> u32 {
        u32::from(self.half()) | u32::from(self.half()) << 16
    }

    /// The next eight.
    pub fn double(&mut self) -> u64 {
        u64::from(self.word()) | u64::from(self.word()) << 32
    }

    /// Below `limit`, 0 where that is 0; from one byte, or from two where one doesn't reach.
    pub fn below(&mut self, limit: usize) -> usize {
        let drawn = if limit <= 256 { usize::from(self.byte()) } else { usize::from(self.half()) };
        drawn.checked_rem(limit).unwrap_or(0)
    }

    /// Once in so many times, by one byte.
    pub fn once_in(&mut self, times: u8) -> bool {
        self.byte().checked_rem(times) == Some(1)
    }

    /// So many bytes, or what there is.
    pub fn take(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.bytes.split_at(count.min(self.bytes.len()));
        self.bytes = rest;
        taken
    }

    /// A number of any size, more often one at an edge.
    pub fn edge(&mut self) -> u32 {
        match self.byte() % 6 {
            0 => u32::from(self.byte() % 4),
            1 => u32::from(self.byte()),
            2 => u32::MAX - u32::from(self.byte() % 16),
            3 => 1 << (self.byte() % 32),
            4 => u32::from(self.half()),
            _ => self.word(),
        }
    }
}

/// Xorshift: repeats for the same seed.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// One of its sequences.
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// The next number.
    pub fn draw(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 >> 11
    }

    /// Below `limit`, which isn't 0.
    pub fn below(&mut self, limit: usize) -> usize {
        (self.draw() % limit.max(1) as u64) as usize
    }

    /// A script of so many bytes.
    pub fn script(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.draw() as u8).collect()
    }
}
