//! A device that lies: what it says is held against the driver's own records.
//!
//! The model stands still here; the tests write descriptors in its place, through the device's side of the address
//! space, which refuses what is not lent.

use crate::support::{Port, Setup, frame, number, open};
use ringway_dma::{DeviceView, Iova};
use ringway_port::{Offloads, PortOptions};

const DONE: u64 = 1;
const END: u64 = 2;
const ERROR: u64 = 1 << 29;

/// The port, and the device's pen.
struct Liar {
    port: Port,
    view: DeviceView,
    receive: u64,
    transmit: u64,
}

fn liar(ring: u32, interrupts: bool) -> Liar {
    lying(PortOptions { receive_ring: ring, transmit_ring: ring, interrupts, ..PortOptions::default() })
}

fn lying(port: PortOptions) -> Liar {
    let port = open(Setup { port, ..Setup::default() });
    let view = port.space.device_view().unwrap();
    let (receive, transmit) = (port.watch.base(0x1000), port.watch.base(0x6000));
    Liar { port, view, receive, transmit }
}

impl Liar {
    /// Writes the second word of a receive descriptor.
    fn say(&mut self, slot: u64, word: u64) {
        self.view.store_u64(Iova::new(self.receive + slot * 16 + 8), word).unwrap();
    }

    /// Puts a frame into a slot's buffer and says so.
    fn deliver(&mut self, slot: u64, bytes: &[u8]) {
        let address = self.view.load_u64(Iova::new(self.receive + slot * 16)).unwrap();
        self.view.write(Iova::new(address), bytes).unwrap();
        self.say(slot, (bytes.len() as u64) << 32 | DONE | END);
    }

    fn errors(&mut self) -> u64 {
        self.port.control.statistics().unwrap().received().errors
    }

    fn end(self) {
        let Self { port, view, .. } = self;
        drop(view);
        port.close();
    }
}

#[test]
fn a_length_beyond_the_buffer_is_a_counted_drop() {
    for offloads in [Offloads::NONE, Offloads::HASH] {
        let mut liar = lying(PortOptions { receive_ring: 64, offloads, ..PortOptions::default() });
        for (count, length) in [1793u64, 2048, 2049, 4096, 0x7fff, 0xffff].into_iter().enumerate() {
            let slot = count as u64 * 2;
            liar.say(slot, length << 32 | DONE | END);
            liar.deliver(slot + 1, &frame(slot, 60));
            assert_eq!(
                liar.port.take(),
                Some(frame(slot, 60)),
                "the next frame comes as if nothing had been"
            );
            assert_eq!(liar.errors(), count as u64 + 1, "{length}");
        }
        liar.say(12, 1792 << 32 | DONE | END);
        assert_eq!(liar.port.take().unwrap().len(), 1792, "the longest that is possible");
        let received = liar.port.control.statistics().unwrap().received();
        assert_eq!((received.packets, received.bytes), (7, 6 * 60 + 1792), "what was dropped has no bytes");
        liar.end();
    }
}

#[test]
fn a_frame_with_an_error_is_a_counted_drop() {
    let mut liar = liar(64, false);
    liar.say(0, 60 << 32 | ERROR | DONE | END);
    // An error in the middle of a frame of three.
    liar.say(1, 1024 << 32 | DONE);
    liar.say(2, 1024 << 32 | ERROR | DONE);
    liar.say(3, 60 << 32 | DONE | END);
    liar.deliver(4, &frame(7, 60));
    assert_eq!(liar.port.take(), Some(frame(7, 60)));
    assert_eq!(liar.errors(), 2);
    liar.end();
}

#[test]
fn a_chain_whose_middle_is_too_long_is_dropped_as_a_whole() {
    let mut liar = liar(64, false);
    for (slot, length) in [(0, 1024u64), (1, 5000), (2, 60)] {
        liar.say(slot, length << 32 | DONE | if slot == 2 { END } else { 0 });
    }
    liar.deliver(3, &frame(3, 60));
    assert_eq!(liar.port.take(), Some(frame(3, 60)));
    assert_eq!(liar.errors(), 1);
    // The slots hold buffers again, each once.
    for lap in 0..200 {
        let slot = (4 + lap) % 64;
        liar.deliver(slot, &frame(lap, 60));
        assert_eq!(liar.port.take(), Some(frame(lap, 60)));
    }
    liar.end();
}

#[test]
fn a_frame_that_never_ends_fails_the_queue_with_the_ports_name() {
    let mut liar = liar(64, false);
    for slot in 0..15 {
        liar.say(slot, 1024 << 32 | DONE);
        assert_eq!(liar.port.take(), None, "it may still end");
    }
    liar.say(15, 1024 << 32 | DONE);
    let mut batch = liar.port.batch(4);
    for _ in 0..2 {
        let error = liar.port.receive[0].receive(&mut batch).unwrap_err();
        assert!(matches!(error, ringway_port::Error::Failed { .. }));
        assert!(error.to_string().contains("emulated:0"), "{error}");
    }
    drop(batch);
    liar.end();
}

