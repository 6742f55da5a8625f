//! A vector a receive queue.

use crate::support::{Event, Setup, frame, open};
use ringway_port::{PortOptions, ReceiveQueue};
use rustix::event::{PollFd, PollFlags, poll};
use std::os::fd::OwnedFd;

fn setup(queues: u16) -> Setup {
    Setup {
        port: PortOptions {
            receive_queues: queues,
            transmit_queues: queues,
            receive_ring: 64,
            interrupts: true,
            ..PortOptions::default()
        },
        ..Setup::default()
    }
}

/// Whether the counter is readable now; reading it makes it zero.
fn fired(queue: &dyn ReceiveQueue) -> bool {
    readable(queue.interrupt().unwrap())
}

#[test]
fn a_packet_interrupts_once_it_is_asked_for() {
    let mut port = open(setup(1));
    assert!(port.device.inject(&frame(0, 60)));
    port.device.step();
    assert!(!fired(port.receive[0].as_ref()), "not asked for yet");
    assert!(!port.receive[0].enable_interrupt(), "a packet is there already");
    assert!(port.take().is_some());
    assert!(port.receive[0].enable_interrupt());
    port.device.step();
    fired(port.receive[0].as_ref()); // may still speak of the packet that is taken
    assert!(port.receive[0].enable_interrupt());
    port.device.step();
    assert!(!fired(port.receive[0].as_ref()), "nothing came since");
    assert!(port.device.inject(&frame(1, 60)));
    port.device.step();
    assert!(fired(port.receive[0].as_ref()));
    port.receive[0].disable_interrupt();
    assert!(port.take().is_some());
    assert!(port.device.inject(&frame(2, 60)));
    port.device.step();
    assert!(!fired(port.receive[0].as_ref()), "no longer asked for");
    port.close();
}

#[test]
fn a_packet_that_was_polled_does_not_interrupt_afterwards() {
    let mut port = open(setup(1));
    for number in 0..10 {
        assert!(port.device.inject(&frame(number, 60)));
        assert!(port.take().is_some());
    }
    assert!(port.receive[0].enable_interrupt());
    port.device.step();
    assert!(!fired(port.receive[0].as_ref()));
    port.close();
}

#[test]
fn each_of_sixteen_queues_has_its_own_vector() {
    let mut port = open(setup(16));
    assert!(port.watch.record().events.contains(&Event::Msix(17)), "all in one call, and the link's");
    for queue in 0..16 {
        assert!(port.receive[queue].enable_interrupt());
    }
    // Raised by the register that software sets causes with (section 8.2.3.5.2).
    for queue in 0..16 {
        port.watch.write(0x808, 1 << queue);
        port.device.step();
        let who: Vec<usize> = (0..16).filter(|&other| fired(port.receive[other].as_ref())).collect();
        assert_eq!(who, [queue]);
    }
    port.close();
}

#[test]
fn a_flow_interrupts_the_queue_that_it_goes_to() {
    let mut port = open(setup(8));
    for queue in &mut port.receive {
        assert!(queue.enable_interrupt());
    }
    port.device.attach(Box::new(crate::support::marked(1, 1).0));
    while port.device.step() > 0 {}
    let mut batch = port.batch(8);
    let mut hit = 0;
    for queue in &mut port.receive {
        let interrupted = fired(queue.as_ref());
        let received = queue.receive(&mut batch).unwrap();
        assert_eq!(interrupted, received == 1);
        hit += received;
    }
    assert_eq!(hit, 1);
    drop(batch);
    port.close();
}

#[test]
fn a_port_without_interrupts_connects_none() {
    let port = open(Setup::default());
    assert!(port.receive[0].interrupt().is_none());
    assert!(!port.watch.record().events.iter().any(|event| matches!(event, Event::Msix(1..))));
    port.close();
}

