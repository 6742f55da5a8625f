//! Who tells whom, and when (virtio 1.2, sections 2.7.7, 2.7.10, 4.1.5.2 to 4.1.5.4).
#![allow(clippy::unwrap_used, reason = "a test: what fails, fails it")]

mod driver;

use driver::{Driver, Queue, device, frame};
use ringway_model::virtio::{Features, Handle, Options};
use ringway_pci::Width;

const CONFIGURATION: usize = 0;
const RECEIVE: usize = 1;
const TRANSMIT: usize = 2;

/// A driver with a vector for changes and one for each queue.
fn start(features: u64, size: u16, options: Options) -> (Driver, Handle) {
    let (space, function, handle) = device(options);
    let mut driver = Driver::find(function);
    driver.function.set_bus_master(true).unwrap();
    driver.connect(3);
    assert!(driver.negotiate(features | Features::VERSION_1 | Features::ACCESS_PLATFORM));
    driver.common.write16(16, CONFIGURATION as u16);
    assert_eq!(driver.common.read16(16), CONFIGURATION as u16);
    driver.enable(&space, 0, size, Some(RECEIVE as u16));
    driver.enable(&space, 1, size, Some(TRANSMIT as u16));
    driver.set_status(4);
    driver.queue(0).fill();
    (driver, handle)
}

fn send(queue: &mut Queue, slot: u16) -> bool {
    queue.offer_packet(slot % queue.size, &frame(slot.into(), 60));
    queue.kick()
}

#[test]
fn the_device_looks_at_a_queue_when_it_is_told_to() {
    for features in [0, Features::EVENT_IDX] {
        let (mut driver, mut handle) = start(features, 8, Options::default());
        driver.queue(1).offer_packet(0, &frame(1, 60));
        driver.queue(1).publish();
        assert_eq!(handle.step(), 0, "published, not notified");
        driver.queue(1).ring();
        assert_eq!(handle.step(), 1);
        driver.queue(1).ring();
        assert_eq!(handle.step(), 0, "a spurious notification does no harm");
        assert_eq!(handle.violations(), []);
    }
}

#[test]
fn with_event_index_one_notification_serves_a_burst_and_none_is_missing() {
    let (mut driver, mut handle) = start(Features::EVENT_IDX, 64, Options::default());
    let mut kicks = 0;
    for lap in 0..3000u16 {
        // The first of a burst wakes the device; the others find it awake.
        for burst in 0..1 + lap % 7 {
            let asked = send(driver.queue(1), lap.wrapping_mul(7).wrapping_add(burst));
            assert_eq!(asked, burst == 0, "lap {lap}, packet {burst}");
            kicks += u32::from(asked);
        }
        let mut moved = 0;
        while let now @ 1.. = handle.step() {
            moved += now;
        }
        assert_eq!(moved, usize::from(1 + lap % 7));
        while driver.queue(1).next_used().is_some() {}
        while handle.take_sent().is_some() {}
    }
    assert_eq!(kicks, 3000);
    assert_eq!(handle.violations(), []);
}

#[test]
fn a_polling_device_asks_for_no_notification() {
    for features in [0, Features::EVENT_IDX] {
        let (mut driver, mut handle) = start(features, 8, Options { polls: true, ..Options::default() });
        handle.step();
        for lap in 0..1000 {
            assert!(!send(driver.queue(1), lap), "lap {lap}");
            assert_eq!(handle.step(), 1);
            handle.step();
            assert!(driver.queue(1).next_used().is_some());
        }
        let received = frame(7, 60);
        assert!(handle.inject(&received));
    }
}

#[test]
fn the_flag_suppresses_interrupts_and_nothing_else_does() {
    let (mut driver, mut handle) = start(0, 8, Options::default());
    for lap in 0..100u16 {
        let quiet = lap % 3 == 0;
        driver.queue(1).want_no_interrupts(quiet);
        driver.queue(1).want_interrupt_at(5); // no meaning without EVENT_IDX
        send(driver.queue(1), lap);
        handle.step();
        assert_eq!(driver.interrupts(TRANSMIT), u64::from(!quiet));
        assert_eq!(driver.interrupts(RECEIVE), 0);
        driver.queue(1).next_used().unwrap();
    }
    assert!(handle.inject(&frame(1, 60)));
    assert_eq!(driver.interrupts(RECEIVE), 1);
    let statistics = handle.statistics();
    assert_eq!((statistics.interrupts, statistics.suppressed), (67, 34));
}

