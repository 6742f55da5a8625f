//! The function on its bus: configuration space, registers, features, queues, resets (virtio 1.2, chapters 2 to 4).
#![allow(clippy::unwrap_used, reason = "a test: what fails, fails it")]

mod driver;

use driver::{Driver, device, frame};
use ringway_model::virtio::{Features, Options, Rule};
use ringway_pci::Width;

const BASE: u64 = Features::VERSION_1 | Features::ACCESS_PLATFORM;
const ALL: u64 = BASE | Features::CTRL_VQ | Features::MQ | Features::RING_RESET;

fn rules(handle: &ringway_model::virtio::Handle) -> Vec<Rule> {
    handle.violations().into_iter().map(|violation| violation.rule).collect()
}

#[test]
fn the_function_presents_itself_and_every_capability() {
    let (_space, function, handle) = device(Options::default());
    assert_eq!(function.config_read(0, Width::Double).unwrap(), 0x1041_1af4);
    assert_eq!(function.config_read(8, Width::Double).unwrap(), 0x0200_0001);
    let kinds: Vec<(u8, u32)> = function
        .capabilities()
        .unwrap()
        .iter()
        .map(|capability| (capability.id, function.config_read(capability.offset + 3, Width::Byte).unwrap()))
        .collect();
    let of_virtio: Vec<u32> = kinds.iter().filter(|(id, _)| *id == 9).map(|(_, kind)| *kind).collect();
    assert_eq!(of_virtio, [1, 2, 3, 4, 5]);
    assert!(kinds.iter().any(|(id, _)| *id == 0x10) && kinds.iter().any(|(id, _)| *id == 0x11));
    assert_eq!(function.msix_vectors(), 4);
    assert_eq!(function.identity().name, handle.name());
    assert!(function.is_emulated());
    assert!(function.bar(1, 0, 4).is_err() && function.bar(4, 0x1000, 0x1001).is_err());
}

#[test]
fn registers_are_reached_through_configuration_space_too() {
    let (_space, function, handle) = device(Options::default());
    let capabilities = function.capabilities().unwrap();
    let window = capabilities
        .iter()
        .find(|entry| entry.id == 9 && function.config_read(entry.offset + 3, Width::Byte).unwrap() == 5)
        .unwrap()
        .offset;
    let common = capabilities
        .iter()
        .find(|entry| entry.id == 9 && function.config_read(entry.offset + 3, Width::Byte).unwrap() == 1)
        .unwrap()
        .offset;
    let bar = function.config_read(common + 4, Width::Byte).unwrap();
    function.config_write(window + 4, Width::Byte, bar).unwrap();
    function.config_write(window + 8, Width::Double, 20).unwrap();
    function.config_write(window + 12, Width::Double, 1).unwrap();
    function.config_write(window + 16, Width::Byte, 3).unwrap();
    assert_eq!(function.config_read(window + 16, Width::Byte).unwrap(), 3);
    assert_eq!(handle.monitor().status(), 3);
    function.config_write(window + 12, Width::Double, 3).unwrap();
    function.config_read(window + 16, Width::Byte).unwrap();
    assert_eq!(rules(&handle), [Rule::WindowAccess]);
}

/// `VIRTIO_NET_F_GUEST_ECN`.
const NOT_THERE: u64 = 1 << 9;

#[test]
fn features_that_were_not_offered_or_do_not_fit_are_refused() {
    let (_space, function, handle) = device(Options::default());
    let mut driver = Driver::find(function);
    let offered = driver.offered();
    assert_eq!(offered & ALL, ALL & !Features::MQ, "one pair only");
    assert_eq!(offered & NOT_THERE, 0, "what is not implemented is not offered");
    for (features, rule) in [
        (BASE | NOT_THERE, Rule::FeatureNotOffered),
        (BASE | Features::CTRL_RX, Rule::FeatureRequirement),
        (Features::ACCESS_PLATFORM, Rule::VersionNotAccepted),
        (Features::VERSION_1, Rule::PlatformNotAccepted),
    ] {
        assert!(!driver.negotiate(features));
        assert_eq!(handle.monitor().negotiated(), Features::NONE);
        assert_eq!(rules(&handle).pop(), Some(rule));
    }
    assert!(driver.negotiate(offered));
    assert_eq!(handle.monitor().negotiated().bits(), offered);
    driver.common.write32(12, 0);
    assert_eq!(rules(&handle).pop(), Some(Rule::FeaturesAfterOk));
    assert_eq!(handle.monitor().negotiated().bits(), offered);
}

