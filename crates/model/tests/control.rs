//! The control queue and what it sets (virtio 1.2, section 5.1.6.5).
#![allow(clippy::unwrap_used, reason = "a test: what fails, fails it")]

mod driver;

use driver::{Driver, NEXT, WRITE, device, frame};
use ringway_model::virtio::{Features, Handle, Options, Rule};

const OWN: [u8; 6] = [0x02, 0, 0, 0, 0, 1];
const OTHER: [u8; 6] = [0x02, 0, 0, 0, 0, 2];
const GROUP: [u8; 6] = [0x01, 0, 0x5e, 0, 0, 5];
const BROADCAST: [u8; 6] = [0xff; 6];

const FILTERS: u64 = Features::CTRL_VQ
    | Features::CTRL_RX
    | Features::CTRL_RX_EXTRA
    | Features::CTRL_VLAN
    | Features::CTRL_MAC_ADDR;

fn start(features: u64) -> (Driver, Handle) {
    let (space, function, handle) = device(Options::default());
    (Driver::start(&space, function, features, 64), handle)
}

/// Whether a frame to `destination`, in a VLAN or not, reaches the driver.
fn arrives(driver: &mut Driver, handle: &mut Handle, destination: [u8; 6], vlan: Option<u16>) -> bool {
    let mut sent = frame(1, 60);
    sent[..6].copy_from_slice(&destination);
    if let Some(vlan) = vlan {
        sent[12..14].copy_from_slice(&[0x81, 0]);
        sent[14..16].copy_from_slice(&vlan.to_be_bytes());
    }
    assert!(handle.inject(&sent));
    let queue = driver.queue(0);
    let Some((id, length)) = queue.next_used() else { return false };
    assert_eq!(queue.packet(id, length).1, sent);
    queue.offer_buffer(id as u16, 2048);
    queue.kick();
    true
}

#[test]
fn a_driver_that_sets_nothing_gets_its_own_frames_and_broadcasts() {
    let (mut driver, mut handle) = start(FILTERS);
    let seen = [OWN, BROADCAST, OTHER, GROUP].map(|to| arrives(&mut driver, &mut handle, to, None));
    assert_eq!(seen, [true, true, false, false]);
    assert_eq!(handle.statistics().filtered, 2);
    let (mut driver, mut handle) = start(0);
    let seen = [OWN, BROADCAST, OTHER, GROUP].map(|to| arrives(&mut driver, &mut handle, to, None));
    assert_eq!(seen, [true; 4], "one that can't set anything gets all");
}

#[test]
fn receive_modes_do_what_they_say() {
    let (mut driver, mut handle) = start(FILTERS);
    // Command, then what arrives of: own, broadcast, other, group.
    let table = [
        (0, [true, true, true, true]),    // promiscuous
        (1, [true, true, false, true]),   // all multicast
        (2, [true, true, true, false]),   // all unicast
        (3, [true, true, false, false]),  // no multicast
        (4, [false, true, false, false]), // no unicast
        (5, [true, false, false, false]), // no broadcast
    ];
    for (command, expected) in table {
        assert_eq!(driver.command(2, &[0, command, 1]), Some(0));
        let seen = [OWN, BROADCAST, OTHER, GROUP].map(|to| arrives(&mut driver, &mut handle, to, None));
        assert_eq!(seen, expected, "command {command}");
        assert_eq!(driver.command(2, &[0, command, 0]), Some(0));
    }
    assert_eq!(handle.violations(), []);
    assert_eq!(handle.statistics().commands, 12);
}

#[test]
fn address_tables_replace_one_another() {
    let (mut driver, mut handle) = start(FILTERS);
    let mut command = vec![1, 0, 1, 0, 0, 0];
    command.extend(OTHER);
    command.extend([1, 0, 0, 0]);
    command.extend(GROUP);
    assert_eq!(driver.command(2, &command), Some(0));
    let seen = [OWN, OTHER, GROUP].map(|to| arrives(&mut driver, &mut handle, to, None));
    assert_eq!(seen, [true; 3]);
    assert_eq!(driver.command(2, &[1, 0, 0, 0, 0, 0, 0, 0, 0, 0]), Some(0));
    let seen = [OWN, OTHER, GROUP].map(|to| arrives(&mut driver, &mut handle, to, None));
    assert_eq!(seen, [true, false, false]);
}

