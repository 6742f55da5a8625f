//! What the control handle says and does, and errors that name the device.
#![allow(clippy::unwrap_used, reason = "helpers of tests: what can't go on has failed")]

mod common;

use common::{Rig, frame, rings, without};
use ringway_model::virtio::{Features, Options};
use ringway_packet::Batch;
use ringway_pci::{Backend, Error as PciError, Function, Identity, Registers, Width};
use ringway_port::{Error, Link, MacAddress, PortOptions};
use std::os::fd::OwnedFd;
use std::sync::Arc;

const NAME: &str = "0000:03:00.0";

fn named(options: Options) -> Options {
    Options { name: NAME.to_owned(), ..options }
}

#[test]
fn the_device_says_its_address_its_mtu_and_what_was_agreed() {
    let options = Options { mac: [2, 3, 4, 5, 6, 7], mtu: 2000, ..named(Options::default()) };
    let mut rig = Rig::new(options, 1024);
    let port = rig.open(&PortOptions::default());
    let information = port.control.information();
    assert_eq!((information.name.as_str(), information.driver), (NAME, "virtio-net"));
    assert_eq!(information.mac, MacAddress([2, 3, 4, 5, 6, 7]));
    assert_eq!(information.maximum_frame, 2018);
    for feature in
        ["VIRTIO_F_VERSION_1", "VIRTIO_F_EVENT_IDX", "VIRTIO_F_INDIRECT_DESC", "VIRTIO_NET_F_MRG_RXBUF"]
    {
        assert!(information.features.contains(&feature), "{feature}");
    }
    let negotiated = rig.device.monitor().negotiated();
    assert!(negotiated.has(Features::ACCESS_PLATFORM | Features::VERSION_1 | Features::CTRL_RX));
    for bit in
        [Features::CSUM, Features::GUEST_CSUM, Features::CTRL_VLAN, Features::HASH_REPORT, Features::RSS]
    {
        assert!(
            rig.device.monitor().offered().has(bit) && !negotiated.has(bit),
            "nothing that nobody asked for"
        );
    }
    drop(port);
    rig.is_clean();
}

#[test]
fn without_an_address_of_its_own_the_device_gets_the_same_one_each_time() {
    for options in [without(Features::MAC), Options { mac: [1, 0, 0, 0, 0, 1], ..Options::default() }] {
        let mut rig = Rig::new(named(options), 1024);
        let first = rig.open(&PortOptions::default()).control.information().mac;
        let second = rig.open(&PortOptions::default()).control.information().mac;
        assert_eq!(first, second);
        assert!(first.is_unicast());
        let MacAddress([lead, ..]) = first;
        assert_eq!(lead & 2, 2, "locally administered: {first}");
        let port = rig.open(&PortOptions::default());
        assert_eq!(MacAddress(rig.device.monitor().mac()), first, "the device filters by it");
        drop(port);
        rig.is_clean();
    }
}

#[test]
fn the_link_goes_down_and_up_with_its_speed() {
    let mut rig = Rig::new(Options { speed: 25_000, ..named(Options::default()) }, 1024);
    let mut port = rig.open(&PortOptions::default());
    assert_eq!(port.control.link().unwrap(), Link::Up { speed: Some(25_000) });
    rig.device.set_link(false);
    assert!(!port.control.link().unwrap().is_up());
    rig.device.set_link(true);
    assert_eq!(port.control.link().unwrap(), Link::Up { speed: Some(25_000) });
    drop(port);
    rig.is_clean();

    for (missing, link) in [
        (Features::STATUS, Link::Up { speed: Some(10_000) }),
        (Features::SPEED_DUPLEX, Link::Up { speed: None }),
    ] {
        let mut rig = Rig::new(named(without(missing)), 1024);
        assert_eq!(rig.open(&PortOptions::default()).control.link().unwrap(), link);
    }
}

#[test]
fn a_link_that_flaps_leaves_packets_moving_and_no_buffer_behind() {
    let mut rig = Rig::new(named(Options::default()), 1024);
    let mut port = rig.open(&PortOptions::default());
    let mut batch = Batch::new(&rig.pool, 8);
    for flap in 0..500 {
        let up = flap % 2 == 1;
        rig.device.set_link(up);
        assert_eq!(port.control.link().unwrap().is_up(), up);
        let was_taken = rig.device.inject(&frame(flap, 60));
        assert_eq!(was_taken, up, "no frame comes over a cable that is out");
        assert_eq!(port.receive[0].receive(&mut batch).unwrap(), usize::from(up));
        port.transmit[0].transmit(&mut batch).unwrap();
        assert!(batch.is_empty());
        rig.run();
    }
    drop((port, batch));
    rig.is_clean();
}