#[test]
fn queues_go_on_with_their_interrupts_when_the_control_handle_is_gone() {
    let mut port = open(setup(1));
    assert!(port.receive[0].enable_interrupt());
    drop(port.control);
    assert!(port.device.inject(&frame(0, 60)));
    port.device.step();
    assert!(fired(port.receive[0].as_ref()));
    drop((port.receive, port.transmit));
    assert_eq!(port.pool.available(), port.pool.buffers());
}

/// Whether a counter is readable now; reading it makes it zero.
fn readable(counter: &OwnedFd) -> bool {
    let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
    let ready = poll(&mut [PollFd::new(counter, PollFlags::IN)], Some(&now)).unwrap() > 0;
    if ready {
        rustix::io::read(counter, &mut [0; 8]).unwrap();
    }
    ready
}

#[test]
fn queues_beyond_the_sixteenth_interrupt_on_vectors_of_their_own() {
    let mut setup = setup(63);
    setup.port.transmit_queues = 1;
    setup.pool.buffers = 63 * 128 + 1024;
    let mut port = open(setup);
    for chosen in [0, 15, 16, 31, 32, 62] {
        port.receive[chosen].disable_interrupt();
    }
    for chosen in [0usize, 15, 16, 31, 32, 62] {
        assert!(port.receive[chosen].enable_interrupt());
        // A cause of that vector (EICS_EX, section 8.2.3.5.7).
        port.watch.write(0xa90 + 4 * (chosen as u64 / 32), 1 << (chosen % 32));
        port.device.step();
        let who: Vec<usize> = (0..63).filter(|&other| fired(port.receive[other].as_ref())).collect();
        assert_eq!(who, [chosen]);
        port.receive[chosen].disable_interrupt();
        port.watch.write(0xa90 + 4 * (chosen as u64 / 32), 1 << (chosen % 32));
        port.device.step();
        assert!(!fired(port.receive[chosen].as_ref()), "queue {chosen} asked for no more");
    }
    port.close();
    let said = crate::support::refusal(self::setup(64)).to_string();
    assert!(said.contains("63") && said.contains("64") && said.contains("without interrupts"), "{said}");
}

#[test]
fn a_link_that_goes_or_comes_interrupts_each_time_once_it_was_looked_at() {
    for queues in [1, 4, 17] {
        let mut port = open(setup(queues));
        let counter = port.control.link_interrupt().unwrap().clone();
        port.control.link().unwrap();
        port.device.step();
        readable(&counter); // the link came up before
        for up in [false, true, false] {
            port.device.set_link(up);
            port.device.step();
            assert!(readable(&counter), "up {up}");
            assert_eq!(port.control.link().unwrap().is_up(), up);
            port.device.step();
            assert!(!readable(&counter), "nothing changed since");
        }
        assert!(!(0..usize::from(queues)).any(|queue| fired(port.receive[queue].as_ref())));
        port.close();
    }
    assert!(open(Setup::default()).control.link_interrupt().is_none());
}

#[test]
fn interrupts_are_held_back_for_as_long_as_was_asked() {
    use std::time::Duration;
    let mut port = open(setup(26));
    // EITR of each vector (section 8.2.3.5.12): units of two microseconds from bit 3 on.
    for (queue, register) in [(0u16, 0x820), (23, 0x820 + 23 * 4), (24, 0x12300), (25, 0x12304)] {
        for (microseconds, units) in [(0u64, 0u32), (2, 1), (100, 50), (1022, 511)] {
            port.control.set_moderation(queue, Duration::from_micros(microseconds)).unwrap();
            assert_eq!(port.watch.read(register), units << 3);
        }
    }
    let said = port.control.set_moderation(0, Duration::from_micros(1023)).unwrap_err().to_string();
    assert!(said.contains("1022") && said.contains("1023"), "{said}");
    let said = port.control.set_moderation(26, Duration::ZERO).unwrap_err().to_string();
    assert!(said.contains("queue 26") && said.contains("0 to 25"), "{said}");
    port.close();
    let mut plain = open(Setup::default());
    let said = plain.control.set_moderation(0, Duration::ZERO).unwrap_err().to_string();
    assert!(said.contains("without interrupts"), "{said}");
    plain.close();
}
