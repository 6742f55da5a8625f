//! What the receive unit lets in, where it puts it, and what it says of it.

use crate::driver::*;
use crate::frames::{Flow, ethernet, is_right, numbered};
use ringway_model::ixgbe::{Options, Personality};

/// The key of Microsoft's verification suite.
const KEY: [u8; 40] = [
    0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3, 0x8f, 0xb0, 0xd0,
    0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30, 0xf2, 0x0c, 0x6a, 0x42,
    0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa,
];

/// The hash by its definition: a bit of input, a shifted window of the key.
fn toeplitz(input: &[u8]) -> u32 {
    let mut hash = 0;
    for (index, byte) in input.iter().enumerate() {
        for bit in 0..8 {
            if byte >> (7 - bit) & 1 != 0 {
                for place in 0..32 {
                    let at = index * 8 + bit + place;
                    hash ^= u32::from(KEY[at / 8] >> (7 - at % 8) & 1) << (31 - place);
                }
            }
        }
    }
    hash
}

fn spread(port: &Port, queues: u32, entries: u32) {
    for (index, bytes) in KEY.chunks(4).enumerate() {
        port.write(0x5c80 + index as u64 * 4, u32::from_le_bytes(bytes.try_into().unwrap()));
    }
    for word in 0..entries / 4 {
        let value = (0..4).fold(0, |value, byte| value | ((word * 4 + byte) % queues) << (byte * 8));
        let register = if word < 32 { 0x5c00 + word * 4 } else { 0xee80 + (word - 32) * 4 };
        port.write(register.into(), value);
    }
    port.write(0x5000, 1 << 13);
    port.write(0x5818, 1 | 1 << 16 | 1 << 17 | 1 << 20 | 1 << 21 | 1 << 22 | 1 << 23);
}

#[test]
fn flows_spread_over_all_queues_and_carry_their_hash() {
    for (personality, queues, entries) in [(Personality::Fibre82599, 16, 128), (Personality::X550, 64, 512)] {
        let options = Options { personality, ..Options::default() };
        let mut port = Port::start(Setup { options, queues, descriptors: 64, ..Setup::default() });
        spread(&port, queues, entries);
        let mut counts = vec![0; queues as usize];
        for number in 0..640u32 {
            let (v6, tcp) = (number & 1 != 0, number & 2 != 0);
            let flow = Flow { v6, tcp, source: 0x0a00_0000 + number, ports: (number as u16, 443) };
            let frame = flow.frame(b"payload");
            let (addresses, ports) = if v6 { (22..54, 54..58) } else { (26..34, 34..38) };
            let expected = toeplitz(&[&frame[addresses], &frame[ports]].concat());
            assert!(port.device.inject(&frame));
            let queue = (expected % entries % queues) as usize;
            let packet = port.take(queue).expect("in the queue that the table names");
            let kind = match (v6, tcp) {
                (false, true) => 1,
                (false, false) => 7,
                (true, true) => 3,
                (true, false) => 8,
            };
            assert_eq!(packet.hash(), (kind, expected));
            counts[queue] += 1;
        }
        assert!(counts.iter().all(|count| *count > 0), "{counts:?}");
        assert!(port.device.inject(&numbered(0)));
        assert_eq!(port.take(0).unwrap().hash(), (0, 0), "what isn't IP goes to queue 0");
    }
}

#[test]
fn one_full_queue_drops_for_itself_only_when_told_so() {
    let setup = Setup { queues: 2, descriptors: 8, split_control: 1 << 25 | 1 << 28, ..Setup::default() };
    let mut port = Port::start(setup);
    spread(&port, 2, 128);
    let flow = |queue: u32| {
        (0..)
            .map(|source| Flow { v6: false, tcp: false, source, ports: (1, 2) }.frame(b""))
            .find(move |frame| toeplitz(&[&frame[26..34], &frame[34..38]].concat()) % 128 % 2 == queue)
    };
    let (near, far) = ringway_model::wire::channel(64);
    port.device.attach(Box::new(NeverWaits(near)));
    let (first, second) = (flow(0).unwrap(), flow(1).unwrap());
    for _ in 0..10 {
        far.send(first.clone()).unwrap();
    }
    far.send(second).unwrap();
    port.settle();
    assert!(port.take(1).is_some());
    assert_eq!(port.read(0x1430), 3, "dropped for want of descriptors");
    assert_eq!(std::iter::from_fn(|| port.take(0)).count(), 7);
}

#[test]
fn a_frame_that_no_ring_of_that_size_ever_has_room_for_is_missed_and_holds_up_nothing() {
    let mut port = Port::start(Setup { descriptors: 8, jumbo: true, ..Setup::default() });
    port.write(receive_block(0) + 0x14, 1 << 25 | 1); // 7 descriptors of 1 KiB each at most
    let (near, far) = ringway_model::wire::channel(4);
    port.device.attach(Box::new(near));
    let mut long = numbered(0);
    long.resize(7 * 1024 + 1, 0);
    far.send(long).unwrap();
    far.send(numbered(1)).unwrap();
    port.settle();
    assert_eq!(port.take(0).map(|packet| packet.bytes), Some(numbered(1)));
    assert_eq!(port.read(MPC), 1);
}

/// A wire like a real one: what finds no room is lost.
#[derive(Debug)]
struct NeverWaits(ringway_model::wire::Channel);

impl ringway_model::wire::Wire for NeverWaits {
    fn receive(&mut self, frame: &mut [u8]) -> Option<usize> {
        self.0.receive(frame)
    }
    fn send(&mut self, frame: &[u8]) {
        self.0.send(frame);
    }
    fn waits(&self) -> bool {
        false
    }
}

