//! Answers of a length that only the kernel knows: a head, then a chain of capabilities.
//!
//! Contract: the kernel's offsets are checked, never followed blindly. A chain that points outside, into its own
//! head, or round in a circle is an error that names what is wrong, and nothing is read outside the answer.
//!
//! Source: Linux, `include/uapi/linux/vfio.h`, `struct vfio_info_cap_header`.

use super::call_structure;
use rustix::io;
use rustix::ioctl::Opcode;
use std::mem::offset_of;
use std::os::fd::BorrowedFd;
use vfio_bindings::bindings::vfio::vfio_info_cap_header;

/// More than any kernel answers: 65536 ranges. What claims to be longer is no answer.
const MAXIMUM_BYTES: usize = 1 << 20;
/// The answer may grow between two requests (a group joins); it doesn't do so for ever.
const MAXIMUM_ROUNDS: usize = 8;

/// What the kernel answered, as bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::vfio) struct Information {
    bytes: Vec<u8>,
    head: usize,
}

/// Why an answer makes no sense.
pub(in crate::vfio) type Nonsense = &'static str;

impl Information {
    /// Asks until the whole answer fits. `head` is the length of the structure that it starts with; the first four
    /// bytes of it are `argsz`. `fill` are further words of the request and their places.
    ///
    /// # Safety
    /// `REQUEST`, on the kind of file that `descriptor` is, takes a structure that starts with `argsz` and writes no
    /// further than that.
    pub(super) unsafe fn ask<const REQUEST: Opcode>(
        descriptor: BorrowedFd<'_>,
        head: usize,
        fill: &[(usize, u32)],
    ) -> io::Result<Self> {
        let mut length = head;
        for _ in 0..MAXIMUM_ROUNDS {
            let mut words = vec![0u32; length.div_ceil(8).saturating_mul(2)];
            let room = words.len().saturating_mul(4);
            for &(place, value) in [(0, room as u32)].iter().chain(fill) {
                if let Some(word) = words.get_mut(place / 4) {
                    *word = value;
                }
            }
            // SAFETY: `argsz` holds the size of `words`, and any bytes make valid words.
            unsafe { call_structure::<REQUEST, [u32]>(descriptor, &mut words) }?;
            let needed = words.first().map_or(0, |&argsz| argsz as usize);
            if needed <= room {
                return Ok(Self { bytes: words.iter().flat_map(|word| word.to_ne_bytes()).collect(), head });
            }
            if needed > MAXIMUM_BYTES {
                return Err(io::Errno::TOOBIG);
            }
            length = needed;
        }
        Err(io::Errno::AGAIN)
    }

    /// The four bytes at `place`.
    pub(in crate::vfio) fn u32_at(&self, place: usize) -> Option<u32> {
        u32_at(&self.bytes, place)
    }

    /// The eight bytes at `place`.
    pub(in crate::vfio) fn u64_at(&self, place: usize) -> Option<u64> {
        u64_at(&self.bytes, place)
    }

    /// The capability `id` of the chain that starts at byte `first`: everything from its header to the end of the
    /// answer, since a capability doesn't say how long it is. `None` when the chain ends without it.
    pub(in crate::vfio) fn capability(&self, first: u32, id: u32) -> Result<Option<&[u8]>, Nonsense> {
        let header = size_of::<vfio_info_cap_header>();
        let mut place = first as usize;
        // Headers don't overlap in a sound chain, so it has no more links than headers fit.
        for _ in 0..=self.bytes.len() / header {
            if place == 0 {
                return Ok(None);
            }
            if place < self.head {
                return Err("a capability lies inside the head of the answer");
            }
            let rest = self.bytes.get(place..).unwrap_or_default();
            let (Some(found), Some(next)) =
                (u16_at(rest, 0), u32_at(rest, offset_of!(vfio_info_cap_header, next)))
            else {
                return Err("a capability lies beyond the end of the answer");
            };
            if u32::from(found) == id {
                return Ok(Some(rest));
            }
            place = next as usize;
        }
        Err("its chain of capabilities does not end")
    }
}

