//! Opening: what is refused, and that nothing remains of what fails.

use crate::support::{Answer, Event, Port, Setup, device, frame, open, refusal};
use ringway_dma::AddressSpace;
use ringway_ixgbe::Error;
use ringway_model::ixgbe::Ixgbe;
use ringway_packet::Pool;
use ringway_pci::{Backend, Doorbell, Function, Identity, Registers, Width};
use ringway_port::PortOptions;
use std::os::fd::OwnedFd;
use std::sync::Arc;

fn with(change: impl FnOnce(&mut Setup)) -> Setup {
    let mut setup = Setup::default();
    change(&mut setup);
    setup
}

#[test]
fn a_hundred_starts_leave_nothing_behind() {
    let setup = Setup::default();
    let space = AddressSpace::emulated();
    let pool = Pool::new(&space, setup.pool).unwrap();
    let (backend, mut device) = Ixgbe::create(&space, setup.model.clone());
    let backend = Arc::new(backend);
    let usage = format!("{:?}", space.usage());
    for lap in 0..100 {
        let function = Function::new(Box::new(Again(Arc::clone(&backend)))).unwrap();
        let opened = ringway_ixgbe::open(function, &pool, &setup.port).unwrap();
        let (mut receive, mut transmit) = (opened.receive, opened.transmit);
        let mut batch = ringway_packet::Batch::new(&pool, 32);
        for number in 0..lap {
            assert!(device.inject(&frame(number, 60)));
        }
        let received = receive[0].receive(&mut batch).unwrap();
        assert_eq!(received as u64, lap.min(32));
        transmit[0].transmit(&mut batch).unwrap();
        if lap % 2 == 0 {
            device.step(); // else it is stopped with buffers in both rings
        }
        drop((receive, transmit, opened.control, batch));
        assert_eq!((pool.available(), pool.lost()), (pool.buffers(), 0), "lap {lap}");
        assert_eq!(format!("{:?}", space.usage()), usage, "lap {lap}");
        while device.take_sent().is_some() {}
    }
    assert_eq!(device.faults(), 0);
}

/// A function that can be opened again and again.
#[derive(Debug)]
struct Again(Arc<Box<dyn Backend>>);

impl Backend for Again {
    fn identity(&self) -> &Identity {
        self.0.identity()
    }
    fn address_space(&self) -> &AddressSpace {
        self.0.address_space()
    }
    fn is_emulated(&self) -> bool {
        self.0.is_emulated()
    }
    fn config_read(&self, offset: u16, width: Width) -> Result<u32, ringway_pci::Error> {
        self.0.config_read(offset, width)
    }
    fn config_write(&self, offset: u16, width: Width, value: u32) -> Result<(), ringway_pci::Error> {
        self.0.config_write(offset, width, value)
    }
    fn bar(&self, index: u8) -> Result<Arc<dyn Registers>, ringway_pci::Error> {
        self.0.bar(index)
    }
    fn msix_vectors(&self) -> u16 {
        self.0.msix_vectors()
    }
    fn set_msix(&self, vectors: &[Arc<OwnedFd>]) -> Result<(), ringway_pci::Error> {
        self.0.set_msix(vectors)
    }
    fn reset(&self) -> Result<bool, ringway_pci::Error> {
        self.0.reset()
    }
}

#[test]
fn what_the_device_cannot_do_is_refused_with_what_it_can() {
    for (setup, words) in [
        (with(|setup| setup.port.receive_queues = 0), ["1 to 127 receive queues", "not with 0"]),
        (with(|setup| setup.port.receive_queues = 128), ["127 receive queues", "128"]),
        (with(|setup| setup.port.transmit_queues = 65), ["64 transmit queues", "65"]),
        (with(|setup| setup.port.receive_ring = 32), ["32 descriptors", "64 to 4096"]),
        (with(|setup| setup.port.transmit_ring = 8192), ["8192 descriptors", "64 to 4096"]),
        (with(|setup| setup.port.receive_ring = 96), ["96 descriptors", "power of two"]),
        (with(|setup| setup.port.maximum_frame = 1513), ["1513 bytes", "1514 to 9724"]),
        (with(|setup| setup.port.maximum_frame = 9725), ["9725 bytes", "1514 to 9724"]),
        (with(|setup| setup.pool.buffers = 511), ["511", "make the pool larger"]),
    ] {
        let message = refusal(setup).to_string();
        assert!(message.starts_with("emulated:0"), "{message}");
        assert!(words.iter().all(|word| message.contains(word)), "{message}: {words:?}");
    }
}

#[test]
fn a_pool_of_another_address_space_is_refused() {
    let setup = Setup::default();
    let (_space, _pool, function, _device, _watch) = device(&setup);
    let elsewhere = AddressSpace::emulated();
    let pool = Pool::new(&elsewhere, setup.pool).unwrap();
    assert!(matches!(
        ringway_ixgbe::open(function, &pool, &setup.port),
        Err(Error::Packet { source: ringway_packet::Error::WrongSpace, .. })
    ));
}