#[test]
fn options_that_make_no_sense_are_brought_into_range() {
    let features = Features::default().without(Features::CTRL_VQ);
    let options = Options { queue_pairs: 0, queue_size: 1000, features, mtu: 0, ..Options::default() };
    let (_space, function, _handle) = device(options);
    let driver = Driver::find(function);
    assert_eq!(driver.common.read16(18), 2);
    assert_eq!(driver.common.read16(24), 512);
    assert_eq!(driver.offered() & Features::CTRL_RX, 0, "it requires what is not offered");
    assert_eq!(driver.network.read16(10), 68);
}

#[test]
fn the_control_queue_comes_after_the_pairs_that_were_negotiated() {
    let (_space, function, handle) = device(Options { queue_pairs: 4, ..Options::default() });
    let mut driver = Driver::find(function);
    assert_eq!(driver.common.read16(18), 9);
    assert_eq!(driver.network.read16(8), 4);
    let available = |driver: &Driver| {
        let there = |index: &u16| {
            driver.common.write16(22, *index);
            driver.common.read16(24) != 0
        };
        (0..10).filter(there).collect::<Vec<_>>()
    };
    assert!(driver.negotiate(BASE | Features::CTRL_VQ));
    assert_eq!(available(&driver), [0, 1, 2]);
    assert!(driver.negotiate(ALL));
    assert_eq!(available(&driver), [0, 1, 2, 3, 4, 5, 6, 7, 8]);
    driver.common.write16(22, 9);
    driver.common.write16(28, 1);
    assert_eq!(rules(&handle), [Rule::QueueUnavailable]);
}

#[test]
fn a_queue_is_set_up_by_the_rules_or_not_at_all() {
    let (space, function, handle) = device(Options { queue_size: 256, ..Options::default() });
    let mut driver = Driver::find(function);
    driver.common.write16(28, 1);
    assert_eq!(driver.common.read16(28), 0, "not before the features are agreed on");
    assert!(driver.negotiate(BASE));
    for size in [0, 3, 255, 512] {
        driver.common.write16(24, size);
        assert_eq!(driver.common.read16(24), 256);
    }
    driver.common.write16(28, 0);
    driver.common.write16(26, 4);
    assert_eq!(driver.common.read16(26), 0xffff);
    driver.enable(&space, 0, 128, Some(3));
    driver.common.write16(24, 64);
    driver.common.write32(32, 0);
    assert_eq!(driver.common.read16(24), 128);
    driver.common.write16(58, 1);
    let expected = [
        Rule::QueueLive,
        Rule::QueueSize,
        Rule::QueueSize,
        Rule::QueueSize,
        Rule::QueueSize,
        Rule::QueueEnableZero,
        Rule::VectorOutOfRange,
        Rule::QueueLive,
        Rule::QueueLive,
        Rule::QueueResetNotNegotiated,
    ];
    assert_eq!(rules(&handle), expected);
    assert_eq!(handle.monitor().status() & 64, 0, "none of it is fatal");
}

#[test]
fn a_misaligned_queue_stops_the_device() {
    let (_space, function, handle) = device(Options::default());
    let mut driver = Driver::find(function);
    for (register, address) in [(32, 8u32), (40, 1), (48, 2)] {
        assert!(driver.negotiate(BASE));
        driver.common.write32(register, address);
        driver.common.write16(28, 1);
        assert_eq!(driver.common.read16(28), 0);
        assert_eq!(rules(&handle).pop(), Some(Rule::QueueAlignment));
        assert_eq!(driver.status() & 64, 64);
    }
    assert!(driver.negotiate(BASE));
    assert_eq!(driver.status() & 64, 0, "a reset helps");
    driver.common.write32(36, u32::MAX);
    driver.common.write32(32, !15);
    driver.common.write16(28, 1);
    assert_eq!(driver.status() & 64, 64, "a table that runs off the end of the address space");
}

