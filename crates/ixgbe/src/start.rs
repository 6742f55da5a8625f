//! Bringing the device up, in the order of the datasheet (82599 datasheet, section 4.6.3).
//!
//! Whatever fails on the way: rings and buffers are with their keeper, the device is stopped and reset when the last
//! handle goes (`running`), and only then is memory given back.

use crate::devices::{Device, Mac, Media};
use crate::port::Control;
use crate::receive::{Interrupt, ReceiveQueue};
use crate::registers::{self as register, Registers};
use crate::running::Running;
use crate::statistics::Totals;
use crate::transmit::TransmitQueue;
use crate::{Error, filters, link, reset, sfp, wait};
use ringway_dma::{Descriptor, Placement, Ring, RingBase, RingMemory};
use ringway_packet::Pool;
use ringway_pci::{Function, Width};
use ringway_port::{Information, Opened, PortOptions};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

/// The rings that the driver makes: the device takes multiples of 8 up to 8192 (section 7.1.9); of these the powers of
/// two that hold a few reports.
const RING_SIZES: RangeInclusive<u32> = 64..=4096;
const DESCRIPTOR_BYTES: usize = size_of::<Descriptor>();
/// Queues that RSS reaches (section 7.1.2.8.1).
const RSS_QUEUES: u16 = 16;
/// Queues come up within microseconds, where descriptors can be fetched.
const QUEUE_LIMIT: Duration = Duration::from_millis(100);
const SECURITY_LIMIT: Duration = Duration::from_millis(100);
/// The shortest that a longest frame may be.
const ORDINARY_FRAME: u32 = 1514;
/// What a MAC of the family takes (section 8.2.3.22.13).
const LARGEST_FRAME: u32 = 9728;
const FCS: u32 = 4;
/// A VLAN tag comes on top of the longest frame (section 8.2.3.22.13).
const TAG: u32 = 4;
/// Interrupts come at most this often a queue, until told otherwise.
const MODERATION_MICROSECONDS: u32 = 20;

/// The key that Microsoft's specification of receive side scaling verifies implementations with.
const RSS_KEY: [u8; 40] = [
    0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3, 0x8f, 0xb0, 0xd0,
    0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30, 0xf2, 0x0c, 0x6a, 0x42,
    0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa,
];

/// Takes the device from whatever it was doing to receiving and sending.
pub(crate) fn open(
    function: Function,
    device: Device,
    pool: &Pool,
    options: &PortOptions,
) -> Result<Opened, Error> {
    check(function.name(), options)?;
    let registers = Registers(function.bar(0, 0, register::LENGTH)?);
    let running = Arc::new(Running { registers, function });
    let (name, registers) = (running.name(), &running.registers);

    reset::reset(name, registers)?;
    reset::wait_for_initialisation(name, registers)?;
    let mut information =
        Information::new(name.to_owned(), "ixgbe", device.name.to_owned(), reset::address(name, registers)?);
    information.numa_node = running.function.identity().numa_node;
    information.maximum_frame = options.maximum_frame;
    // X540 and X550 keep their words behind other locks, and tell nothing else that is needed here.
    if device.mac == Mac::I82599 {
        information.firmware = Some(reset::firmware(name, registers)?);
    }
    let module = if device.media == Media::Fibre { take_module(name, registers)? } else { None };
    if let Some(module) = &module {
        information.model = format!("{} with {module}", device.name);
    }
    link::bring_up(registers, device, module.as_ref());
    Totals::clear(registers);

    initialise_receive(name, registers, device.mac, options)?;
    filters::initialise(registers, information.mac);
    initialise_transmit(registers);
    let interrupts = connect_interrupts(&running, options)?;

    // The device must reach memory before it fetches descriptors (section 4.6.7: enabling a queue does).
    running.function.set_bus_master(true)?;
    let mut rings = Rings::allocate(&running.function, options)?;
    let mut receive = Vec::new();
    for (queue, interrupt) in (0..u64::from(options.receive_queues)).zip(interrupts) {
        receive.push(start_receive(&running, queue, options, pool, &mut rings, interrupt)?);
    }
    let mut transmit = Vec::new();
    for queue in 0..u64::from(options.transmit_queues) {
        transmit.push(start_transmit(&running, queue, options, pool, &mut rings)?);
    }
    enable_receive(name, registers)?;
    // The firmware hands the port over (section 8.2.3.1.3).
    registers.set(register::CTRL_EXT, register::CTRL_EXT_DRIVER_LOADED);
    if registers.is_gone() {
        return Err(Error::Gone { device: name.to_owned() });
    }

    let counters = (
        receive.iter().map(|queue| Arc::clone(queue.counters())).collect(),
        transmit.iter().map(|queue| Arc::clone(queue.counters())).collect(),
    );
    Ok(Opened {
        control: Box::new(Control::new(running, device, module, information, counters)),
        receive: receive.into_iter().map(|queue| Box::new(queue) as _).collect(),
        transmit: transmit.into_iter().map(|queue| Box::new(queue) as _).collect(),
    })
}