#[test]
fn an_address_that_is_set_shows_in_the_configuration_until_a_reset() {
    let (mut driver, mut handle) = start(FILTERS);
    let generation = driver.common.read8(21);
    assert_eq!(driver.command(2, &[1, 1, 2, 0, 0, 0, 0, 2]), Some(0));
    assert_eq!((0..6).map(|at| driver.network.read8(at)).collect::<Vec<_>>(), OTHER);
    assert_ne!(driver.common.read8(21), generation);
    assert_eq!(handle.monitor().mac(), OTHER);
    assert!(arrives(&mut driver, &mut handle, OTHER, None));
    assert!(!arrives(&mut driver, &mut handle, OWN, None));
    driver.common.write8(20, 0);
    assert_eq!(handle.monitor().mac(), OWN);
}

#[test]
fn vlans_pass_when_they_are_listed() {
    let (mut driver, mut handle) = start(FILTERS);
    let vlan = |number: u16, command| [2, command, number as u8, (number >> 8) as u8];
    assert!(!arrives(&mut driver, &mut handle, OWN, Some(100)));
    assert_eq!(driver.command(2, &vlan(100, 0)), Some(0));
    assert_eq!(driver.command(2, &vlan(4095, 0)), Some(0));
    let seen = [100, 101, 4095, 0].map(|vlan| arrives(&mut driver, &mut handle, OWN, Some(vlan)));
    assert_eq!(seen, [true, false, true, true]);
    assert_eq!(driver.command(2, &vlan(100, 1)), Some(0));
    assert!(!arrives(&mut driver, &mut handle, OWN, Some(100)));
    assert!(arrives(&mut driver, &mut handle, OWN, None));
}

#[test]
fn commands_that_make_no_sense_are_answered_with_an_error() {
    let (mut driver, handle) = start(FILTERS);
    let commands: [&[u8]; 11] = [
        &[0, 0],
        &[0, 0, 2],
        &[0, 0, 1, 1],
        &[0, 6, 1],
        &[1, 0],
        &[1, 0, 1, 0, 0, 0, 1, 2, 3],
        &[1, 0, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0],
        &[1, 1, 1, 0, 0, 0, 0, 2],
        &[2, 0, 0, 0x10],
        &[9, 9],
        &[1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 0, 2],
    ];
    for command in commands {
        assert_eq!(driver.command(2, command), Some(1), "{command:?}");
    }
    assert!(handle.violations().iter().all(|violation| violation.rule == Rule::ControlRefused));
    assert_eq!(handle.violations().len(), commands.len());
    assert_eq!(driver.command(2, &[4, 0, 1, 0]), Some(1), "several pairs were not negotiated");
    assert_eq!(handle.violations().pop().unwrap().rule, Rule::ControlNotNegotiated);
}

#[test]
fn a_command_without_room_for_the_answer_stops_the_device() {
    for (readable, writable) in [(3, 0), (1, 1)] {
        let (mut driver, handle) = start(FILTERS);
        let queue = driver.queue(2);
        let address = queue.memory.at(queue.buffer(0));
        queue.describe(0, address, readable, if writable > 0 { NEXT } else { 0 }, 1);
        queue.describe(1, address, writable, WRITE, 0);
        queue.offer(0);
        queue.publish();
        driver.notify.write16(2 * driver.multiplier, 2);
        assert_eq!(handle.violations().pop().unwrap().rule, Rule::ControlFormat);
    }
}

