//! Whatever a driver and a program do, in any order: each buffer is in one place, none is lost, and the device reaches
//! exactly those that rings hold.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that can't go on has failed")]

mod common;

use common::Bench;
use proptest::collection::vec;
use proptest::prelude::*;
use ringway_dma::{Iova, Pair, Placement, Ring, RingMemory};
use ringway_packet::{Batch, Packet, Plain, ReceiveBuffers, Told, TransmitBuffers, Whole};
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;

/// Miri takes a second for what is done in a millisecond.
const CASES: u32 = if cfg!(miri) { 2 } else { 128 };
const STEPS: usize = if cfg!(miri) { 20 } else { 120 };
const SLOTS: u32 = 16;
const BUFFERS: u32 = 150;
const WHOLE: Whole = Whole { mask: 1, value: 1 };
const PLAIN: Plain = Plain { flags: 1 << 24, again: 46, shortest: 17 };

/// One thing that a driver or a program does. Slots and counts are taken as they come.
#[derive(Clone, Debug)]
enum Step {
    Fill(u32),
    Exchange { first: u32, count: u32, length: u32 },
    ExchangeRun { first: u32, whole: u32, panics: bool },
    ExchangeNamed { first: u32, named: u32, panics: bool },
    ExchangeTold { first: u32, length: u32, ends_after: u32 },
    TakeAndGive { slots: Vec<u32>, give: Vec<u32>, length: u32 },
    Segments { slots: Vec<u32>, drop_last: bool },
    Lend { first: u32, count: u32, address: u32 },
    LendRun { first: u32, count: u32, panics: bool },
    LendPrefixed { first: u32, panics: bool },
    FillAll,
    DropFront,
    TakeBack { first: u32, count: u32 },
    TakeBackOne(u32),
    New(usize),
    Chain,
    Push,
    Pop,
    Retain(u8),
    Clear,
    DropPacket,
    ForgetReceiving(u32),
    ForgetSending(u32),
}

fn step() -> impl Strategy<Value = Step> {
    let slot = || prop_oneof![0..SLOTS, any::<u32>()];
    let slots = move || vec(0..SLOTS, 0..6);
    let length = || prop_oneof![4 => 0u32..1800, 1 => any::<u32>()];
    prop_oneof![
        3 => slot().prop_map(Step::Fill),
        4 => (slot(), 0u32..20, length()).prop_map(|(first, count, length)| Step::Exchange { first, count, length }),
        4 => (slot(), 0u32..40, any::<bool>())
            .prop_map(|(first, whole, panics)| Step::ExchangeRun { first, whole, panics }),
        4 => (slot(), 0u32..40, any::<bool>())
            .prop_map(|(first, named, panics)| Step::ExchangeNamed { first, named, panics }),
        4 => (slot(), length(), 0u32..40)
            .prop_map(|(first, length, ends_after)| Step::ExchangeTold { first, length, ends_after }),
        2 => (slots(), slots(), length()).prop_map(|(slots, give, length)| Step::TakeAndGive { slots, give, length }),
        2 => (slots(), any::<bool>()).prop_map(|(slots, drop_last)| Step::Segments { slots, drop_last }),
        4 => (slot(), 0u32..20, slot()).prop_map(|(first, count, address)| Step::Lend { first, count, address }),
        4 => (slot(), 0u32..40, any::<bool>())
            .prop_map(|(first, count, panics)| Step::LendRun { first, count, panics }),
        2 => (slot(), any::<bool>()).prop_map(|(first, panics)| Step::LendPrefixed { first, panics }),
        2 => Just(Step::FillAll),
        1 => Just(Step::DropFront),
        4 => (slot(), 0u32..40).prop_map(|(first, count)| Step::TakeBack { first, count }),
        1 => slot().prop_map(Step::TakeBackOne),
        2 => (0usize..2500).prop_map(Step::New),
        2 => Just(Step::Chain),
        2 => Just(Step::Push),
        1 => Just(Step::Pop),
        1 => any::<u8>().prop_map(Step::Retain),
        1 => Just(Step::Clear),
        1 => Just(Step::DropPacket),
    ]
}

/// As above, with rounds that are forgotten.
fn careless_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        10 => step(),
        1 => (0u32..20).prop_map(Step::ForgetReceiving),
        1 => (0u32..20).prop_map(Step::ForgetSending),
    ]
}

struct World {
    bench: Bench,
    /// What the device says of slots, for `exchange_named`.
    said: Ring<Pair>,
    receive: ReceiveBuffers,
    transmit: TransmitBuffers,
    batch: Batch,
    packets: Vec<Packet>,
    /// Every buffer that a descriptor has named.
    seen: BTreeSet<u64>,
}