/// The module in the cage, set up. One that can't be read is no reason not to open the port: the link says so.
fn take_module(name: &str, registers: &Registers) -> Result<Option<sfp::Module>, Error> {
    match sfp::identify(name, registers) {
        Ok(Some(module)) => {
            sfp::set_up(name, registers, &module)?;
            Ok(Some(module))
        }
        Err(Error::Module { .. }) => Ok(None),
        other => other,
    }
}

fn check(device: &str, options: &PortOptions) -> Result<(), Error> {
    for (direction, wanted, available) in
        [("receive", options.receive_queues, RSS_QUEUES), ("transmit", options.transmit_queues, 64)]
    {
        if wanted == 0 || wanted > available {
            return Err(Error::Queues { device: device.to_owned(), direction, wanted, available });
        }
    }
    if !(ORDINARY_FRAME..=LARGEST_FRAME - FCS).contains(&options.maximum_frame) {
        return Err(Error::FrameSize { device: device.to_owned(), wanted: options.maximum_frame });
    }
    for wanted in [options.receive_ring, options.transmit_ring] {
        if !wanted.is_power_of_two() || !RING_SIZES.contains(&wanted) {
            return Err(Error::RingSize { device: device.to_owned(), wanted });
        }
    }
    Ok(())
}

/// How much of a buffer the device may fill, in units of 1 KiB (section 8.2.3.8.7). A buffer without its headroom is no
/// whole number of them. Where one buffer holds the longest frame that the MAC lets through, and its tag, it is rounded up:
/// the device never gets as far. Where not, it is rounded down, and longer frames take several buffers.
fn buffer_kibibytes(pool: &Pool, options: &PortOptions) -> u32 {
    let capacity = pool.packet_capacity();
    if options.maximum_frame.saturating_add(TAG) <= capacity {
        capacity.div_ceil(1024)
    } else {
        capacity / 1024
    }
}

/// Section 4.6.7, up to the queues.
fn initialise_receive(
    device: &str,
    registers: &Registers,
    mac: Mac,
    options: &PortOptions,
) -> Result<(), Error> {
    disable_receive(device, registers)?;
    // One traffic class: it has the whole packet buffer.
    registers.write(register::rxpbsize(0), mac.receive_buffer() << register::RXPBSIZE_SHIFT);
    for buffer in 1..register::PACKET_BUFFERS {
        registers.write(register::rxpbsize(buffer), 0);
    }
    // Without the FCS, in both places (section 7.1.1.3), and no receive side coalescing (section 4.6.7.2).
    registers.set(register::HLREG0, register::HLREG0_RECEIVE_CRC_STRIP | register::HLREG0_JUMBO);
    registers.write(register::MAXFRS, options.maximum_frame.saturating_add(FCS) << register::MAXFRS_SHIFT);
    registers.set(register::RDRXCTL, register::RDRXCTL_CRC_STRIP | register::RDRXCTL_MUST_BE_ONE);
    registers.clear(register::RDRXCTL, register::RDRXCTL_RSC_FIRST_SIZE);
    initialise_rss(registers, mac, options.receive_queues);
    Ok(())
}

/// Spreads flows over the queues (section 7.1.2.8).
fn initialise_rss(registers: &Registers, mac: Mac, queues: u16) {
    if queues < 2 {
        registers.write(register::MRQC, 0);
        return;
    }
    registers.set(register::RXCSUM, register::RXCSUM_HASH_IN_DESCRIPTOR);
    for (word, bytes) in (0u64..).zip(RSS_KEY.as_chunks().0) {
        registers.write(register::rssrk(word), u32::from_le_bytes(*bytes));
    }
    // The X550's table is four times as long, and all of it counts.
    let longer = if mac == Mac::X550 { register::ERETA_WORDS } else { 0 };
    let words = (0..register::RETA_WORDS).map(register::reta).chain((0..longer).map(register::ereta));
    for (word, place) in words.enumerate() {
        let entries: [u8; 4] = std::array::from_fn(|entry| ((word * 4 + entry) % usize::from(queues)) as u8);
        registers.write(place, u32::from_le_bytes(entries));
    }
    registers.write(register::MRQC, register::MRQC_RSS | register::MRQC_FIELDS);
}

