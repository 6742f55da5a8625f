//! Automatic receive steering (virtio 1.2, section 5.1.6.5.6): a flow's frames arrive on the queue that pairs with
//! the one that its answers were last sent on.
//!
//! A small table, indexed by a hash that is the same in both directions, remembers the queue. Two flows that share a
//! place share a queue, which the specification allows.

const PLACES: usize = 4096;

/// Which receive queue a flow goes to.
#[derive(Debug)]
pub(crate) struct Steering {
    /// The queue pair plus one; 0: nothing was sent of this flow yet.
    pairs: Box<[u16; PLACES]>,
}

impl Steering {
    pub(crate) fn new() -> Self {
        Self { pairs: Box::new([0; PLACES]) }
    }

    pub(crate) fn clear(&mut self) {
        self.pairs.fill(0);
    }

    /// A frame was sent on this pair.
    #[inline]
    pub(crate) fn learn(&mut self, frame: &[u8], pair: u16) {
        if let Some(place) = self.pairs.get_mut(hash(frame) as usize % PLACES) {
            *place = pair.wrapping_add(1);
        }
    }

    /// The pair on which a frame goes to the driver, below `active`.
    #[inline]
    pub(crate) fn pair(&self, frame: &[u8], active: u16) -> u16 {
        let hash = hash(frame);
        let learnt = self.pairs.get(hash as usize % PLACES).and_then(|pair| pair.checked_sub(1));
        match learnt {
            Some(pair) if pair < active => pair,
            _ => (hash >> 12) as u16 % active.max(1),
        }
    }
}

/// Addresses and ports, each pair added up so that both directions agree. Frames that are neither IPv4 nor IPv6 go by
/// their Ethernet addresses.
fn hash(frame: &[u8]) -> u32 {
    let half = |at: usize| {
        let bytes = frame.get(at..).and_then(|bytes| bytes.first_chunk::<2>());
        bytes.map_or(0, |bytes| u32::from(u16::from_be_bytes(*bytes)))
    };
    let word = |at: usize| half(at) << 16 | half(at + 2);
    let mut kind = half(12);
    let mut network = 14;
    if kind == 0x8100 || kind == 0x88a8 {
        kind = half(16);
        network = 18;
    }
    let sum = match kind {
        0x0800 => {
            let header = (word(network) >> 24 & 0xf) as usize * 4;
            let fragment = half(network + 6) & 0x3fff != 0;
            let addresses = word(network + 12).wrapping_add(word(network + 16));
            let ports =
                if fragment { 0 } else { ports(half, word(network + 8) >> 16 & 0xff, network + header) };
            addresses.wrapping_add(ports)
        }
        0x86dd => {
            let addresses = (0..8).fold(0u32, |sum, index| sum.wrapping_add(word(network + 8 + index * 4)));
            addresses.wrapping_add(ports(half, word(network + 4) >> 8 & 0xff, network + 40))
        }
        _ => half(0).wrapping_add(half(6)) << 16 | word(2).wrapping_add(word(8)) & 0xffff,
    };
    (sum ^ sum >> 15).wrapping_mul(0x9e37_79b1).rotate_left(11)
}

/// TCP's, UDP's and SCTP's ports, added up.
fn ports(half: impl Fn(usize) -> u32, protocol: u32, at: usize) -> u32 {
    let has_ports = matches!(protocol, 6 | 17 | 132);
    if has_ports { half(at).wrapping_add(half(at + 2)).wrapping_mul(0x85eb_ca6b) } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn udp(from: u8, to: u8, source: u16, destination: u16) -> Vec<u8> {
        let mut frame = vec![0; 12];
        frame.extend([8, 0, 0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, from, 10, 0, 0, to]);
        frame.extend(source.to_be_bytes());
        frame.extend(destination.to_be_bytes());
        frame
    }

    #[test]
    fn an_answer_comes_back_on_the_pair_that_asked() {
        let mut steering = Steering::new();
        for pair in 0..4 {
            steering.learn(&udp(1, 2, 5000 + pair, 53), pair);
        }
        for pair in 0..4 {
            assert_eq!(steering.pair(&udp(2, 1, 53, 5000 + pair), 4), pair);
        }
        assert!(steering.pair(&udp(2, 1, 53, 5003), 2) < 2, "a pair that is off gets nothing");
    }

    #[test]
    fn flows_that_nothing_was_sent_of_spread() {
        let steering = Steering::new();
        let mut seen = [0u32; 4];
        for port in 0..1000 {
            seen[usize::from(steering.pair(&udp(1, 2, 1000 + port, 53), 4))] += 1;
        }
        assert!(seen.iter().all(|&count| count > 150), "{seen:?}");
    }

    #[test]
    fn short_frames_go_somewhere() {
        for length in 0..60 {
            assert!(Steering::new().pair(&vec![0x45; length], 3) < 3);
        }
    }
}