/// An array of pairs of 64-bit numbers in a capability, behind its `count` at byte 8: IOVA ranges, mappable areas.
pub(in crate::vfio) fn pairs(capability: &[u8]) -> Result<Vec<(u64, u64)>, Nonsense> {
    const COUNT: usize = size_of::<vfio_info_cap_header>();
    const FIRST: usize = 16;
    const SIZE: usize = 16;
    let too_short = "a capability is longer than the answer";
    let count = u32_at(capability, COUNT).ok_or(too_short)? as usize;
    let array = capability.get(FIRST..).ok_or(too_short)?;
    // Checked before anything is reserved for a count of four thousand million.
    if count > array.len() / SIZE {
        return Err(too_short);
    }
    array
        .chunks_exact(SIZE)
        .take(count)
        .map(|pair| Some((u64_at(pair, 0)?, u64_at(pair, 8)?)))
        .collect::<Option<_>>()
        .ok_or(too_short)
}

fn u16_at(bytes: &[u8], place: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(place..)?.first_chunk().copied()?))
}

pub(in crate::vfio) fn u32_at(bytes: &[u8], place: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(place..)?.first_chunk().copied()?))
}

fn u64_at(bytes: &[u8], place: usize) -> Option<u64> {
    Some(u64::from_ne_bytes(bytes.get(place..)?.first_chunk().copied()?))
}

#[cfg(test)]
impl Information {
    /// An answer made up for a test.
    pub(in crate::vfio) fn made_up(bytes: Vec<u8>, head: usize) -> Self {
        Self { bytes, head }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: usize = 24;

    /// An answer with capabilities `(place, id, next)`.
    fn answer(length: usize, capabilities: &[(usize, u16, u32)]) -> Information {
        let mut bytes = vec![0u8; length];
        for &(place, id, next) in capabilities {
            bytes[place..place + 2].copy_from_slice(&id.to_ne_bytes());
            bytes[place + 4..place + 8].copy_from_slice(&next.to_ne_bytes());
        }
        Information::made_up(bytes, HEAD)
    }

    #[test]
    fn a_capability_is_found_wherever_it_stands_in_the_chain() {
        let answer = answer(64, &[(24, 7, 40), (40, 3, 32), (32, 1, 0)]);
        assert_eq!(answer.capability(24, 7).unwrap().unwrap().len(), 40);
        assert_eq!(answer.capability(24, 3).unwrap().unwrap().len(), 24);
        assert_eq!(answer.capability(24, 1).unwrap().unwrap().len(), 32);
        assert_eq!(answer.capability(24, 9), Ok(None));
        assert_eq!(answer.capability(0, 7), Ok(None));
    }

    #[test]
    fn a_chain_in_a_circle_ends_with_an_error() {
        let circle = answer(48, &[(24, 7, 32), (32, 3, 24)]);
        assert!(circle.capability(24, 1).unwrap_err().contains("does not end"));
        let itself = answer(48, &[(24, 7, 24)]);
        assert!(itself.capability(24, 1).unwrap_err().contains("does not end"));
        // What stands before the circle closes is still found.
        assert!(circle.capability(24, 3).unwrap().is_some());
    }

    #[test]
    fn a_chain_that_leaves_the_answer_is_an_error_and_reads_nothing_outside() {
        for first in [41, 44, 47, 48, 49, 4096, u32::MAX] {
            let error = answer(48, &[]).capability(first, 1).unwrap_err();
            assert!(error.contains("beyond the end"), "{first}: {error}");
        }
        let error = answer(48, &[(24, 7, u32::MAX)]).capability(24, 1).unwrap_err();
        assert!(error.contains("beyond the end"));
        for first in [1, 8, 23] {
            assert!(answer(48, &[]).capability(first, 0).unwrap_err().contains("inside the head"));
        }
    }

    #[test]
    fn an_array_with_a_count_beyond_the_answer_is_refused() {
        let mut capability = vec![0u8; 16 + 2 * 16];
        for (count, sound) in [(0u32, true), (1, true), (2, true), (3, false), (u32::MAX, false)] {
            capability[8..12].copy_from_slice(&count.to_ne_bytes());
            assert_eq!(pairs(&capability).map(|pairs| pairs.len()).ok(), sound.then_some(count as usize));
        }
        for length in 0..16 {
            assert!(pairs(&capability[..length]).is_err(), "{length}");
        }
    }
}
