//! Every end: the device is reset before its memory goes, and every buffer comes back.
#![allow(clippy::unwrap_used, reason = "helpers of tests: what can't go on has failed")]

mod common;

use common::{Rig, batch_of, frame, number, rings};
use ringway_dma::AddressSpace;
use ringway_model::virtio::Options;
use ringway_packet::Batch;
use ringway_pci::{Backend, Doorbell, Error as PciError, Function, Identity, Registers, Width};
use ringway_port::{Opened, PortOptions};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

/// A port with work under way in both directions.
fn busy(rig: &mut Rig) -> Opened {
    let mut port = rig.open(&rings(64, 64));
    for number in 0..40 {
        assert!(rig.device.inject(&frame(number, 60)));
    }
    let mut batch = Batch::new(&rig.pool, 16);
    assert_eq!(port.receive[0].receive(&mut batch).unwrap(), 16);
    assert_eq!(port.transmit[0].transmit(&mut batch).unwrap(), 16);
    rig.run();
    let mut more = batch_of(&rig.pool, (0..30).map(|number| frame(number, 60)));
    assert_eq!(port.transmit[0].transmit(&mut more).unwrap(), 30);
    port
}

#[test]
fn dropping_a_port_resets_the_device_and_gives_every_buffer_back() {
    let mut rig = Rig::new(Options::default(), 512);
    let port = busy(&mut rig);
    assert!(rig.pool.available() < 512);
    drop(port);
    rig.is_clean();
    assert!(!rig.device.inject(&frame(0, 60)), "nothing goes to memory any more");
    assert_eq!(rig.device.step(), 0);
}

#[test]
fn handles_may_be_dropped_in_any_order() {
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        let mut rig = Rig::new(Options::default(), 512);
        let Opened { control, receive, transmit } = busy(&mut rig);
        let mut parts: [Option<Box<dyn std::any::Any>>; 3] =
            [Some(Box::new(control)), Some(Box::new(receive)), Some(Box::new(transmit))];
        for (dropped, part) in order.into_iter().enumerate() {
            assert_ne!(rig.device.monitor().status(), 0, "{dropped} of {order:?}");
            assert!(rig.pool.available() < 512 - 64);
            parts[part] = None;
        }
        rig.is_clean();
    }
}

#[test]
fn a_device_restarts_a_hundred_times() {
    let mut rig = Rig::new(Options::default(), 512);
    for round in 0..100 {
        let mut port = busy(&mut rig);
        port.control.set_promiscuous(round % 2 == 0).unwrap();
        drop(port);
        rig.is_clean();
        while rig.device.take_sent().is_some() {}
        let mut port = rig.open(&rings(32, 32));
        assert!(!port.control.is_promiscuous() && !rig.device.monitor().is_promiscuous());
        assert!(rig.device.inject(&frame(round, 60)));
        let mut batch = Batch::new(&rig.pool, 4);
        assert_eq!(port.receive[0].receive(&mut batch).unwrap(), 1);
        assert_eq!(number(batch.frame(0).unwrap().data()), round);
    }
    rig.is_clean();
}

#[test]
fn a_panic_in_a_worker_stops_the_device_all_the_same() {
    let mut rig = Rig::new(Options::default(), 512);
    let port = busy(&mut rig);
    let pool = rig.pool.clone();
    let worker = std::thread::spawn(move || {
        let mut port = port;
        let mut batch = Batch::new(&pool, 8);
        port.receive[0].receive(&mut batch).unwrap();
        std::panic::resume_unwind(Box::new(()));
    });
    assert!(worker.join().is_err());
    rig.is_clean();
    drop(rig.open(&rings(64, 64)));
    rig.is_clean();
}

#[test]
fn a_port_outlives_the_pool_handle_and_the_devices_other_half() {
    let mut rig = Rig::new(Options::default(), 512);
    let port = busy(&mut rig);
    drop(rig);
    drop(port);
}

#[test]
fn a_queue_that_is_forgotten_keeps_device_and_memory() {
    let mut rig = Rig::new(Options::default(), 512);
    let Opened { control, mut receive, transmit } = busy(&mut rig);
    std::mem::forget(receive.remove(0));
    drop((control, receive, transmit));
    assert_ne!(rig.device.monitor().status(), 0);
    assert!(rig.device.inject(&frame(0, 60)), "its buffers are still lent");
    assert_eq!(rig.device.violations(), []);
}

/// What was done to a function, and a number of accesses after which it is gone.
#[derive(Debug)]
struct Watched {
    backend: Box<dyn Backend>,
    seen: Arc<Seen>,
}

#[derive(Debug)]
struct Seen {
    events: Mutex<Vec<&'static str>>,
    left: AtomicI64,
}

impl Seen {
    fn new(accesses: i64) -> Arc<Self> {
        Arc::new(Self { events: Mutex::default(), left: AtomicI64::new(accesses) })
    }

    fn note(&self, event: &'static str) {
        self.events.lock().unwrap().push(event);
    }

    fn is_gone(&self) -> bool {
        self.left.fetch_sub(1, Ordering::Relaxed) <= 0
    }
}