#[test]
fn packets_before_a_failure_stay_in_the_batch() {
    let mut liar = liar(64, false);
    liar.deliver(0, &frame(0, 60));
    for slot in 1..17 {
        liar.say(slot, 1024 << 32 | DONE);
    }
    let mut batch = liar.port.batch(4);
    assert!(liar.port.receive[0].receive(&mut batch).is_err());
    assert_eq!(batch.len(), 1);
    assert_eq!(number(batch.frame(0).unwrap().data()), 0);
    drop(batch);
    liar.end();
}

#[test]
fn a_done_bit_that_comes_early_gives_a_packet_that_the_device_can_no_longer_change() {
    let mut liar = liar(64, false);
    let address = Iova::new(liar.view.load_u64(Iova::new(liar.receive)).unwrap());
    liar.say(0, 60 << 32 | DONE | END);
    let mut batch = liar.port.batch(4);
    assert_eq!(liar.port.receive[0].receive(&mut batch).unwrap(), 1);
    assert!(liar.view.write(address, &[1; 60]).is_err(), "the buffer is the program's now");
    drop(batch);
    liar.end();
}

#[test]
fn a_whole_ring_of_lies_is_worked_through_and_ends() {
    let mut liar = liar(64, true);
    for round in 0..20u64 {
        for slot in 0..64 {
            let words = [
                0,
                DONE | END,
                u64::MAX,
                60 << 32 | DONE | END,
                0xffff << 32 | DONE | END,
                60 << 32 | END,
                60 << 32 | DONE | END | ERROR,
            ];
            liar.say(slot, words[((slot * 5 + round * 3) % 7) as usize]);
            // Addresses are overwritten too: they are nothing that the driver goes by.
            liar.view.store_u64(Iova::new(liar.receive + slot * 16), u64::MAX - slot).unwrap();
        }
        let mut batch = liar.port.batch(256);
        let received = liar.port.receive[0].receive(&mut batch).unwrap();
        assert!(received <= 64);
        assert!(batch.frames().all(|frame| frame.len() <= 1792));
        liar.port.receive[0].enable_interrupt();
    }
    liar.end();
}

#[test]
fn reports_that_nobody_asked_for_take_no_buffer_back() {
    let mut liar = liar(64, false);
    // Done bits all over the ring, before anything was sent.
    for slot in 0..64 {
        liar.view.store_u64(Iova::new(liar.transmit + slot * 16 + 8), 1 << 32).unwrap();
    }
    assert_eq!(liar.port.transmit[0].reclaim().unwrap(), 0);
    let mut batch = liar.port.batch(40);
    for number in 0..40 {
        batch.push(liar.port.pool.packet_from(&frame(number, 60)).unwrap()).unwrap();
    }
    assert_eq!(liar.port.transmit[0].transmit(&mut batch).unwrap(), 40);
    // The last descriptor is said to be done before the 32nd, which was asked too: in order or not at all.
    liar.view.store_u64(Iova::new(liar.transmit + 39 * 16 + 8), 1 << 32).unwrap();
    assert_eq!(liar.port.transmit[0].reclaim().unwrap(), 0);
    liar.view.store_u64(Iova::new(liar.transmit + 31 * 16 + 8), 1 << 32).unwrap();
    assert_eq!(liar.port.transmit[0].reclaim().unwrap(), 40);
    for _ in 0..3 {
        assert_eq!(liar.port.transmit[0].reclaim().unwrap(), 0, "a done bit counts once");
    }
    drop(batch);
    liar.end();
}

#[test]
fn wrong_heads_and_tails_in_registers_change_nothing() {
    let mut liar = liar(64, false);
    for register in [0x1010, 0x1018, 0x6010, 0x6018] {
        liar.port.watch.record().forced.insert(register, 0xdead_beef);
    }
    for lap in 0..130 {
        liar.deliver(lap % 64, &frame(lap, 60));
        assert_eq!(liar.port.take(), Some(frame(lap, 60)));
    }
    liar.port.watch.record().forced.clear();
    liar.end();
}

#[test]
fn a_device_that_never_reports_fills_the_ring_and_no_more() {
    let mut liar = liar(64, false);
    let mut batch = liar.port.batch(32);
    let mut sent = 0;
    for number in 0..200 {
        batch.push(liar.port.pool.packet_from(&frame(number, 60)).unwrap()).unwrap();
        sent += liar.port.transmit[0].transmit(&mut batch).unwrap();
        batch.clear();
    }
    assert_eq!((sent, liar.port.transmit[0].pending()), (63, 63));
    drop(batch);
    liar.end();
}
