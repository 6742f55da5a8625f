//! Instructions per packet of the virtio driver, split ring: receive, touch one byte, transmit, reclaim, on the model stepped by hand.
//!
//! ```text
//! RUSTFLAGS="-C target-cpu=x86-64-v2" cargo run --release -p ringway-benches --example virtio-forward
//! ```
//!
//! It runs itself under callgrind for a number of batch sizes and prints a table. What counts is what the driver's calls
//! take, less the marking of lent buffers: that stands for the IOMMU, and hardware has none of it. With a batch size and
//! a number of batches as arguments it forwards as many and does nothing else; with `functions` and a batch size it prints
//! where the instructions go.

use ringway_benches::callgrind::Profile;
use ringway_dma::AddressSpace;
use ringway_model::virtio::{Handle, Options, VirtioNet};
use ringway_packet::{Batch, Pool, PoolOptions};
use ringway_pci::Function;
use ringway_port::{PortOptions, ReceiveQueue, TransmitQueue};
use std::error::Error;

const SIZES: [usize; 9] = [1, 2, 4, 8, 16, 32, 64, 128, 256];
/// Packets that are counted, at each size: several laps of a ring.
const PACKETS: usize = 16_384;
const RING: u32 = 512;
/// Issue and name of each limit: instructions per packet at a batch size.
const BUDGETS: [(usize, u64); 2] = [(8, 110), (32, 90)];
/// The functions that mark and unmark buffers as lent, in `ringway-dma` and `ringway-packet`.
const IOMMU: [&str; 5] = ["LentTable", "::mark", "::unmark_each", "::shut", "Views"];

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

/// The device's part: as many frames as make a batch, and everything sent.
fn device_turn(device: &mut Handle, frame: &[u8], count: usize) {
    for _ in 0..count {
        device.inject(frame);
    }
}

fn forward(size: usize, batches: usize) -> Result<(), Box<dyn Error>> {
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
    let frame = [2; 60];
    // Two laps first: then caches and rings are as they stay.
    let warm_up = 2 * RING as usize / size;
    let mut sent = 0;
    for index in 0..warm_up + batches {
        device_turn(&mut device, &frame, size);
        if index < warm_up {
            receive(&mut work);
            touch(&mut work);
            transmit(&mut work);
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

fn profile(size: usize) -> Result<(Profile, u64), Box<dyn Error>> {
    let batches = PACKETS / size;
    let arguments = [size.to_string(), batches.to_string()];
    let profile = Profile::of(&std::env::current_exe()?, &arguments, "*measured*")?;
    Ok((profile, (batches * size) as u64))
}

fn is_iommu(name: &str) -> bool {
    IOMMU.iter().any(|part| name.contains(part))
}

/// One decimal, rounded.
fn per(count: u64, packets: u64) -> String {
    let tenths = (count * 10 + packets / 2) / packets;
    format!("{}.{}", tenths / 10, tenths % 10)
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.as_slice() {
        [] => {
            let mut broken = Vec::new();
            println!("{:>6} {:>24} {:>8}", "batch", "instructions per packet", "budget");
            for size in SIZES {
                let (profile, packets) = profile(size)?;
                let count = profile.sum(|name| !is_iommu(name));
                let budget = BUDGETS.iter().find(|(batch, _)| *batch == size).map(|(_, budget)| *budget);
                let named = budget.map_or_else(String::new, |budget| budget.to_string());
                println!("{size:>6} {:>24} {named:>8}", per(count, packets));
                if budget.is_some_and(|budget| count > budget * packets) {
                    broken.push(size);
                }
            }
            if broken.is_empty() { Ok(()) } else { Err(format!("over budget at batch {broken:?}").into()) }
        }
        [word, size] if word == "functions" => {
            let (profile, packets) = profile(size.parse()?)?;
            for (name, count) in profile.functions() {
                let mark = if is_iommu(name) { "(not counted) " } else { "" };
                println!("{:>8} {mark}{name}", per(count, packets));
            }
            Ok(())
        }
        [size, batches] => forward(size.parse()?, batches.parse()?),
        _ => Err("usage: virtio-forward [SIZE BATCHES | functions SIZE]".into()),
    }
}