impl World {
    fn new() -> Self {
        let bench = Bench::new(BUFFERS, SLOTS);
        let bytes = SLOTS as usize * size_of::<Pair>();
        let mut memory = RingMemory::allocate(&bench.space, Placement::default(), &[bytes]).unwrap();
        Self {
            said: memory.block(bytes).unwrap().ring(0, SLOTS).unwrap(),
            receive: ReceiveBuffers::new(&bench.pool, SLOTS, 12, &bench.device).unwrap(),
            transmit: bench.transmit(),
            batch: Batch::new(&bench.pool, 24),
            packets: Vec::new(),
            seen: BTreeSet::new(),
            bench,
        }
    }

    fn run(&mut self, step: Step) {
        let Self { bench, said, receive, transmit, batch, packets, seen } = self;
        let word = |slot: u32| &bench.ring.at(slot).address;
        let mut named = |slot: u32| {
            seen.insert(word(slot).load(Ordering::Relaxed) & !2047);
        };
        match step {
            Step::Fill(slot) => {
                receive.fill(slot, word(slot));
                named(slot);
            }
            Step::Exchange { first, count, length } => {
                let mut round = receive.receive(batch).unwrap();
                for slot in (0..count).map(|index| first.wrapping_add(index)) {
                    let _ = round.exchange(slot, word(slot), length);
                    named(slot);
                }
            }
            Step::ExchangeRun { first, whole, panics } => {
                for index in 0..SLOTS {
                    let said = if index < whole { 1 | 60 << 32 } else { 0 };
                    bench.ring.at(first.wrapping_add(index)).word.store(said, Ordering::Relaxed);
                }
                let (before, mut done) = (batch.len(), 0);
                let _ = catch_unwind(AssertUnwindSafe(|| {
                    receive.exchange_run(batch, &bench.ring, first, (0, WHOLE), |count, bytes| {
                        done = count;
                        assert_eq!(bytes, 60 * count as u64);
                        assert!(!panics, "on purpose");
                    });
                }));
                assert!(done as u32 <= whole && batch.len() == before + done);
                (0..done as u32).for_each(|index| named(first.wrapping_add(index)));
            }
            Step::ExchangeNamed { first, named: claims, panics } => {
                for index in 0..SLOTS {
                    let slot = first.wrapping_add(index) % SLOTS;
                    let other = u32::from(index == claims);
                    said.at(slot).first.store(slot + other, Ordering::Relaxed);
                    said.at(slot).second.store(72, Ordering::Relaxed);
                }
                let (before, mut done) = (batch.len(), 0);
                let _ = catch_unwind(AssertUnwindSafe(|| {
                    let rings = (&bench.ring, &*said);
                    receive.exchange_named(batch, rings, (first, 15), 1500, |count, bytes| {
                        done = count;
                        assert_eq!(bytes, 60 * count as u64);
                        assert!(!panics, "on purpose");
                    });
                }));
                assert!(done as u32 <= claims && batch.len() == before + done);
                (0..done as u32).for_each(|index| named(first.wrapping_add(index)));
            }
            Step::ExchangeTold { first, length, ends_after } => {
                let mut round = receive.receive(batch).unwrap();
                let mut left = ends_after;
                let done = round.exchange_told(&bench.ring, first, 0, |_, _| {
                    left = left.checked_sub(1)?;
                    Some(Told { length, hash: Some(1), ..Told::default() })
                });
                (0..done).for_each(|index| named(first.wrapping_add(index)));
            }
            Step::TakeAndGive { slots, give, length } => {
                let mut round = receive.receive(batch).unwrap();
                for slot in slots {
                    if round.take(slot, length).is_ok() {
                        assert_eq!(round.last_prefix().len(), 12);
                    }
                }
                for slot in give {
                    round.give(slot, word(slot));
                    named(slot);
                }
            }
            Step::Segments { slots, drop_last } => {
                let mut round = receive.receive(batch).unwrap();
                let mut slots = slots.into_iter();
                if let Some(first) = slots.next()
                    && round.take(first, 1000).is_ok()
                {
                    for slot in slots {
                        let _ = round.take_segment(slot, 1000);
                    }
                    if drop_last {
                        round.drop_last();
                    }
                }
            }
            Step::Lend { first, count, address } => {
                let mut round = transmit.send(batch, 0).unwrap();
                for index in 0..count {
                    let address = address.wrapping_add(index);
                    round.lend(first.wrapping_add(index), word(address));
                    named(address);
                }
            }
            Step::FillAll => (0..SLOTS).for_each(|slot| {
                receive.fill(slot, word(slot));
                named(slot);
            }),
            Step::LendRun { first, count, panics } => {
                let (before, mut done) = (batch.len(), 0);
                let plain = Plain { shortest: if count % 2 == 0 { 17 } else { 0 }, ..PLAIN };
                let _ = catch_unwind(AssertUnwindSafe(|| {
                    transmit.lend_run(batch, &bench.ring, (first, count as usize), plain, |count, _| {
                        done = count;
                        assert!(!panics, "on purpose");
                    });
                }));
                assert!(done as u32 <= count && batch.len() == before - done);
                (0..done as u32).for_each(|index| named(first.wrapping_add(index)));
            }
            Step::LendPrefixed { first, panics } => {
                let (before, mut done) = (batch.len(), 0);
                let _ = catch_unwind(AssertUnwindSafe(|| {
                    let header = (&[1; 12], (14, 1500));
                    transmit.lend_prefixed(batch, &bench.ring, first, header, |count, _| {
                        done = count;
                        assert!(!panics, "on purpose");
                    });
                }));
                assert!(batch.len() == before - done);
                (0..done as u32).for_each(|index| named(first.wrapping_add(index)));
            }
            Step::DropFront => drop(transmit.send(batch, 0).unwrap().drop_front()),
            Step::TakeBack { first, count } => drop(transmit.take_back(first, count)),
            Step::TakeBackOne(slot) => drop(transmit.take_back_one(slot)),
            Step::New(length) => {
                if packets.len() < 20 {
                    packets.extend(bench.pool.packet_from(&vec![7; length]));
                }
            }
            Step::Chain => {
                if let Some(last) = packets.pop() {
                    match packets.last_mut() {
                        Some(packet) => packet.frame_mut().chain(last).unwrap(),
                        None => packets.push(last),
                    }
                }
            }
            Step::Push => {
                if let Some(packet) = packets.pop()
                    && let Err((_, packet)) = batch.push(packet)
                {
                    packets.push(packet);
                }
            }
            Step::Pop => packets.extend(batch.pop()),
            Step::Retain(mask) => {
                let mut index = 0;
                batch.retain(|_| {
                    index += 1;
                    mask >> (index % 8) & 1 == 1
                });
            }
            Step::Clear => drop(batch.clear()),
            Step::DropPacket => drop(packets.pop()),
            Step::ForgetReceiving(count) => {
                let mut round = receive.receive(batch).unwrap();
                for slot in 0..count {
                    let _ = round.exchange(slot, word(slot), 60);
                    named(slot);
                }
                std::mem::forget(round);
            }
            Step::ForgetSending(count) => {
                let mut round = transmit.send(batch, 0).unwrap();
                for slot in 0..count {
                    round.lend(slot, word(slot));
                    named(slot);
                }
                std::mem::forget(round);
            }
        }
    }