/// The model, under the ids of another device.
#[derive(Debug)]
struct Disguised(Box<dyn Backend>, Identity);

impl Backend for Disguised {
    fn identity(&self) -> &Identity {
        &self.1
    }
    fn address_space(&self) -> &AddressSpace {
        self.0.address_space()
    }
    fn is_emulated(&self) -> bool {
        true
    }
    fn config_read(&self, offset: u16, width: Width) -> Result<u32, ringway_pci::Error> {
        self.0.config_read(offset, width)
    }
    fn config_write(&self, offset: u16, width: Width, value: u32) -> Result<(), ringway_pci::Error> {
        self.0.config_write(offset, width, value)
    }
    fn bar(&self, _index: u8) -> Result<Arc<dyn Registers>, ringway_pci::Error> {
        Ok(Arc::new(Untouchable))
    }
    fn msix_vectors(&self) -> u16 {
        self.0.msix_vectors()
    }
    fn set_msix(&self, vectors: &[Arc<OwnedFd>]) -> Result<(), ringway_pci::Error> {
        self.0.set_msix(vectors)
    }
    fn reset(&self) -> Result<bool, ringway_pci::Error> {
        self.0.reset()
    }
}

/// Registers of a device that the driver must not touch.
#[derive(Debug)]
struct Untouchable;

impl Registers for Untouchable {
    fn length(&self) -> u64 {
        0x20000
    }
    fn read8(&self, offset: u64) -> u8 {
        panic!("read at {offset:#x}")
    }
    fn read16(&self, offset: u64) -> u16 {
        panic!("read at {offset:#x}")
    }
    fn read32(&self, offset: u64) -> u32 {
        panic!("read at {offset:#x}")
    }
    fn write8(&self, offset: u64, _value: u8) {
        panic!("written at {offset:#x}")
    }
    fn write16(&self, offset: u64, _value: u16) {
        panic!("written at {offset:#x}")
    }
    fn write32(&self, offset: u64, _value: u32) {
        panic!("written at {offset:#x}")
    }
    fn doorbell(&self, _offset: u64, _width: Width) -> Option<Doorbell> {
        None
    }
}

#[test]
fn an_unknown_device_is_refused_by_name_and_not_touched() {
    for (vendor, id, words) in [
        (0x8086, 0x10ed, ["8086:10ed", "virtual function"]),
        (0x8086, 0x10c6, ["8086:10c6", "82598"]),
        (0x8086, 0x100e, ["8086:100e", "8086:10fb"]),
        (0x15b3, 0x10fb, ["15b3:10fb", "8086:10fb"]),
    ] {
        let setup = Setup::default();
        let space = AddressSpace::emulated();
        let pool = Pool::new(&space, setup.pool).unwrap();
        let (backend, _device) = Ixgbe::create(&space, setup.model.clone());
        let identity = Identity { vendor, device: id, ..backend.identity().clone() };
        let function = Function::new(Box::new(Disguised(backend, identity))).unwrap();
        let message = ringway_ixgbe::open(function, &pool, &setup.port).unwrap_err().to_string();
        assert!(words.iter().all(|word| message.contains(word)), "{message}: {words:?}");
    }
    assert!(ringway_ixgbe::knows(0x8086, 0x10fb));
}

/// The registers turn to all ones at every access of the start in turn: it fails with an error that names the device, and
/// everything is given back.
#[test]
fn a_device_that_goes_at_any_step_of_the_start_leaves_nothing_behind() {
    let setup = Setup {
        port: PortOptions {
            receive_queues: 2,
            transmit_queues: 2,
            receive_ring: 64,
            transmit_ring: 64,
            interrupts: true,
            ..PortOptions::default()
        },
        ..Setup::default()
    };
    let (_space, pool, function, _device, watch) = device(&setup);
    let opened = ringway_ixgbe::open(function, &pool, &setup.port).unwrap();
    let last = watch.record().accesses;
    drop(opened);
    // The module is read bit by bit and filters are cleared one by one: of those every 61st step.
    let steps = (0..=last).filter(|step| step % 61 == 0 || *step < 40 || step + 100 > last);
    for step in steps {
        let (space, pool, function, device, watch) = device(&setup);
        watch.record().turn = Some((step, Answer::Ones));
        let error = ringway_ixgbe::open(function, &pool, &setup.port).unwrap_err();
        assert!(error.to_string().starts_with("emulated:0"), "{step}: {error}");
        assert_eq!((pool.available(), pool.lost()), (pool.buffers(), 0), "step {step}");
        drop(pool);
        assert_eq!(space.usage().bytes, 0, "step {step}");
        assert_eq!(device.faults(), 0);
    }
}