/// Section 4.6.8, up to the queues.
fn initialise_transmit(registers: &Registers) {
    registers.set(register::HLREG0, register::HLREG0_TRANSMIT_CRC | register::HLREG0_TRANSMIT_PAD);
    registers.set(register::RTTDCS, register::RTTDCS_ARBITER_DISABLE);
    registers.write(register::txpbsize(0), register::TXPBSIZE_ALL);
    // In KiB: all but the largest frame (section 8.2.3.9.16).
    registers.write(register::txpbthresh(0), (register::TXPBSIZE_ALL - LARGEST_FRAME) >> 10);
    for buffer in 1..register::PACKET_BUFFERS {
        registers.write(register::txpbsize(buffer), 0);
        registers.write(register::txpbthresh(buffer), 0);
    }
    registers.write(register::DTXMXSZRQ, register::DTXMXSZRQ_WITHOUT_DCB);
    registers.clear(register::RTTDCS, register::RTTDCS_ARBITER_DISABLE);
    registers.set(register::DMATXCTL, register::DMATXCTL_ENABLE);
}

/// A vector a receive queue, all connected in one call (section 7.3.4.3).
fn connect_interrupts(
    running: &Arc<Running>,
    options: &PortOptions,
) -> Result<Vec<Option<Interrupt>>, Error> {
    let queues = u64::from(options.receive_queues);
    if !options.interrupts {
        return Ok((0..queues).map(|_| None).collect());
    }
    let registers = &running.registers;
    let counters = (0..queues).map(|_| ringway_pci::event_counter()).collect::<Result<Vec<_>, _>>()?;
    running.function.set_msix(&counters)?;
    registers.write(register::GPIE, register::GPIE_MULTIPLE_MSIX | register::GPIE_PBA_SUPPORT);
    let mut automatic = 0;
    let connected = (0u64..).zip(counters).map(|(queue, counter)| {
        // Two queues a register, receive and transmit a byte each: only receiving interrupts.
        let shift = (queue % 2) * 16;
        let entry = (register::IVAR_VALID | queue as u32) << shift;
        let others = registers.read(register::ivar(queue / 2)) & !(0xffff << shift);
        registers.write(register::ivar(queue / 2), others | entry);
        registers.write(register::eitr(queue), register::eitr_interval(MODERATION_MICROSECONDS));
        let bit = 1u32 << (queue % 32);
        automatic |= bit;
        Some(Interrupt { running: Arc::clone(running), bit, counter })
    });
    let connected = connected.collect();
    // A cause clears itself when its interrupt is sent.
    registers.write(register::EIAC, automatic);
    Ok(connected)
}

/// The memory of all rings, in one mapping.
struct Rings {
    memory: RingMemory,
    device: String,
}

impl Rings {
    fn allocate(function: &Function, options: &PortOptions) -> Result<Self, Error> {
        let device = function.name().to_owned();
        let bytes = |count: u32| count as usize * DESCRIPTOR_BYTES;
        let mut blocks = vec![bytes(options.receive_ring); usize::from(options.receive_queues)];
        blocks.resize(blocks.len() + usize::from(options.transmit_queues), bytes(options.transmit_ring));
        let placement = Placement { numa_node: function.identity().numa_node, ..Placement::default() };
        let memory = RingMemory::allocate(function.address_space(), placement, &blocks)
            .map_err(|source| Error::Dma { device: device.clone(), source })?;
        Ok(Self { memory, device })
    }

    /// The next ring, and where the device finds it.
    fn ring(&mut self, count: u32) -> Result<(RingBase, Ring<Descriptor>), Error> {
        let mut take = || {
            let block = self.memory.block(count as usize * DESCRIPTOR_BYTES)?;
            Ok((block.base(0)?, block.ring(0, count)?))
        };
        take().map_err(|source| Error::Dma { device: self.device.clone(), source })
    }
}