#[test]
fn registers_are_accessed_in_their_own_width() {
    let (_space, function, handle) = device(Options::default());
    let driver = Driver::find(function);
    assert_eq!(driver.common.read32(20), u32::MAX);
    driver.common.write16(20, 1);
    assert_eq!(driver.status(), 0);
    assert_eq!(driver.network.read32(0), 2, "answered, and noted");
    driver.network.write8(0, 1);
    driver.common.write16(18, 1);
    let expected = [
        Rule::AccessWidth,
        Rule::AccessWidth,
        Rule::AccessWidth,
        Rule::ConfigurationWrite,
        Rule::ReadOnlyRegister,
    ];
    assert_eq!(rules(&handle), expected);
}

#[test]
fn status_goes_one_way() {
    let (_space, function, handle) = device(Options::default());
    let driver = Driver::find(function);
    driver.common.write8(20, 3);
    driver.common.write8(20, 1);
    assert_eq!(driver.status(), 3);
    driver.common.write8(20, 7);
    assert_eq!(driver.status(), 3 | 64);
    assert_eq!(rules(&handle), [Rule::StatusBitCleared, Rule::DriverOkTooEarly]);
    driver.common.write8(20, 0);
    driver.common.write8(20, 2);
    assert_eq!(rules(&handle).pop(), Some(Rule::StatusOrder));
}

#[test]
fn a_reset_stops_the_queues_before_it_reads_as_done() {
    let (space, function, mut handle) = device(Options::default());
    let mut driver = Driver::start(&space, function, Features::CTRL_VQ | Features::CTRL_RX, 8);
    assert_eq!(driver.command(2, &[0, 0, 1]), Some(0));
    driver.connect(2);
    driver.common.write16(16, 1);
    driver.queue(1).offer_packet(0, &frame(1, 60));
    driver.queue(1).kick();
    driver.common.write8(20, 0);
    assert_eq!(driver.status(), 0);
    assert_eq!(handle.step(), 0);
    assert!(!handle.inject(&frame(1, 60)));
    assert_eq!(driver.queue(1).next_used(), None);
    for index in 0..3 {
        driver.common.write16(22, index);
        assert_eq!(driver.common.read16(28), 0);
        assert_eq!(driver.common.read16(26), 0xffff);
        assert_eq!((driver.common.read32(32), driver.common.read16(24) >= 8), (0, true));
    }
    assert_eq!(driver.common.read16(16), 0xffff);
    let function = driver.function;
    let mut driver = Driver::start(&space, function, 0, 8);
    assert!(handle.monitor().is_promiscuous(), "a driver that can't filter gets everything");
    assert!(handle.inject(&frame(2, 60)));
    assert_eq!(driver.queue(0).next_used(), Some((0, 72)));
    assert_eq!(handle.violations(), []);
}

#[test]
fn the_function_is_reset_by_its_back_end_and_by_device_control() {
    let (space, function, mut handle) = device(Options::default());
    let driver = Driver::start(&space, function, 0, 8);
    assert!(driver.function.reset().unwrap());
    assert_eq!(driver.status(), 0, "registers still answer: the system restored the command register");
    let mut driver = Driver::start(&space, driver.function, 0, 8);
    driver.queue(1).offer_packet(0, &frame(1, 60));
    driver.queue(1).kick();
    let express = driver.function.capabilities().unwrap().into_iter().find(|entry| entry.id == 0x10).unwrap();
    driver.function.config_write(express.offset + 8, Width::Word, 0x8000).unwrap();
    assert_eq!(handle.step(), 0);
    assert_eq!(driver.status(), 0xff, "memory decoding went with it");
}