#[test]
fn registers_that_read_zero_end_the_start_in_time() {
    let setup = Setup::default();
    let (_space, pool, function, _device, watch) = device(&setup);
    watch.record().answer = Answer::Zeros;
    let error = ringway_ixgbe::open(function, &pool, &setup.port).unwrap_err();
    assert!(error.to_string().contains("EEPROM"), "{error}");
    assert_eq!(pool.available(), pool.buffers());
}

#[test]
fn each_wait_of_the_start_names_what_did_not_come() {
    for (register, value, words) in [
        (0x0000, 1 << 26, "come out of reset"),
        (0x10010, 0, "EEPROM"),
        (0x2f00, 0, "initialise its DMA"),
        (0x8d04, 0, "receive path"),
        (0x1028, 0, "enable a receive queue"),
        (0x6028, 0, "enable a transmit queue"),
    ] {
        let setup = Setup::default();
        let (space, pool, function, _device, watch) = device(&setup);
        watch.record().forced.insert(register, value);
        let error = ringway_ixgbe::open(function, &pool, &setup.port).unwrap_err();
        assert!(matches!(error, Error::Timeout { .. }), "{error}");
        assert!(error.to_string().contains(words) && error.to_string().contains("emulated:0"), "{error}");
        assert_eq!(pool.available(), pool.buffers(), "{words}");
        drop(pool);
        assert_eq!(space.usage().bytes, 0);
    }
}

#[test]
fn a_device_whose_requests_do_not_end_is_reset_twice() {
    let setup = Setup::default();
    let (space, pool, function, handle, watch) = device(&setup);
    watch.record().forced.insert(0x8, 1 << 19);
    let opened = ringway_ixgbe::open(function, &pool, &setup.port).unwrap();
    assert_eq!(watch.written(0).iter().filter(|value| *value & 1 << 26 != 0).count(), 2);
    watch.record().forced.clear();
    Port::new(opened, handle, watch, pool, space).close();
}

#[test]
fn an_eeprom_without_an_address_is_named() {
    let message = refusal(with(|setup| setup.model.mac = [0xff; 6])).to_string();
    assert!(message.contains("ff:ff:ff:ff:ff:ff") && message.contains("EEPROM"), "{message}");
}

#[test]
fn the_registers_are_set_as_the_datasheet_asks() {
    let port = open(with(|setup| setup.port.receive_ring = 256));
    let read = |register| port.watch.read(register);
    assert_ne!(read(0x18) & (1 << 28), 0, "the firmware is told of the driver (8.2.3.1.3)");
    assert_ne!(read(0x18) & (1 << 16), 0, "no snooping (4.6.7)");
    assert_eq!(read(0x100c) & (1 << 12), 0, "and its counterpart in DCA_RXCTRL (4.6.7)");
    assert_eq!(read(0x2f00) & 0x063e_0002, 0x0600_0002, "RDRXCTL: strip, RSC first size 0, bits 25 and 26");
    assert_eq!(read(0x4240) & 0x407, 0x407, "HLREG0: CRC, strip, jumbo, pad");
    assert_eq!(read(0x4268), 1522 << 16, "MAXFRS counts the FCS, not the tag");
    assert_eq!(read(0x3c00), 448 << 10, "512 KiB but flow director's 64");
    assert_eq!(read(0xcc00), 160 << 10);
    assert_eq!(read(0x4950), 150);
    assert_eq!(read(0x8100), 0xfff);
    assert_eq!(read(0x4900) & (1 << 6), 0, "the arbiter is on again");
    assert_eq!(read(0x1008), 256 * 16);
    assert_eq!(read(0x1014), 1 << 28 | 1 << 25 | 2, "SRRCTL: drop, advanced, 2 KiB");
    assert_eq!(read(0x1018), 255);
    assert_eq!(
        read(0x6028) >> 16 & 0x7f,
        0,
        "TXDCTL.WTHRESH is 0 where reports are asked for singly (7.2.3.5.1)"
    );
    assert_eq!(read(0x5080), 1 << 10, "FCTRL: broadcast");
    let events = port.watch.record().events.clone();
    let place = |wanted: &dyn Fn(&Event) -> bool| events.iter().position(wanted).unwrap();
    let enabled =
        place(&|event| matches!(event, Event::Write { register: 0x1028, value } if value & 1 << 25 != 0));
    let mastering = place(&|event| *event == Event::BusMaster(true));
    let receiving =
        place(&|event| matches!(event, Event::Write { register: 0x3000, value } if value & 1 != 0));
    assert!(mastering < enabled && enabled < receiving);
    port.close();
}

#[test]
fn the_packet_buffer_is_as_large_as_the_generation_has_it() {
    use ringway_model::ixgbe::Personality;
    for (personality, kibibytes) in
        [(Personality::Backplane82599, 448), (Personality::X540, 320), (Personality::X550, 320)]
    {
        let port = open(with(|setup| setup.model.personality = personality));
        assert_eq!(port.watch.read(0x3c00), kibibytes << 10, "{personality:?}");
        port.close();
    }
}