/// Section 4.6.7.1: one receive queue. Its ring and buffers have their keeper before the device is told of them.
fn start_receive(
    running: &Arc<Running>,
    queue: u64,
    options: &PortOptions,
    pool: &Pool,
    rings: &mut Rings,
    interrupt: Option<Interrupt>,
) -> Result<ReceiveQueue, Error> {
    let (name, registers) = (running.name(), &running.registers);
    let (base, ring) = rings.ring(options.receive_ring)?;
    let tail = registers.0.doorbell(name, register::rdt(queue), Width::Double)?;
    let driver = ReceiveQueue::new(running, ring, tail, pool, interrupt)?;
    registers.0.write_ring_base(register::rdbal(queue), register::rdbah(queue), base);
    registers.write(register::rdlen(queue), options.receive_ring * DESCRIPTOR_BYTES as u32);
    // A full ring drops its own packets, and doesn't hold up the other queues.
    registers.write(
        register::srrctl(queue),
        register::SRRCTL_ADVANCED_ONE_BUFFER | register::SRRCTL_DROP_ENABLE | buffer_kibibytes(pool, options),
    );
    registers.write(register::rdh(queue), 0);
    registers.write(register::rdt(queue), 0);
    // Memory is coherent without the device asking for it; CTRL_EXT says so too (section 4.6.7).
    registers.clear(register::dca_rxctrl(queue), register::DCA_RXCTRL_NO_SNOOP);
    enable_queue(name, registers, register::rxdctl(queue), "enable a receive queue")?;
    driver.publish();
    Ok(driver)
}

/// Section 4.6.8.1: one transmit queue.
fn start_transmit(
    running: &Arc<Running>,
    queue: u64,
    options: &PortOptions,
    pool: &Pool,
    rings: &mut Rings,
) -> Result<TransmitQueue, Error> {
    let (name, registers) = (running.name(), &running.registers);
    let (base, ring) = rings.ring(options.transmit_ring)?;
    let tail = registers.0.doorbell(name, register::tdt(queue), Width::Double)?;
    let driver = TransmitQueue::new(running, ring, tail, std::slice::from_ref(pool))?;
    registers.0.write_ring_base(register::tdbal(queue), register::tdbah(queue), base);
    registers.write(register::tdlen(queue), options.transmit_ring * DESCRIPTOR_BYTES as u32);
    registers.write(register::tdh(queue), 0);
    registers.write(register::tdt(queue), 0);
    // Descriptors are fetched in groups and reported one by one: a report that is asked for must come at once
    // (section 7.2.3.5.1: prefetch 36, host 8, write-back 0).
    registers.write(register::txdctl(queue), 36 | (8 << 8));
    enable_queue(name, registers, register::txdctl(queue), "enable a transmit queue")?;
    Ok(driver)
}

/// Sets a queue's enable bit and waits until the device has taken it.
fn enable_queue(device: &str, registers: &Registers, control: u64, what: &'static str) -> Result<(), Error> {
    registers.set(control, register::QUEUE_ENABLE);
    wait::until(device, registers, what, QUEUE_LIMIT, || {
        registers.read(control) & register::QUEUE_ENABLE != 0
    })
}

/// Receiving starts and stops with the security block's receive path empty (section 4.6.7).
fn with_receive_path_empty(device: &str, registers: &Registers, change: impl FnOnce()) -> Result<(), Error> {
    registers.set(register::SECRXCTRL, register::SECRXCTRL_RECEIVE_DISABLE);
    wait::until(device, registers, "empty its receive path", SECURITY_LIMIT, || {
        registers.read(register::SECRXSTAT) & register::SECRXSTAT_READY != 0
    })?;
    change();
    registers.clear(register::SECRXCTRL, register::SECRXCTRL_RECEIVE_DISABLE);
    Ok(())
}

fn disable_receive(device: &str, registers: &Registers) -> Result<(), Error> {
    with_receive_path_empty(device, registers, || registers.clear(register::RXCTRL, register::RXCTRL_ENABLE))
}

fn enable_receive(device: &str, registers: &Registers) -> Result<(), Error> {
    // Memory is coherent without the device asking for it (section 4.6.7).
    registers.set(register::CTRL_EXT, register::CTRL_EXT_NO_SNOOP_DISABLE);
    with_receive_path_empty(device, registers, || registers.set(register::RXCTRL, register::RXCTRL_ENABLE))
}