#[test]
fn promiscuous_mode_is_set_and_restored() {
    let mut rig = Rig::new(named(Options::default()), 1024);
    let mut port = rig.open(&PortOptions::default());
    let mut batch = Batch::new(&rig.pool, 8);
    let mut foreign = frame(1, 60);
    foreign[..6].copy_from_slice(&[2, 0, 0, 0, 0, 0x55]);
    for on in [false, true, false, true, true, false] {
        port.control.set_promiscuous(on).unwrap();
        assert_eq!(port.control.is_promiscuous(), on);
        assert_eq!(rig.device.monitor().is_promiscuous(), on);
        assert!(rig.device.inject(&foreign));
        assert_eq!(port.receive[0].receive(&mut batch).unwrap(), usize::from(on));
        batch.clear();
    }
    let commands = rig.device.statistics().commands;
    assert_eq!(commands, 5, "one at the start, and one for each change");
    drop((port, batch));
    rig.is_clean();
}

#[test]
fn all_multicast_mode_receives_every_group_and_no_other_station() {
    let mut rig = Rig::new(named(Options::default()), 1024);
    let mut port = rig.open(&PortOptions::default());
    let mut batch = Batch::new(&rig.pool, 8);
    let to = |address: [u8; 6]| {
        let mut frame = frame(1, 60);
        frame[..6].copy_from_slice(&address);
        frame
    };
    for on in [true, false, true] {
        port.control.set_all_multicast(on).unwrap();
        assert!(!port.control.is_promiscuous());
        assert!(rig.device.inject(&to([0x33, 0x33, 0xff, 1, 2, 3])));
        assert!(rig.device.inject(&to([2, 0, 0, 0, 0, 0x55])));
        assert_eq!(port.receive[0].receive(&mut batch).unwrap(), usize::from(on));
        batch.clear();
    }
    drop((port, batch));
    rig.is_clean();
    let mut rig = Rig::new(named(without(Features::CTRL_RX)), 1024);
    let error = rig.open(&PortOptions::default()).control.set_all_multicast(true).unwrap_err().to_string();
    assert!(error.contains(NAME) && error.contains("VIRTIO_NET_F_CTRL_RX"), "{error}");
}

#[test]
fn many_commands_lap_the_control_queue() {
    let mut rig = Rig::new(named(Options::default()), 1024);
    let mut port = rig.open(&PortOptions::default());
    for round in 0..5_000 {
        port.control.set_promiscuous(round % 2 == 0).unwrap();
    }
    assert_eq!(rig.device.statistics().commands, 5_001);
    drop(port);
    rig.is_clean();
}

#[test]
fn a_device_without_receive_modes_is_promiscuous_and_says_so() {
    for missing in [Features::CTRL_RX, Features::CTRL_VQ] {
        let mut rig = Rig::new(named(without(missing)), 1024);
        let mut port = rig.open(&PortOptions::default());
        assert!(port.control.is_promiscuous());
        port.control.set_promiscuous(true).unwrap();
        let error = port.control.set_promiscuous(false).unwrap_err().to_string();
        for part in [NAME, "VIRTIO_NET_F_CTRL_RX", "receives everything"] {
            assert!(error.contains(part), "{error}");
        }
        drop(port);
        rig.is_clean();
    }
}

#[test]
fn a_device_that_needs_a_reset_is_reported_by_name_and_opens_again() {
    let mut rig = Rig::new(named(Options::default()), 1024);
    let mut port = rig.open(&PortOptions::default());
    port.control.check().unwrap();
    rig.device.faults().need_reset();
    for error in [
        port.control.check().unwrap_err(),
        port.control.link().unwrap_err(),
        port.control.set_promiscuous(true).unwrap_err(),
    ] {
        assert!(matches!(&error, Error::Failed { port, .. } if port == NAME), "{error:?}");
        let text = error.to_string();
        assert!(text.contains("DEVICE_NEEDS_RESET") && text.contains("open it again"), "{text}");
    }
    drop(port);
    rig.open(&PortOptions::default()).control.check().unwrap();
    rig.is_clean();
}