#[test]
fn what_finds_no_descriptor_is_missed() {
    let mut port = Port::start(Setup { descriptors: 8, ..Setup::default() });
    let (near, far) = ringway_model::wire::channel(64);
    port.device.attach(Box::new(NeverWaits(near)));
    for number in 0..9 {
        far.send(numbered(number)).unwrap();
    }
    port.settle();
    assert_eq!((port.read(MPC), port.read(GPRC), port.read(0x40d0)), (2, 7, 9));
}

#[test]
fn only_wanted_destinations_get_through() {
    let mut port = Port::start(Setup::default());
    port.write(FCTRL, 0);
    let passes = |port: &mut Port, destination: [u8; 6]| {
        let mut frame = ethernet(destination, 0x88b5);
        frame.resize(60, 0);
        assert!(port.device.inject(&frame), "dropped is taken, too");
        port.take(0).is_some()
    };
    let own = Options::default().mac;
    assert!(passes(&mut port, own));
    assert!(!passes(&mut port, [2, 9, 9, 9, 9, 9]));
    assert!(!passes(&mut port, [0xff; 6]));
    assert!(!passes(&mut port, [1, 0, 0x5e, 0, 0, 1]));
    port.write(0xa208, 0x0909_0902);
    port.write(0xa20c, 0x8000_0909);
    assert!(passes(&mut port, [2, 9, 9, 9, 9, 9]));
    port.write(FCTRL, 1 << 10);
    assert!(passes(&mut port, [0xff; 6]));
    port.write(FCTRL, 1 << 8);
    assert!(passes(&mut port, [1, 0, 0x5e, 0, 0, 1]));
    port.write(FCTRL, 1 << 9);
    assert!(passes(&mut port, [2, 7, 7, 7, 7, 7]));
    assert_eq!((port.read(GPRC), port.read(0x40d0)), (5, 8));
    assert_eq!((port.read(0x4078), port.read(0x407c)), (1, 1), "broadcast and multicast");
}

#[test]
fn frames_longer_than_allowed_are_counted_and_dropped() {
    let mut port = Port::start(Setup::default());
    let mut frame = numbered(0);
    frame.resize(1514, 0);
    assert!(port.device.inject(&frame) && port.take(0).is_some());
    frame.push(0);
    assert!(port.device.inject(&frame) && port.take(0).is_none());
    assert_eq!(port.read(0x40ac), 1);
    frame.splice(12..12, [0x81, 0, 0, 1]);
    frame.truncate(1518);
    assert!(port.device.inject(&frame) && port.take(0).is_some(), "a tag may come on top");
}

#[test]
fn tags_are_stripped_into_the_descriptor_or_left() {
    for strip in [true, false] {
        let receive_control = if strip { 1 << 30 } else { 0 };
        let mut port = Port::start(Setup { receive_control, ..Setup::default() });
        let plain = Flow { v6: false, tcp: true, source: 1, ports: (1, 2) }.frame(b"tagged");
        let mut tagged = plain.clone();
        tagged.splice(12..12, [0x81, 0x00, 0x60, 0x2a]);
        assert!(port.device.inject(&tagged));
        let packet = port.take(0).unwrap();
        assert_eq!(packet.status() & 1 << 3 != 0, strip);
        assert_eq!(packet.vlan(), if strip { 0x602a } else { 0 });
        assert_eq!(packet.bytes, if strip { plain } else { tagged });
        assert_eq!(packet.status() & 0x60, 0x60, "checksums are looked at behind the tag");
    }
}

#[test]
fn checksums_are_judged() {
    let mut port = Port::start(Setup::default());
    for (v6, tcp) in [(false, false), (false, true), (true, false), (true, true)] {
        for length in [0usize, 1, 7, 100, 1400] {
            let flow = Flow { v6, tcp, source: 0xc0a8_0001, ports: (7, 9) };
            let good = flow.frame(&vec![0xa5; length]);
            assert!(is_right(&good));
            let mut bad = good.clone();
            let at = 14 + flow.network_length() + 2;
            bad[at] ^= 0x40;
            for (frame, wrong) in [(good, false), (bad, true)] {
                assert!(port.device.inject(&frame));
                let packet = port.take(0).unwrap();
                assert_ne!(packet.status() & 1 << 5, 0, "looked at");
                assert_eq!(packet.status() & 1 << 6 != 0, !v6);
                assert_eq!(packet.errors() & 1 << 10 != 0, wrong, "v6 {v6}, tcp {tcp}, {length}");
                assert_eq!(packet.errors() & 1 << 11, 0);
                let kinds = if v6 { 4 } else { 1 } | if tcp { 0x10 } else { 0x20 };
                assert_eq!(packet.types(), kinds);
            }
        }
    }
    let mut frame = Flow { v6: false, tcp: true, source: 1, ports: (7, 9) }.frame(b"");
    frame[24] ^= 1;
    assert!(port.device.inject(&frame));
    let packet = port.take(0).unwrap();
    assert_ne!(packet.errors() & 1 << 11, 0, "the IPv4 header's");
    let mut frame = Flow { v6: false, tcp: false, source: 1, ports: (7, 9) }.frame(b"");
    frame[40..42].fill(0);
    assert!(port.device.inject(&frame));
    assert_eq!(port.take(0).unwrap().status() & 1 << 5, 0, "a UDP checksum of zero is none");
}
