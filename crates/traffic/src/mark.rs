//! What a generator writes into each packet's payload, so that a receiver finds out what became of it.
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 2 | the mark itself |
//! | 2 | 4 | flow |
//! | 6 | 6 | number in its flow, from 0 |
//! | 12 | 6 | time in nanoseconds, as the sender's clock has it |
//!
//! All are little-endian. With 18 bytes it is what is left of the smallest UDP packet over IPv4. Numbers and times are
//! kept modulo 2^48: numbers end after 218 days at 14.88 Mpps, times come round after 78 hours.

/// Bytes of a mark.
pub const MARK: usize = 18;

const MAGIC: [u8; 2] = *b"Rw";
const MASK: u64 = (1 << 48) - 1;

/// A packet's mark.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    /// Its flow.
    pub flow: u32,
    /// Its number in the flow; the lower 48 bits count.
    pub number: u64,
    /// When it was sent, in nanoseconds; the lower 48 bits count.
    pub time: u64,
}

impl Mark {
    /// As it stands in a payload.
    #[inline]
    pub fn to_bytes(self) -> [u8; MARK] {
        let [f0, f1, f2, f3] = self.flow.to_le_bytes();
        let [n0, n1, n2, n3, n4, n5, ..] = self.number.to_le_bytes();
        let [t0, t1, t2, t3, t4, t5, ..] = self.time.to_le_bytes();
        let [m0, m1] = MAGIC;
        [m0, m1, f0, f1, f2, f3, n0, n1, n2, n3, n4, n5, t0, t1, t2, t3, t4, t5]
    }

    /// The mark at the start of a payload, if one is there.
    #[inline]
    pub fn read(payload: &[u8]) -> Option<Self> {
        let &[m0, m1, f0, f1, f2, f3, n0, n1, n2, n3, n4, n5, t0, t1, t2, t3, t4, t5] =
            payload.first_chunk::<MARK>()?;
        ([m0, m1] == MAGIC).then_some(Self {
            flow: u32::from_le_bytes([f0, f1, f2, f3]),
            number: u64::from_le_bytes([n0, n1, n2, n3, n4, n5, 0, 0]),
            time: u64::from_le_bytes([t0, t1, t2, t3, t4, t5, 0, 0]),
        })
    }

    /// How long ago it was sent, by the same clock, in nanoseconds.
    #[inline]
    pub fn age(self, now: u64) -> u64 {
        now.wrapping_sub(self.time) & MASK
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_read_as_it_was_written() {
        let mark = Mark { flow: 0xdead_beef, number: 0x1234_5678_9abc, time: 0xffff_ffff_fffe };
        let mut payload = mark.to_bytes().to_vec();
        payload.extend([0; 5]);
        assert_eq!(Mark::read(&payload), Some(mark));
        assert_eq!(Mark::read(&payload[..17]), None);
        payload[0] ^= 1;
        assert_eq!(Mark::read(&payload), None);
    }

    #[test]
    fn an_age_is_right_across_the_end_of_the_clock() {
        let mark = Mark { time: MASK - 5, ..Mark::default() };
        assert_eq!(mark.age((1 << 48) + 4), 10);
        assert_eq!(mark.age(MASK - 5), 0);
    }
}