#[test]
fn a_device_that_was_pulled_out_is_reported_by_name_and_opens_again_when_it_is_back() {
    let mut rig = Rig::new(named(Options::default()), 1024);
    let mut port = rig.open(&rings(64, 64));
    let faults = rig.device.faults();
    faults.remove();
    for error in [
        port.control.check().unwrap_err(),
        port.control.link().unwrap_err(),
        port.control.set_promiscuous(true).unwrap_err(),
    ] {
        assert!(matches!(&error, Error::Lost { port } if port == NAME), "{error:?}");
        assert!(error.to_string().contains("gone"), "{error}");
    }
    let mut batch = Batch::new(&rig.pool, 8);
    assert_eq!(port.receive[0].receive(&mut batch).unwrap(), 0, "its memory stays");
    drop((port, batch));
    // Nobody can say whether it has stopped: what it had is never used again.
    assert_eq!(rig.pool.available() + rig.pool.lost(), 1024);
    assert_eq!(rig.pool.lost(), 64);
    let error = rig.try_open(&rings(64, 64)).unwrap_err().to_string();
    assert!(error.contains(NAME), "{error}");
    faults.insert();
    rig.open(&rings(64, 64)).control.check().unwrap();
    assert_eq!(rig.pool.available() + rig.pool.lost(), 1024);
    assert_eq!(rig.device.violations(), []);
}

#[test]
fn a_reset_by_someone_else_is_noticed() {
    let mut rig = Rig::new(named(Options::default()), 1024);
    let mut port = rig.open(&PortOptions::default());
    rig.backend().reset().unwrap();
    let error = port.control.check().unwrap_err().to_string();
    assert!(error.contains(NAME) && error.contains("someone else has reset it"), "{error}");
}

#[test]
fn features_that_are_refused_are_named() {
    let mut rig = Rig::new(named(Options::default()), 1024);
    rig.device.faults().refuse_features(true);
    let error = rig.try_open(&PortOptions::default()).unwrap_err().to_string();
    for part in [NAME, "VIRTIO_F_VERSION_1", "VIRTIO_F_ACCESS_PLATFORM", "another version"] {
        assert!(error.contains(part), "{error}");
    }
    rig.is_clean();
    rig.device.faults().refuse_features(false);
    drop(rig.open(&PortOptions::default()));
    rig.is_clean();
}

#[test]
fn a_device_that_has_no_vector_to_give_is_named_and_works_without_interrupts() {
    let mut rig = Rig::new(named(Options::default()), 1024);
    rig.device.faults().refuse_vectors(true);
    let interrupts = PortOptions { interrupts: true, ..rings(64, 64) };
    let error = rig.try_open(&interrupts).unwrap_err().to_string();
    assert!(error.contains(NAME) && error.contains("MSI-X vector 1"), "{error}");
    rig.is_clean();
    drop(rig.open(&rings(64, 64)));
    rig.is_clean();
}

#[test]
fn more_queue_pairs_than_there_are_is_an_error_with_both_numbers() {
    let mut rig = Rig::new(named(Options { queue_pairs: 4, ..Options::default() }), 1024);
    for (receive_queues, transmit_queues) in [(5, 1), (1, 5), (u16::MAX, u16::MAX)] {
        let wanted = receive_queues.max(transmit_queues);
        let ports = PortOptions { receive_queues, transmit_queues, ..rings(8, 8) };
        let error = rig.try_open(&ports).unwrap_err().to_string();
        for part in [NAME, "4 queue pairs", &wanted.to_string(), "QEMU"] {
            assert!(error.contains(part), "{error}");
        }
    }
    rig.is_clean();
}

#[test]
fn a_command_that_is_not_answered_ends_in_time_and_gives_the_queue_up() {
    let mut rig = Rig::new(named(Options::default()), 1024);
    let mut port = rig.open(&rings(64, 64));
    rig.device.faults().stall(2, true);
    for _ in 0..2 {
        let error = port.control.set_promiscuous(true).unwrap_err().to_string();
        for part in [NAME, "VIRTIO_NET_CTRL_RX_PROMISC", "5000 ms"] {
            assert!(error.contains(part), "{error}");
        }
        assert!(!port.control.is_promiscuous());
    }
    // Packets don't need it.
    assert!(rig.device.inject(&frame(1, 60)));
    assert_eq!(port.receive[0].receive(&mut Batch::new(&rig.pool, 8)).unwrap(), 1);
    drop(port);
    rig.device.faults().clear();
    drop(rig.open(&rings(64, 64)));
    rig.is_clean();
}

/// A function that says of itself what the test wants.
#[derive(Debug)]
struct Told {
    backend: Box<dyn Backend>,
    identity: Identity,
    emulated: bool,
    /// What configuration space holds at an offset, instead.
    words: Vec<(u16, u32)>,
}