#[test]
fn with_event_index_an_interrupt_comes_exactly_when_the_index_is_passed() {
    let (mut driver, mut handle) = start(Features::EVENT_IDX, 16, Options::default());
    let (mut slot, mut state) = (0u16, 1u32);
    for lap in 0..20_000u32 {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let old = driver.queue(1).used_index();
        let event = old.wrapping_add((state >> 24) as u16 % 20).wrapping_sub(2);
        let count = 1 + (state >> 16) as u16 % 15;
        driver.queue(1).want_interrupt_at(event);
        driver.queue(1).want_no_interrupts(lap % 2 == 0); // to be ignored
        for _ in 0..count {
            driver.queue(1).offer_packet(slot % 16, &frame(0, 60));
            slot = slot.wrapping_add(1);
        }
        driver.queue(1).kick();
        assert_eq!(handle.step(), usize::from(count));
        // An entry was written at the index that the driver named.
        let passed = (0..count).any(|written| old.wrapping_add(written) == event);
        assert_eq!(driver.interrupts(TRANSMIT), u64::from(passed), "lap {lap}");
        while driver.queue(1).next_used().is_some() {}
        while handle.take_sent().is_some() {}
    }
}

#[test]
fn without_a_vector_no_interrupt_comes() {
    let (space, function, mut handle) = device(Options::default());
    let mut driver = Driver::start(&space, function, 0, 8);
    driver.connect(3);
    send(driver.queue(1), 0);
    handle.step();
    handle.set_link(false);
    assert_eq!((0..3).map(|vector| driver.interrupts(vector)).sum::<u64>(), 0);
}

#[test]
fn without_msi_x_the_isr_says_what_happened_and_forgets_when_read() {
    let (space, function, mut handle) = device(Options::default());
    let mut driver = Driver::start(&space, function, 0, 8);
    let pin = |driver: &Driver| driver.function.config_read(6, Width::Word).unwrap() & 8 != 0;
    assert_eq!((driver.isr.read8(0), pin(&driver)), (0, false));
    send(driver.queue(1), 0);
    handle.step();
    assert!(pin(&driver));
    assert_eq!((driver.isr.read8(0), driver.isr.read8(0)), (1, 0));
    assert!(!pin(&driver));
    handle.set_link(false);
    send(driver.queue(1), 1);
    handle.step();
    assert_eq!(driver.isr.read8(0), 3);
}

#[test]
fn a_masked_function_keeps_its_messages_until_it_is_unmasked() {
    let (mut driver, mut handle) = start(0, 8, Options::default());
    let msix = driver.function.capabilities().unwrap().into_iter().find(|entry| entry.id == 0x11).unwrap();
    let control = msix.offset + 2;
    let enabled = driver.function.config_read(control, Width::Word).unwrap();
    assert_ne!(enabled & 0x8000, 0);
    driver.function.config_write(control, Width::Word, enabled | 0x4000).unwrap();
    for slot in 0..3 {
        send(driver.queue(1), slot);
        handle.step();
    }
    assert_eq!(driver.interrupts(TRANSMIT), 0);
    let pending = driver.function.bar(0, 0x1000, 8).unwrap();
    assert_eq!(pending.read32(0), 1 << TRANSMIT);
    driver.function.config_write(control, Width::Word, enabled).unwrap();
    assert_eq!((driver.interrupts(TRANSMIT), pending.read32(0)), (1, 0));
}

#[test]
fn changes_and_errors_are_told_through_the_configuration_vector() {
    let (driver, mut handle) = start(Features::STATUS, 8, Options::default());
    handle.set_link(true);
    assert_eq!(driver.interrupts(CONFIGURATION), 0, "nothing changed");
    handle.set_link(false);
    assert_eq!(driver.interrupts(CONFIGURATION), 1);
    handle.faults().need_reset();
    assert_eq!(driver.interrupts(CONFIGURATION), 1);
    assert_eq!(driver.status() & 64, 64);
    driver.common.write8(20, 0);
    handle.set_link(true);
    assert_eq!(driver.interrupts(CONFIGURATION), 0, "no driver, no notification");
}

#[test]
fn without_bus_mastering_no_message_is_sent() {
    let (driver, mut handle) = start(Features::STATUS, 8, Options::default());
    driver.function.set_bus_master(false).unwrap();
    handle.set_link(false);
    assert_eq!(driver.interrupts(CONFIGURATION), 0);
}