impl Backend for Watched {
    fn identity(&self) -> &Identity {
        self.backend.identity()
    }
    fn address_space(&self) -> &AddressSpace {
        self.backend.address_space()
    }
    fn is_emulated(&self) -> bool {
        true
    }
    fn config_read(&self, offset: u16, width: Width) -> Result<u32, PciError> {
        if self.seen.is_gone() {
            return Ok(u32::MAX >> (32 - 8 * u32::from(width.bytes())));
        }
        self.backend.config_read(offset, width)
    }
    fn config_write(&self, offset: u16, width: Width, value: u32) -> Result<(), PciError> {
        if self.seen.is_gone() {
            return Ok(());
        }
        if offset == 4 {
            self.seen.note(if value & 4 == 0 { "bus master off" } else { "bus master on" });
        }
        self.backend.config_write(offset, width, value)
    }
    fn bar(&self, index: u8) -> Result<Arc<dyn Registers>, PciError> {
        Ok(Arc::new(WatchedBar { bar: self.backend.bar(index)?, seen: Arc::clone(&self.seen) }))
    }
    fn msix_vectors(&self) -> u16 {
        self.backend.msix_vectors()
    }
    fn set_msix(&self, vectors: &[Arc<OwnedFd>]) -> Result<(), PciError> {
        self.backend.set_msix(vectors)
    }
    fn reset(&self) -> Result<bool, PciError> {
        self.seen.note("function reset");
        self.backend.reset()
    }
}

#[derive(Debug)]
struct WatchedBar {
    bar: Arc<dyn Registers>,
    seen: Arc<Seen>,
}

impl Registers for WatchedBar {
    fn length(&self) -> u64 {
        self.bar.length()
    }
    fn read8(&self, offset: u64) -> u8 {
        if self.seen.is_gone() { u8::MAX } else { self.bar.read8(offset) }
    }
    fn read16(&self, offset: u64) -> u16 {
        if self.seen.is_gone() { u16::MAX } else { self.bar.read16(offset) }
    }
    fn read32(&self, offset: u64) -> u32 {
        if self.seen.is_gone() { u32::MAX } else { self.bar.read32(offset) }
    }
    fn write8(&self, offset: u64, value: u8) {
        if self.seen.is_gone() {
            return;
        }
        if offset == 20 {
            self.seen.note(match value {
                0 => "status 0",
                status if status & 128 != 0 => "status FAILED",
                status if status & 4 != 0 => "status DRIVER_OK",
                _ => "status",
            });
        }
        self.bar.write8(offset, value);
    }
    fn write16(&self, offset: u64, value: u16) {
        if self.seen.is_gone() {
            return;
        }
        if offset == 28 {
            self.seen.note("queue enabled");
        }
        self.bar.write16(offset, value);
    }
    fn write32(&self, offset: u64, value: u32) {
        if !self.seen.is_gone() {
            self.bar.write32(offset, value);
        }
    }
    fn doorbell(&self, offset: u64, width: Width) -> Option<Doorbell> {
        self.bar.doorbell(offset, width)
    }
}

fn watched(rig: &Rig, seen: &Arc<Seen>, ports: &PortOptions) -> Result<Opened, String> {
    let backend = Watched { backend: rig.backend(), seen: Arc::clone(seen) };
    let function = Function::new(Box::new(backend)).unwrap();
    ringway_virtio::open(function, &rig.pool, ports).map_err(|error| error.to_string())
}

#[test]
fn the_device_is_started_and_stopped_in_the_specifications_order() {
    let rig = Rig::new(Options::default(), 512);
    let seen = Seen::new(i64::MAX);
    drop(watched(&rig, &seen, &rings(64, 64)).unwrap());
    assert_eq!(
        *seen.events.lock().unwrap(),
        [
            "bus master off",
            "status 0",
            "status",
            "status",
            "status",
            "queue enabled",
            "queue enabled",
            "queue enabled",
            "bus master on",
            "status DRIVER_OK",
            "status 0",
            "bus master off",
            "function reset"
        ]
    );
    rig.is_clean();
}

#[test]
fn a_start_that_fails_tells_the_device_so_and_resets_it() {
    let rig = Rig::new(Options::default(), 64);
    let seen = Seen::new(i64::MAX);
    watched(&rig, &seen, &rings(128, 64)).unwrap_err();
    let events = seen.events.lock().unwrap();
    assert!(
        events.ends_with(&["status FAILED", "status 0", "bus master off", "function reset"]),
        "{events:?}"
    );
    rig.is_clean();
}

#[test]
fn a_device_that_vanishes_at_any_step_of_the_start_is_reported_and_nothing_is_used_again_too_early() {
    let ports = PortOptions { interrupts: true, ..rings(8, 8) };
    let mut accesses = 1;
    loop {
        let mut rig = Rig::new(Options { name: "0000:03:00.0".to_owned(), ..Options::default() }, 64);
        let seen = Seen::new(accesses);
        // Taking the function over is not the driver's part.
        match watched(&rig, &seen, &ports) {
            Ok(port) => {
                assert!(accesses > 60, "{accesses}");
                seen.left.store(0, Ordering::Relaxed);
                drop(port);
                assert_eq!(rig.pool.available() + rig.pool.lost(), 64);
                break;
            }
            Err(error) => assert!(error.contains("0000:03:00.0"), "{accesses}: {error}"),
        }
        assert_eq!(rig.pool.available() + rig.pool.lost(), 64, "after {accesses}");
        if rig.pool.lost() > 0 {
            assert_eq!(rig.pool.lost(), 8);
        }
        // It is there again.
        rig.open(&ports).control.check().unwrap();
        assert_eq!(rig.pool.available() + rig.pool.lost(), 64);
        accesses += 1;
    }
}