impl Backend for Told {
    fn identity(&self) -> &Identity {
        &self.identity
    }
    fn address_space(&self) -> &ringway_dma::AddressSpace {
        self.backend.address_space()
    }
    fn is_emulated(&self) -> bool {
        self.emulated
    }
    fn config_read(&self, offset: u16, width: Width) -> Result<u32, PciError> {
        match self.words.iter().find(|(place, _)| *place == offset) {
            Some((_, value)) => Ok(*value),
            None => self.backend.config_read(offset, width),
        }
    }
    fn config_write(&self, offset: u16, width: Width, value: u32) -> Result<(), PciError> {
        self.backend.config_write(offset, width, value)
    }
    fn bar(&self, index: u8) -> Result<Arc<dyn Registers>, PciError> {
        self.backend.bar(index)
    }
    fn msix_vectors(&self) -> u16 {
        self.backend.msix_vectors()
    }
    fn set_msix(&self, vectors: &[Arc<OwnedFd>]) -> Result<(), PciError> {
        self.backend.set_msix(vectors)
    }
    fn reset(&self) -> Result<bool, PciError> {
        self.backend.reset()
    }
}

fn told(rig: &Rig) -> Told {
    let backend = rig.backend();
    Told { identity: backend.identity().clone(), backend, emulated: true, words: Vec::new() }
}

fn refusal(rig: &Rig, told: Told) -> String {
    let function = Function::new(Box::new(told)).unwrap();
    let error = ringway_virtio::open(function, &rig.pool, &rings(64, 64)).unwrap_err().to_string();
    rig.is_clean();
    error
}

#[test]
fn another_device_is_refused_and_what_would_work_is_named() {
    let rig = Rig::new(named(Options::default()), 128);
    for (vendor, device) in [(0x8086, 0x10fb), (0x1af4, 0x1042)] {
        let mut told = told(&rig);
        (told.identity.vendor, told.identity.device) = (vendor, device);
        let error = refusal(&rig, told);
        for part in [NAME, &format!("{vendor:04x}:{device:04x}"), "1af4:1041", "1af4:1000"] {
            assert!(error.contains(part), "{error}");
        }
    }
}

#[test]
fn real_hardware_that_bypasses_the_iommu_is_refused() {
    let rig = Rig::new(named(without(Features::ACCESS_PLATFORM)), 128);
    let error = refusal(&rig, Told { emulated: false, ..told(&rig) });
    for part in [NAME, "VIRTIO_F_ACCESS_PLATFORM", "iommu_platform=on"] {
        assert!(error.contains(part), "{error}");
    }
}

/// Where the n-th vendor-specific capability lies.
fn capability(rig: &Rig, kind: u32) -> u16 {
    let capabilities = rig.function().capabilities().unwrap();
    let backend = rig.backend();
    let kind_of = |offset: u16| backend.config_read(offset + 3, Width::Byte).unwrap();
    let found = capabilities.iter().find(|found| found.id == 9 && kind_of(found.offset) == kind);
    found.unwrap().offset
}

#[test]
fn capabilities_that_lie_are_found_out() {
    let rig = Rig::new(named(Options::default()), 128);
    let (common, notify, device) = (capability(&rig, 1), capability(&rig, 2), capability(&rig, 4));
    for (words, part) in [
        (vec![(common + 3, 7)], "no virtio 1.x common configuration"),
        (vec![(notify + 3, 7)], "no virtio 1.x notification area"),
        (vec![(common + 4, 6)], "no virtio 1.x common configuration"),
        (vec![(common + 12, 55)], "common configuration has 55 bytes"),
        (vec![(common + 8, 2)], "common configuration lies at 0x2"),
        (vec![(notify + 8, 0x1001)], "notification area lies at 0x1001"),
        (vec![(notify + 2, 16)], "lacks the multiplier"),
        (vec![(notify + 16, u32::MAX)], "BAR"),
        (vec![(common + 8, u32::MAX - 3)], "BAR"),
        (vec![(device + 12, 5)], "configuration has 5 bytes"),
        (vec![(device + 3, 7)], "configuration has 0 bytes"),
        (vec![(0x34, common.into()), (common + 1, common.into())], "capabilit"),
    ] {
        let error = refusal(&rig, Told { words, ..told(&rig) });
        assert!(error.contains(NAME) && error.contains(part), "{part}: {error}");
    }
    drop(ringway_virtio::open(rig.function(), &rig.pool, &rings(64, 64)).unwrap());
    rig.is_clean();
}
