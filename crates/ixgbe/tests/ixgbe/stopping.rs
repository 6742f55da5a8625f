//! The end: the device stops before its memory goes (rule 2), whoever is dropped last.

use crate::support::{Answer, Event, Setup, device, frame, open};

/// The events from the last bus mastering on.
fn ending(events: &[Event]) -> Vec<Event> {
    let start = events.iter().rposition(|event| *event == Event::BusMaster(true)).unwrap();
    events[start + 1..].to_vec()
}

#[test]
fn the_device_stops_by_its_own_registers_before_the_function_is_taken_down() {
    let port = open(Setup::default());
    let watch = port.watch.clone();
    watch.record().events.clear();
    watch.record().events.push(Event::BusMaster(true));
    port.close();
    let events = ending(&watch.record().events);
    let place = |what: &str, wanted: &dyn Fn(&Event) -> bool| {
        events.iter().position(wanted).unwrap_or_else(|| panic!("{what}: {events:?}"))
    };
    let write = |wanted: u64, test: fn(u32) -> bool| move |event: &Event| matches!(event, Event::Write { register, value } if *register == wanted && test(*value));
    let order = [
        place("interrupts are masked", &write(0x888, |value| value & 0x7fff_ffff == 0x7fff_ffff)),
        place("receiving stops", &write(0x3000, |value| value & 1 == 0)),
        place("master disable", &write(0, |value| value & 1 << 2 != 0)),
        place("the device is reset", &write(0, |value| value & 1 << 26 != 0)),
        place("bus mastering goes off", &|event| *event == Event::BusMaster(false)),
        place("the function is reset", &|event| *event == Event::Reset),
    ];
    assert!(order.is_sorted(), "{order:?} in {events:?}");
}

#[test]
fn the_last_handle_stops_the_device_whichever_it_is() {
    for last in 0..3 {
        let port = open(Setup::default());
        let watch = port.watch.clone();
        let crate::support::Port { control, receive, transmit, mut device, pool, .. } = port;
        assert!(device.inject(&frame(0, 60)));
        let is_reset = |watch: &crate::support::Watch| watch.record().events.contains(&Event::Reset);
        let mut handles: [Option<Box<dyn std::any::Any>>; 3] =
            [Some(Box::new(control)), Some(Box::new(receive)), Some(Box::new(transmit))];
        for other in (0..3).filter(|other| *other != last) {
            handles[other] = None;
            assert!(!is_reset(&watch));
        }
        handles[last] = None;
        assert!(is_reset(&watch));
        assert_eq!((pool.available(), pool.lost()), (pool.buffers(), 0));
        assert!(!device.inject(&frame(0, 60)), "it receives no more");
        assert_eq!(device.faults(), 0);
    }
}

#[test]
fn a_queue_that_is_dropped_leaves_its_buffers_with_the_running_device() {
    let port = open(Setup::default());
    let crate::support::Port { control, receive, transmit, mut device, pool, .. } = port;
    drop(receive);
    assert!(pool.available() <= pool.buffers() - 512, "the device may still write into them");
    assert!(device.inject(&frame(0, 60)));
    assert_eq!(device.faults(), 0);
    drop((control, transmit));
    assert_eq!(pool.available(), pool.buffers());
}

#[test]
fn a_port_that_is_lost_gives_everything_back() {
    let mut port = open(Setup::default());
    for number in 0..10 {
        assert!(port.device.inject(&frame(number, 60)));
    }
    port.watch.record().answer = Answer::Ones;
    for result in [
        port.control.check().err(),
        port.control.link().err(),
        port.control.set_promiscuous(true).err(),
        port.control.set_all_multicast(true).err(),
        port.control.set_identify(true).err(),
        port.control.add_address(ringway_port::MacAddress([2, 0, 0, 0, 0, 7])).err(),
    ] {
        let message = result.unwrap().to_string();
        assert!(message.starts_with("emulated:0") && message.contains("gone"), "{message}");
    }
    // Counters that read all ones count nothing.
    assert!(port.control.statistics().unwrap().device.iter().all(|(_, count)| *count < 100));
    port.close();
}

#[test]
fn a_device_that_is_never_quiet_keeps_its_buffers_and_its_memory_is_unmapped() {
    let setup = Setup::default();
    let (space, pool, function, device, watch) = device(&setup);
    let opened = ringway_ixgbe::open(function, &pool, &setup.port).unwrap();
    watch.record().config_fails = true;
    drop(opened);
    assert_eq!(pool.lost(), 512, "never used again");
    assert_eq!(pool.available(), pool.buffers() - 512);
    drop(pool);
    assert_eq!(space.usage().bytes, 0);
    drop(device);
}

#[test]
fn a_reset_by_someone_else_is_noticed() {
    let mut port = open(Setup::default());
    port.control.check().unwrap();
    port.watch.write(0, 1 << 26);
    let message = port.control.check().unwrap_err().to_string();
    assert!(message.starts_with("emulated:0") && message.contains("reset"), "{message}");
    port.close();
}

#[test]
fn a_card_that_the_kernel_wants_back_is_named() {
    let mut port = open(Setup::default());
    port.control.check().unwrap();
    port.watch.record().wanted_back = true;
    let message = port.control.check().unwrap_err().to_string();
    assert!(message.starts_with("emulated:0") && message.contains("unbound or unplugged"), "{message}");
    port.close();
}

#[test]
fn a_card_that_is_pulled_out_is_gone_and_what_it_had_is_not_used_again() {
    let mut port = open(Setup::default());
    let monitor = port.device.monitor();
    assert!(port.device.inject(&frame(0, 60)));
    monitor.remove();
    let message = port.control.check().unwrap_err().to_string();
    assert!(message.starts_with("emulated:0") && message.contains("gone"), "{message}");
    assert!(!port.device.inject(&frame(1, 60)));
    assert_eq!(port.device.step(), 0);
    let (space, pool) = (port.space.clone(), port.pool.clone());
    drop(port);
    // Nothing says that a device that is gone is done with what it had: that is never used again, only unmapped.
    assert_eq!((pool.available(), pool.lost()), (pool.buffers() - 512, 512));
    drop(pool);
    assert_eq!(space.usage().bytes, 0);
}
