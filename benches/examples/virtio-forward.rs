//! Instructions per packet of the virtio driver, split ring: receive, touch one byte, transmit, reclaim, on the model stepped by hand.
//!
//! ```text
//! RUSTFLAGS="-C target-cpu=x86-64-v2" cargo run --release -p ringway-benches --example virtio-forward
//! ```
//!
//! It runs itself under callgrind for a number of batch sizes and prints a table. What counts is what the driver's calls
//! take, less the marking of lent buffers: that stands for the IOMMU, and hardware has none of it. With a batch size and
//! a number of batches as arguments it forwards as many and does nothing else (with `flow` behind them it extracts each
//! packet's flow too); with `functions` and a batch size it prints where the instructions go.

use ringway_benches::forwarding::VIRTIO;
use ringway_dma::AddressSpace;
use ringway_flow::samples::Kind;
use ringway_flow::{Metadata, Miniflow, PacketType, V3_7, VlanLimit, extract};
use ringway_model::virtio::{Handle, Options, VirtioNet};
use ringway_packet::{Batch, Pool, PoolOptions};
use ringway_pci::Function;
use ringway_port::{PortOptions, ReceiveQueue, TransmitQueue};
use std::error::Error;
use std::hint::black_box;

const RING: u32 = 512;

/// Both of a port's queues, and what travels between them.
struct Loop {
    receive: Box<dyn ReceiveQueue>,
    transmit: Box<dyn TransmitQueue>,
    batch: Batch,
}

#[inline(always)]
fn receive(work: &mut Loop) -> usize {
    work.receive.receive(&mut work.batch).unwrap_or(0)
}

#[inline(always)]
fn touch(work: &mut Loop) {
    for mut frame in work.batch.frames() {
        if let Some(byte) = frame.data_mut().first_mut() {
            *byte = byte.wrapping_add(1);
        }
    }
}

#[inline(always)]
fn transmit(work: &mut Loop) -> usize {
    work.transmit.transmit(&mut work.batch).unwrap_or(0)
}

/// What is counted.
#[inline(never)]
fn measured(work: &mut Loop) -> usize {
    receive(work);
    touch(work);
    transmit(work)
}

/// The same with each packet's flow extracted.
#[inline(never)]
fn measured_with_flow(work: &mut Loop, metadata: &Metadata, flows: &mut [Miniflow<V3_7>]) -> usize {
    receive(work);
    for (mut frame, flow) in work.batch.frames().zip(flows) {
        if let Some(byte) = frame.data_mut().first_mut() {
            *byte = byte.wrapping_add(1);
        }
        black_box(extract(frame.data(), PacketType::ETHERNET, metadata, VlanLimit::TWO, flow));
    }
    transmit(work)
}

/// The device's part: as many frames as make a batch, and everything sent.
fn device_turn(device: &mut Handle, frame: &[u8], count: usize) {
    for _ in 0..count {
        device.inject(frame);
    }
}

fn forward(size: usize, batches: usize, with_flow: bool) -> Result<(), Box<dyn Error>> {
    let space = AddressSpace::emulated();
    let pool = Pool::new(&space, PoolOptions { buffers: 4096, ..PoolOptions::default() })?;
    let (backend, mut device) = VirtioNet::create(&space, Options::default());
    let options = PortOptions { receive_ring: RING, transmit_ring: RING, ..PortOptions::default() };
    let mut opened = ringway_virtio::open(Function::new(backend)?, &pool, &options)?;
    opened.control.set_promiscuous(true)?;
    let mut work = Loop {
        receive: opened.receive.pop().ok_or("no receive queue")?,
        transmit: opened.transmit.pop().ok_or("no transmit queue")?,
        batch: Batch::new(&pool, size),
    };
    let frame = if with_flow { Kind::UdpIpv4.packet(7) } else { vec![2; 60] };
    let metadata = Metadata::new(1);
    let mut flows: Vec<Miniflow<V3_7>> = std::iter::repeat_with(Miniflow::new).take(size).collect();
    // Two laps first: then caches and rings are as they stay.
    let warm_up = 2 * RING as usize / size;
    let mut sent = 0;
    for index in 0..warm_up + batches {
        device_turn(&mut device, &frame, size);
        if index < warm_up {
            receive(&mut work);
            touch(&mut work);
            transmit(&mut work);
        } else if with_flow {
            sent += measured_with_flow(&mut work, &metadata, &mut flows);
        } else {
            sent += measured(&mut work);
        }
        while device.step() > 0 {}
        while device.take_sent().is_some() {}
    }
    if sent != batches * size || !device.violations().is_empty() {
        return Err(format!("{sent} of {} packets were forwarded", batches * size).into());
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    VIRTIO.main(forward)
}