#[test]
fn a_command_rung_by_doorbell_is_served_by_the_next_register_access_or_step() {
    let (mut driver, mut handle) = start(FILTERS);
    for stepped in [true, false] {
        let queue = driver.queue(2);
        let (readable, writable) = (queue.buffer(0), queue.buffer(1));
        queue.memory.write(readable, &[0, 0, stepped.into()]);
        let addresses = (queue.memory.at(readable), queue.memory.at(writable));
        queue.describe(0, addresses.0, 3, NEXT, 1);
        queue.describe(1, addresses.1, 1, WRITE, 0);
        queue.offer(0);
        queue.kick();
        assert_eq!(driver.queue(2).next_used(), None);
        if stepped {
            handle.step();
        } else {
            driver.status();
        }
        assert_eq!(driver.queue(2).next_used(), Some((0, 1)));
        assert_eq!(handle.monitor().is_promiscuous(), stepped);
    }
}

#[test]
fn an_announcement_is_asked_for_and_acknowledged() {
    let (mut driver, mut handle) = start(Features::CTRL_VQ | Features::GUEST_ANNOUNCE | Features::STATUS);
    assert!(handle.announce());
    assert_eq!(driver.network.read16(6), 3);
    assert_eq!(driver.command(2, &[3, 0]), Some(0));
    assert_eq!(driver.network.read16(6), 1);
    let (_driver, mut handle) = start(0);
    assert!(!handle.announce());
}

#[test]
fn queue_pairs_are_used_when_they_are_turned_on_and_flows_come_back_where_they_left() {
    let (space, function, mut handle) = device(Options { queue_pairs: 4, ..Options::default() });
    let mut driver = Driver::find(function);
    driver.function.set_bus_master(true).unwrap();
    let features = Features::CTRL_VQ | Features::MQ | Features::EVENT_IDX;
    assert!(driver.negotiate(features | Features::VERSION_1 | Features::ACCESS_PLATFORM));
    (0..6).for_each(|index| driver.enable(&space, index, 32, None));
    driver.enable(&space, 8, 8, None);
    driver.set_status(4);
    (0..3).for_each(|pair| driver.queue(2 * pair).fill());

    assert_eq!(driver.command(8, &[4, 0, 0, 0]), Some(1));
    assert_eq!(driver.command(8, &[4, 0, 5, 0]), Some(1), "there are four");
    assert_eq!(driver.command(8, &[4, 0, 4, 0]), Some(1), "the fourth was not enabled");
    driver.queue(3).offer_packet(0, &frame(1, 60));
    driver.queue(3).kick();
    assert_eq!(handle.step(), 0);
    assert_eq!(handle.violations().pop().unwrap().rule, Rule::TransmitQueueBeyondPairs);

    assert_eq!(driver.command(8, &[4, 0, 3, 0]), Some(0));
    assert_eq!(handle.monitor().active_pairs(), 3);
    driver.queue(3).ring();
    assert_eq!(handle.step(), 1, "what waited goes out now");
    let udp = |from: u8, to: u8, source: u16, destination: u16| {
        let mut sent = frame(0, 60);
        sent[12..14].copy_from_slice(&[8, 0]);
        sent[14..24].copy_from_slice(&[0x45, 0, 0, 46, 0, 0, 0, 0, 64, 17]);
        sent[26..34].copy_from_slice(&[10, 0, 0, from, 10, 0, 0, to]);
        sent[34..36].copy_from_slice(&source.to_be_bytes());
        sent[36..38].copy_from_slice(&destination.to_be_bytes());
        sent
    };
    for flow in 0..30 {
        let pair = flow % 3;
        driver.queue(2 * pair + 1).offer_packet(1, &udp(1, 2, 5000 + flow, 53));
        driver.queue(2 * pair + 1).kick();
        assert_eq!(handle.step(), 1);
        assert!(handle.inject(&udp(2, 1, 53, 5000 + flow)));
        for other in 0..3 {
            assert_eq!(driver.queue(2 * other).next_used().is_some(), other == pair, "flow {flow}");
        }
    }
    assert_eq!(driver.command(8, &[4, 0, 1, 0]), Some(0));
    for flow in 0..30 {
        assert!(handle.inject(&udp(2, 1, 53, 5000 + flow)) || flow >= 22, "flow {flow}");
    }
    assert_eq!((driver.queue(2).next_used(), driver.queue(4).next_used()), (None, None));
}