    /// How many of the buffers that were ever named the device reaches now.
    fn reached(&self) -> usize {
        let mut view = self.bench.view();
        let reaches = |&&place: &&u64| place != 0 && view.read(Iova::new(place), &mut [0]).is_ok();
        self.seen.iter().filter(reaches).count()
    }

    /// Ends everything but the batch: how many buffers are free, each in one place, and how many the batch has.
    fn end(mut self) -> (usize, usize) {
        let stopped = self.bench.stopped();
        self.receive.release(&stopped);
        self.transmit.release(&stopped);
        self.packets.clear();
        let in_batch = self.batch.frames().map(|frame| frame.segments().count()).sum();
        (self.bench.drain([&mut self.batch]).len(), in_batch)
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: CASES, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn posted_and_held_and_free_buffers_add_up_to_the_pool(steps in vec(step(), 0..STEPS)) {
        let mut world = World::new();
        for step in steps {
            world.run(step);
            prop_assert_eq!(world.reached(), world.receive.held() + world.transmit.held());
        }
        prop_assert_eq!(world.bench.pool.lost(), 0);
        let (free, in_batch) = world.end();
        prop_assert_eq!(free + in_batch, BUFFERS as usize);
    }

    #[test]
    fn forgotten_rounds_lose_buffers_but_hand_none_out_twice(steps in vec(careless_step(), 0..STEPS)) {
        let mut world = World::new();
        for step in steps {
            world.run(step);
            prop_assert!(world.reached() <= BUFFERS as usize);
        }
        let (free, in_batch) = world.end();
        prop_assert!(free + in_batch <= BUFFERS as usize);
    }
}
