//! Interrupts through event counters.

use crate::driver::*;
use crate::frames::numbered;
use ringway_pci::event_counter;
use rustix::fd::OwnedFd;
use std::sync::Arc;

fn rings(counter: &OwnedFd) -> u64 {
    let mut value = [0; 8];
    match rustix::io::read(counter, &mut value) {
        Ok(8) => u64::from_ne_bytes(value),
        _ => 0,
    }
}

/// Queue n on vector n, everything else on vector 2.
fn start() -> (Port, Vec<Arc<OwnedFd>>) {
    let port = Port::start(Setup { queues: 2, ..Setup::default() });
    let counters: Vec<_> = (0..3).map(|_| event_counter().unwrap()).collect();
    port.function.set_msix(&counters).unwrap();
    port.write(0x898, 1 << 4 | 1 << 30 | 1 << 31);
    port.write(0x900, 0x8181_8080);
    port.write(0xa00, 0x8200);
    port.write(0x810, 3);
    port.write(0x890, 3);
    (port, counters)
}

#[test]
fn each_queue_rings_its_own_vector_and_masks_itself() {
    let (mut port, counters) = start();
    port.write(EIMS, 1 << 20 | 3);
    port.device.inject(&numbered(0));
    assert_eq!([rings(&counters[0]), rings(&counters[1]), rings(&counters[2])], [1, 0, 0]);
    port.device.inject(&numbered(1));
    assert_eq!(rings(&counters[0]), 0, "masked by the first message");
    port.write(EIMS, 1);
    port.settle();
    assert_eq!(rings(&counters[0]), 1, "pending when unmasked");
    port.send(1, &numbered(2));
    port.settle();
    assert_eq!([rings(&counters[0]), rings(&counters[1])], [0, 1]);
    port.device.set_link(false);
    port.settle();
    assert_eq!(rings(&counters[2]), 1);
    assert_eq!(port.read(EICS), 1 << 20, "the queues' causes have cleared themselves");
    port.write(EICR, 1 << 20);
    assert_eq!(port.read(EICS), 0);
}

#[test]
fn software_can_ring_a_vector() {
    let (mut port, counters) = start();
    port.write(EIMS, 3);
    port.write(EICS, 2);
    port.settle();
    assert_eq!([rings(&counters[0]), rings(&counters[1])], [0, 1]);
}

#[test]
fn no_message_passes_without_bus_mastering_or_connection() {
    let (mut port, counters) = start();
    port.write(EIMS, 3);
    port.function.set_bus_master(false).unwrap();
    port.write(EICS, 1);
    port.settle();
    assert_eq!(rings(&counters[0]), 0);
    port.function.set_msix(&[]).unwrap();
    port.function.set_bus_master(true).unwrap();
    port.settle();
    assert_eq!(rings(&counters[0]), 0);
    let many: Vec<_> = (0..65).map(|_| counters[0].clone()).collect();
    assert!(port.function.set_msix(&many).is_err());
}
