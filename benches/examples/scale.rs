//! What grows with what: memory, mappings, start-up time, and the cost of a packet as there are more flows. Prints JSON.
//!
//! ```text
//! scale pools                 start-up time, memory and mappings of pools of several sizes
//! scale queues                memory and mappings of a port's queues
//! scale flows NUMBER PASSES   what `ringway flows` does to each packet, with so many flows in a random order
//! ```
//!
//! Under callgrind, what `scale flows` takes for a packet is inside `observe`.

use ringway::tasks::flows::{FlowTable, Observer};
use ringway_dma::{AddressSpace, PageSize, Placement};
use ringway_model::ixgbe::{Ixgbe, Options};
use ringway_packet::{Pool, PoolOptions};
use ringway_pci::Function;
use ringway_port::PortOptions;
use ringway_traffic::generator::{Generator, Plan};
use serde_json::{Value, json};
use std::error::Error;
use std::time::Instant;

const FRAME: usize = 60;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match arguments.as_slice() {
        ["pools"] => pools()?,
        ["queues"] => queues()?,
        ["flows", flows, passes] => flows_of(flows.parse()?, passes.parse()?)?,
        _ => return Err("usage: scale pools | queues | flows NUMBER PASSES".into()),
    };
    println!("{result}");
    Ok(())
}

/// A line of /proc/self/status, in bytes.
fn status(name: &str) -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or_default() * 1024
}

fn pools() -> Result<Value, Box<dyn Error>> {
    let mut rows = Vec::new();
    for buffers in [1u32 << 10, 1 << 12, 1 << 14, 1 << 16, 1 << 18] {
        for (name, largest_page) in [("4 KiB", PageSize::Ordinary), ("2 MiB", PageSize::Huge2M)] {
            let space = AddressSpace::emulated();
            let options = PoolOptions {
                buffers,
                placement: Placement { largest_page, ..Placement::default() },
                ..PoolOptions::default()
            };
            let before = status("RssAnon");
            let start = Instant::now();
            let pool = Pool::new(&space, options)?;
            let time = start.elapsed();
            // Asked for huge pages and without any, it takes ordinary ones: then there is nothing new to tell.
            if pool.pages() != largest_page {
                continue;
            }
            let usage = space.usage();
            rows.push(json!({
                "buffers": buffers,
                "page": name,
                "microseconds": time.as_micros() as u64,
                "bytes": usage.bytes,
                "private": status("RssAnon").saturating_sub(before),
                "mappings": usage.mappings,
                "entries": usage.bytes.div_ceil(largest_page.bytes() as u64),
            }));
        }
    }
    Ok(json!(rows))
}

fn queues() -> Result<Value, Box<dyn Error>> {
    let mut rows = Vec::new();
    for queues in [1u16, 2, 4, 8] {
        for ring in [512u32, 4096] {
            let space = AddressSpace::emulated();
            let pool = Pool::new(&space, PoolOptions { buffers: 1 << 16, ..PoolOptions::default() })?;
            let usage = space.usage();
            let (backend, _device) = Ixgbe::create(&space, Options::default());
            let options = PortOptions {
                receive_queues: queues,
                transmit_queues: queues,
                receive_ring: ring,
                transmit_ring: ring,
                ..PortOptions::default()
            };
            let opened = ringway_ixgbe::open(Function::new(backend)?, &pool, &options)?;
            let after = space.usage();
            rows.push(json!({
                "queues": queues,
                "ring": ring,
                "bytes": after.bytes.saturating_sub(usage.bytes),
                "mappings": after.mappings.saturating_sub(usage.mappings),
                "buffers": u32::from(queues) * ring,
            }));
            drop(opened);
        }
    }
    Ok(json!(rows))
}

/// What is counted.
#[inline(never)]
fn observe(observer: &mut Observer, frames: &[[u8; FRAME]], time: u64) {
    for frame in frames {
        observer.look(frame, FRAME, time);
    }
}

fn flows_of(flows: u32, passes: u64) -> Result<Value, Box<dyn Error>> {
    let mut generator = Generator::new(&Plan { flows, ..Plan::default() })?;
    let mut frames = vec![[0; FRAME]; flows as usize];
    for frame in &mut frames {
        generator.next(frame, 0).ok_or("the packet doesn't fit")?;
    }
    // An order without a pattern, the same in each pass.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for index in (1..frames.len()).rev() {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        frames.swap(index, (state % (index as u64 + 1)) as usize);
    }
    let mut observer = Observer::new(FlowTable::new(1 << 20, false)?);
    // Flows are new only once.
    frames.iter().for_each(|frame| observer.look(frame, FRAME, 0));
    let start = Instant::now();
    for time in 0..passes {
        observe(&mut observer, &frames, time);
    }
    let seconds = start.elapsed().as_secs_f64();
    if observer.table.flows().len() != flows as usize {
        return Err(format!("{} flows of {flows}", observer.table.flows().len()).into());
    }
    let packets = passes * u64::from(flows);
    Ok(json!({ "flows": flows, "packets": packets, "nanoseconds": seconds * 1e9 / packets as f64 }))
}