#[test]
fn without_bus_mastering_nothing_is_accessed() {
    let (space, function, mut handle) = device(Options::default());
    let mut driver = Driver::start(&space, function, 0, 8);
    driver.function.set_bus_master(false).unwrap();
    driver.queue(1).offer_packet(0, &frame(1, 60));
    driver.queue(1).kick();
    for _ in 0..3 {
        assert_eq!(handle.step(), 0);
        assert!(!handle.inject(&frame(1, 60)));
    }
    assert_eq!((driver.queue(1).used_index(), driver.queue(0).used_index()), (0, 0));
    assert_eq!(rules(&handle), [Rule::DmaWithoutBusMaster]);
    driver.function.set_bus_master(true).unwrap();
    assert_eq!(handle.step(), 1);
}

#[test]
fn one_queue_is_reset_and_comes_back_with_another_size() {
    let (space, function, mut handle) = device(Options::default());
    let mut driver = Driver::start(&space, function, Features::RING_RESET, 16);
    for round in 0..5u16 {
        driver.queue(1).offer_packet(0, &frame(1, 60));
        driver.queue(1).publish();
        driver.common.write16(22, 1);
        driver.common.write16(58, 1);
        assert_eq!((driver.common.read16(58), driver.common.read16(28)), (0, 0));
        assert_eq!(handle.step(), 0);
        driver.enable(&space, 1, 4 << round, None);
        driver.queue(1).offer_packet(3, &frame(round.into(), 60));
        assert!(driver.queue(1).kick());
        assert_eq!(handle.step(), 1);
        assert_eq!(handle.take_sent(), Some(frame(round.into(), 60)));
        assert!(handle.inject(&frame(9, 60)), "the other queue went on");
        assert_eq!(driver.queue(0).next_used(), Some((round.into(), 72)));
    }
    assert_eq!(handle.violations(), []);
}

#[test]
fn a_driver_that_notifies_too_early_or_under_a_wrong_number_is_noted() {
    let (space, function, mut handle) = device(Options::default());
    let mut driver = Driver::find(function);
    driver.function.set_bus_master(true).unwrap();
    assert!(driver.negotiate(BASE));
    driver.enable(&space, 1, 8, None);
    driver.queue(1).offer_packet(0, &frame(1, 60));
    driver.queue(1).kick();
    assert_eq!(handle.step(), 0, "nothing is consumed before DRIVER_OK");
    driver.set_status(4);
    assert_eq!(handle.step(), 1);
    driver.queue(1).offer_packet(1, &frame(2, 60));
    driver.queue(1).publish();
    driver.queue(1).bell.ring(0);
    assert_eq!(handle.step() + handle.step(), 1);
    assert_eq!(rules(&handle), [Rule::NotifiedTooEarly, Rule::NotificationValue]);
}

#[test]
fn the_generation_changes_when_the_configuration_did() {
    let (space, function, mut handle) = device(Options { mac: [2, 4, 6, 8, 10, 12], ..Options::default() });
    let driver = Driver::start(&space, function, Features::STATUS, 8);
    let mac: Vec<u8> = (0..6).map(|at| driver.network.read8(at)).collect();
    assert_eq!(mac, [2, 4, 6, 8, 10, 12]);
    assert_eq!((driver.network.read32(12), driver.network.read8(16)), (10_000, 1));
    let before = driver.common.read8(21);
    assert_eq!(driver.network.read16(6), 1);
    assert_eq!(driver.common.read8(21), before);
    handle.set_link(false);
    assert_eq!(driver.network.read16(6), 0);
    assert_ne!(driver.common.read8(21), before);
    assert_eq!(driver.network.read32(12), u32::MAX, "no speed without a link");
    for _ in 0..300 {
        let before = driver.common.read8(21);
        handle.set_link(true);
        handle.set_link(false);
        driver.network.read16(6);
        assert_ne!(driver.common.read8(21), before);
    }
}
