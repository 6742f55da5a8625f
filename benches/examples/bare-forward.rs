//! Packets per second of the 82599 driver between two ports whose devices do nothing but write descriptors (see
//! `ringway_benches::bare`), both directions.
//!
//! ```text
//! bare-forward BATCH SECONDS RUNS DEVICE-CORE CORE [CORE]
//! ```
//!
//! The driver runs on one core for both directions, or on two, one each; both devices run on a core of their own. It prints
//! Mpps, one figure a run.

use ringway::machine::cpu;
use ringway_benches::bare::Bare;
use ringway_packet::{Batch, Pool, PoolOptions};
use ringway_port::{Opened, PortOptions, ReceiveQueue, TransmitQueue};
use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

type Lane = (Box<dyn ReceiveQueue>, Box<dyn TransmitQueue>, Batch);

#[inline(always)]
fn round((receive, transmit, batch): &mut Lane) {
    if receive.receive(batch).is_err() {
        return;
    }
    for mut frame in batch.frames() {
        if let [byte, ..] = frame.data_mut() {
            *byte = byte.wrapping_add(1);
        }
    }
    if transmit.transmit(batch).is_err() || !batch.is_empty() {
        batch.clear();
    }
}

fn work(mut lanes: Vec<Lane>, core: usize, stop: &AtomicBool) {
    // Without its core it is slower, and that shows.
    let _ = cpu::pin(core);
    while !stop.load(Ordering::Relaxed) {
        lanes.iter_mut().for_each(round);
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [size, seconds, runs, device, cores @ ..] = arguments.as_slice() else {
        return Err("usage: bare-forward BATCH SECONDS RUNS DEVICE-CORE CORE [CORE]".into());
    };
    let (size, seconds, runs): (usize, f64, usize) = (size.parse()?, seconds.parse()?, runs.parse()?);
    let device: usize = device.parse()?;
    let cores = cores.iter().map(|core| core.parse()).collect::<Result<Vec<usize>, _>>()?;
    if !(1..=2).contains(&cores.len()) {
        return Err("one core for both directions, or two".into());
    }
    let bare = Bare::new()?;
    let pool = Pool::new(&bare.space, PoolOptions { buffers: 4096, ..PoolOptions::default() })?;
    let options = PortOptions::default();
    let mut ports = Vec::new();
    let mut devices = Vec::new();
    for _ in 0..2 {
        let (opened, device) = bare.open(&pool, &options)?;
        ports.push(opened);
        devices.push(device);
    }
    let (mut controls, mut receives, mut transmits) = (Vec::new(), Vec::new(), Vec::new());
    for Opened { control, receive, transmit, .. } in ports {
        controls.push(control);
        receives.extend(receive);
        transmits.extend(transmit);
    }
    transmits.reverse();
    let mut lanes: Vec<Lane> = receives
        .into_iter()
        .zip(transmits)
        .map(|(receive, transmit)| (receive, transmit, Batch::new(&pool, size)))
        .collect();
    let stop = Arc::new(AtomicBool::new(false));
    let share = lanes.len() / cores.len();
    let mut threads = Vec::new();
    for core in cores {
        let mine: Vec<Lane> = lanes.drain(..share).collect();
        let stop = Arc::clone(&stop);
        threads.push(std::thread::spawn(move || work(mine, core, &stop)));
    }
    let running = bare.run(devices, move || {
        let _ = cpu::pin(device);
    })?;
    std::thread::sleep(Duration::from_millis(50));
    for _ in 0..runs {
        let (before, start) = (running.sent(), Instant::now());
        std::thread::sleep(Duration::from_secs_f64(seconds));
        let packets = running.sent().wrapping_sub(before);
        println!("{:.3}", packets as f64 / start.elapsed().as_secs_f64() / 1e6);
    }
    stop.store(true, Ordering::Relaxed);
    for thread in threads {
        let _ = thread.join();
    }
    drop(running);
    drop(controls);
    Ok(())
}
