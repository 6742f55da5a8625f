//! The ring's indices and notifications, seen from the device's side.

use super::areas::{Areas, Rings};
use super::*;
use ringway_dma::{AddressSpace, DeviceView, Iova, Placement};
use std::sync::Arc;
use std::sync::atomic::AtomicU32;

/// Far beyond 16 bits of positions; under Miri, which is slow, a few.
const LAPS: u32 = if cfg!(miri) { 40 } else { 30_000 };
const SIZE: u16 = 8;
const QUIET: u32 = u32::MAX;

struct Bench {
    ring: SplitRing,
    bell: Arc<AtomicU32>,
    device: DeviceView,
    driver_area: u64,
    device_area: u64,
    _space: AddressSpace,
}

fn bench(event_index: bool) -> Bench {
    let space = AddressSpace::emulated();
    let (areas, _) = Areas::allocate_in(&space, Placement::default(), SIZE, &[]).unwrap();
    let told = areas.told(None).unwrap();
    let bell = Arc::new(AtomicU32::new(QUIET));
    let doorbell = Doorbell::Emulated(Arc::clone(&bell));
    Bench {
        ring: SplitRing::new(Rings::new(&areas).unwrap(), areas, doorbell, 3, event_index),
        bell,
        device: space.device_view().unwrap(),
        driver_area: told.driver.iova().get(),
        device_area: told.device.iova().get(),
        _space: space,
    }
}

impl Bench {
    fn flags(&mut self) -> u16 {
        self.device.load_u16(Iova::new(self.driver_area)).unwrap()
    }

    fn used_event(&mut self) -> u16 {
        self.device.load_u16(Iova::new(self.driver_area + 4 + 2 * u64::from(SIZE))).unwrap()
    }

    fn set_used_flags(&mut self, flags: u16) {
        self.device.store_u16(Iova::new(self.device_area), flags).unwrap();
    }

    fn set_used_index(&mut self, index: u16) {
        self.device.store_u16(Iova::new(self.device_area + 2), index).unwrap();
    }

    fn set_available_event(&mut self, event: u16) {
        self.device.store_u16(Iova::new(self.device_area + 4 + 8 * u64::from(SIZE)), event).unwrap();
    }

    /// Whether publishing so many chains rings the doorbell.
    fn publish(&mut self, chains: u16) -> bool {
        (0..chains).for_each(|_| self.ring.offer(0));
        self.ring.publish();
        let value = self.bell.swap(QUIET, Ordering::Relaxed);
        assert!(value == QUIET || value == 3, "a notification carries the queue's index");
        value == 3
    }

    /// The device uses what it has, and the driver reads it.
    fn turn(&mut self, chains: u16) {
        let used = self.ring.last_used.wrapping_add(chains);
        self.set_used_index(used);
        assert_eq!(self.ring.ready(), Some(chains));
        self.ring.consume(chains);
    }

    /// Section 2.7.10: whether a device that moves its used index from `old` to `new` interrupts.
    fn interrupts(&mut self, old: u16, new: u16) -> bool {
        let event = self.used_event();
        new.wrapping_sub(event).wrapping_sub(1) < new.wrapping_sub(old)
    }
}

#[test]
fn flags_ask_for_interrupts_only_without_the_event_index() {
    let mut bench = bench(false);
    assert_eq!(bench.flags(), 1);
    assert!(bench.ring.listen());
    assert_eq!(bench.flags(), 0);
    bench.ring.silence();
    assert_eq!(bench.flags(), 1);
}

#[test]
fn with_the_event_index_the_flags_stay_zero() {
    let mut bench = bench(true);
    assert_eq!(bench.flags(), 0);
    bench.ring.listen();
    bench.ring.silence();
    assert_eq!(bench.flags(), 0);
}

#[test]
fn a_polled_ring_is_never_interrupted_however_far_it_goes() {
    let mut bench = bench(true);
    for _ in 0..LAPS {
        let old = bench.ring.last_used;
        assert!(!bench.interrupts(old, old.wrapping_add(SIZE)), "at {old}");
        bench.publish(SIZE);
        bench.turn(SIZE);
    }
}

#[test]
fn a_ring_that_listens_is_interrupted_at_the_next_entry_until_it_is_silenced() {
    let mut bench = bench(true);
    assert!(bench.ring.listen());
    for _ in 0..LAPS {
        let old = bench.ring.last_used;
        assert!(bench.interrupts(old, old.wrapping_add(1)), "at {old}");
        bench.publish(3);
        bench.turn(3);
        bench.ring.keep_listening();
    }
    bench.ring.silence();
    let old = bench.ring.last_used;
    assert!(!bench.interrupts(old, old.wrapping_add(SIZE)));
}

#[test]
fn listening_says_when_something_is_there_already() {
    for event_index in [false, true] {
        let mut bench = bench(event_index);
        bench.publish(2);
        bench.set_used_index(1);
        assert!(!bench.ring.listen());
        bench.ring.consume(1);
        assert!(bench.ring.listen());
    }
}

#[test]
fn the_device_is_told_as_its_flags_say() {
    let mut bench = bench(false);
    assert!(bench.publish(1));
    bench.set_used_flags(1);
    assert!(!bench.publish(1));
    bench.set_used_flags(0);
    assert!(bench.publish(1));
    assert!(!bench.publish(0), "nothing is new");
}

#[test]
fn the_device_is_told_when_the_index_passes_its_event_also_round_the_end() {
    let mut bench = bench(true);
    // Event 0: the first entry. Later publications don't pass it.
    assert!(bench.publish(2));
    assert!(!bench.publish(2));
    bench.set_available_event(6);
    assert!(!bench.publish(2));
    assert!(bench.publish(1));
    assert!(!bench.publish(1));
    // At the wrap of the index.
    while bench.ring.next_available != u16::MAX - 1 {
        bench.turn(bench.ring.published.wrapping_sub(bench.ring.last_used));
        let chains = SIZE.min((u16::MAX - 1).wrapping_sub(bench.ring.next_available));
        bench.publish(chains);
    }
    bench.set_available_event(0);
    assert!(!bench.publish(2), "entries 65534 and 65535");
    assert!(bench.publish(1), "entry 0");
}

#[test]
fn a_used_index_beyond_what_was_made_available_is_no_count() {
    let mut bench = bench(true);
    bench.publish(3);
    for (index, ready) in [(0, Some(0)), (3, Some(3)), (4, None), (SIZE, None), (u16::MAX, None)] {
        bench.set_used_index(index);
        assert_eq!(bench.ring.ready(), ready, "{index}");
    }
}
