//! What lending costs: a driver's loops with the device's part left out, for counting instructions.
//!
//! ```text
//! RUSTFLAGS="-C target-cpu=x86-64-v2" cargo build -p ringway-packet --release --example lending
//! valgrind --tool=callgrind --callgrind-out-file=lending.out target/release/examples/lending 32 4096
//! callgrind_annotate --inclusive=yes lending.out
//! ```
//!
//! The arguments are packets a batch and batches. `receive`, `transmit` and `reclaim` are functions of their own, as
//! a driver of an 82599 has them: two words a descriptor, status and length in one load. Half of the packets go in
//! runs, half slot by slot in a round (`receive_each`, `transmit_each`). `device` plays the device.

#![allow(clippy::unwrap_used, reason = "a measurement that can't go on has failed")]

use ringway_dma::{
    AddressSpace, Attachment, BackendError, Descriptor, Iommu, Iova, IovaRange, Limits, Mapping, Placement,
    Ring, RingMemory,
};
use ringway_packet::{Batch, Plain, Pool, PoolOptions, ReceiveBuffers, TransmitBuffers, Whole};
use std::sync::atomic::Ordering;

const SLOTS: u32 = 512;
const DONE: u64 = 1;
const END: u64 = 2;
const ERROR: u64 = 4;
const WHOLE: Whole = Whole { mask: (DONE | END | ERROR) as u32, value: (DONE | END) as u32 };
const PLAIN: Plain = Plain { flags: 0x2b << 24, again: 46, shortest: 17 };

/// Translates for no device: the path of real hardware, without the marks of an emulated space.
#[derive(Debug)]
struct NoDevice;

// SAFETY: no device is behind it, so nothing is ever reached through it.
unsafe impl Iommu for NoDevice {
    fn limits(&self) -> Result<Limits, BackendError> {
        let range = IovaRange { first: Iova::new(0), last: Iova::new((1 << 39) - 1) };
        Ok(Limits { ranges: vec![range], page_sizes: 4096, mappings: None })
    }

    unsafe fn map(&self, _mapping: Mapping<'_>) -> Result<(), BackendError> {
        Ok(())
    }

    fn unmap(&self, _iova: Iova, _length: usize) -> Result<(), BackendError> {
        Ok(())
    }
}

struct Receiver {
    ring: Ring<Descriptor>,
    buffers: ReceiveBuffers,
    next: u32,
}

struct Transmitter {
    ring: Ring<Descriptor>,
    buffers: TransmitBuffers,
    next: u32,
    clean: u32,
}

#[inline(always)]
fn length(word: u64) -> Option<u32> {
    (word & (DONE | END | ERROR) == DONE | END).then_some((word >> 32) as u16 as u32)
}

fn command(length: u32) -> u64 {
    u64::from(length) << PLAIN.again | u64::from(length) | PLAIN.flags
}

/// One run a poll: a batch ends at the ring's end, and the next poll goes on at its start.
#[inline(never)]
fn receive(queue: &mut Receiver, batch: &mut Batch) -> u32 {
    let Receiver { ring, buffers, next } = queue;
    let received = buffers.exchange_run(batch, ring, *next, (0, WHOLE), |_, _| ()) as u32;
    *next = next.wrapping_add(received);
    received
}

#[inline(never)]
fn receive_each(queue: &mut Receiver, batch: &mut Batch) -> u32 {
    let Ok(mut round) = queue.buffers.receive(batch) else { return 0 };
    let mut next = queue.next;
    while round.has_room() && round.has_stock() {
        let descriptor = queue.ring.at(next);
        let Some(length) = length(descriptor.word.load(Ordering::Acquire)) else { break };
        if round.exchange(next, &descriptor.address, length).is_err() {
            break;
        }
        descriptor.word.store(0, Ordering::Relaxed);
        next = next.wrapping_add(1);
    }
    let received = next.wrapping_sub(queue.next);
    queue.next = next;
    received
}

#[inline(never)]
fn transmit(queue: &mut Transmitter, batch: &mut Batch) -> u32 {
    let Transmitter { ring, buffers, next, clean } = queue;
    let free = clean.wrapping_add(SLOTS).wrapping_sub(*next) as usize;
    let sent = buffers.lend_run(batch, ring, (*next, free), PLAIN, |_, _| ()) as u32;
    *next = next.wrapping_add(sent);
    sent
}

#[inline(never)]
fn transmit_each(queue: &mut Transmitter, batch: &mut Batch) -> u32 {
    let Ok(mut round) = queue.buffers.send(batch, 0) else { return 0 };
    let mut next = queue.next;
    let end = queue.clean.wrapping_add(SLOTS);
    while next != end
        && let Some(front) = round.front()
    {
        if !front.last {
            break;
        }
        let descriptor = queue.ring.at(next);
        if !round.lend(next, &descriptor.address) {
            break;
        }
        descriptor.word.store(command(front.length), Ordering::Relaxed);
        next = next.wrapping_add(1);
    }
    drop(round);
    let sent = next.wrapping_sub(queue.next);
    queue.next = next;
    sent
}

#[inline(never)]
fn reclaim(queue: &mut Transmitter) -> u32 {
    let mut taken = 0u32;
    while queue.next.wrapping_sub(queue.clean) >= 64 {
        taken = taken.wrapping_add(queue.buffers.take_back(queue.clean, 32));
        queue.clean = queue.clean.wrapping_add(32);
    }
    taken
}

#[inline(never)]
fn device(queue: &Receiver, count: u32) {
    for index in 0..count {
        let descriptor = queue.ring.at(queue.next.wrapping_add(index));
        descriptor.word.store(60 << 32 | END | DONE, Ordering::Release);
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let count: u32 = arguments.next().map_or(Ok(32), |count| count.parse())?;
    let rounds: u32 = arguments.next().map_or(Ok(4096), |rounds| rounds.parse())?;

    let space = AddressSpace::new(Box::new(NoDevice))?;
    let device_handle = Attachment::new(space.clone());
    let bytes = SLOTS as usize * size_of::<Descriptor>();
    let mut memory = RingMemory::allocate(&space, Placement::default(), &[bytes, bytes])?;
    let pool = Pool::new(&space, PoolOptions { buffers: 4096, ..PoolOptions::default() })?;
    let mut receiver = Receiver {
        ring: memory.block(bytes)?.ring(0, SLOTS)?,
        buffers: ReceiveBuffers::new(&pool, SLOTS, 0, &device_handle)?,
        next: 0,
    };
    let mut transmitter = Transmitter {
        ring: memory.block(bytes)?.ring(0, SLOTS)?,
        buffers: TransmitBuffers::new(std::slice::from_ref(&pool), SLOTS, &device_handle)?,
        next: 0,
        clean: 0,
    };
    for slot in 0..SLOTS {
        receiver.buffers.fill(slot, &receiver.ring.at(slot).address);
    }
    let mut batch = Batch::new(&pool, count as usize);
    let (mut received, mut sent, mut taken) = (0, 0, 0);
    for _ in 0..rounds {
        device(&receiver, count);
        received += receive(&mut receiver, &mut batch);
        sent += transmit(&mut transmitter, &mut batch);
        taken += reclaim(&mut transmitter);
        device(&receiver, count);
        received += receive_each(&mut receiver, &mut batch);
        sent += transmit_each(&mut transmitter, &mut batch);
        taken += reclaim(&mut transmitter);
    }
    println!("received {received}, sent {sent}, taken back {taken}");
    Ok(())
}
