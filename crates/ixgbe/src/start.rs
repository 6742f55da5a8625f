//! Bringing the device up, in the order of the datasheet (82599 datasheet, section 4.6.3).
//!
//! Whatever fails on the way: rings and buffers are with their keeper, the device is stopped and reset when the last
//! handle goes (`running`), and only then is memory given back.

use crate::capabilities::{FCS, LARGEST_FRAME};
use crate::clock::SharedClock;
use crate::devices::{Device, Mac, Media};
use crate::interrupts::Interrupt;
use crate::port::Control;
use crate::receive::ReceiveQueue;
use crate::registers::{self as register, Registers};
use crate::running::Running;
use crate::scaling::Spreading;
use crate::statistics::Totals;
use crate::telling::TellingQueue;
use crate::told::Wanted;
use crate::transmit::TransmitQueue;
use crate::{
    Error, capabilities, director, filters, interrupts, link, pause, reset, sfp, statistics, steering, wait,
};
use ringway_dma::{Descriptor, Placement, Ring, RingBase, RingMemory};
use ringway_packet::Pool;
use ringway_pci::{Function, Width};
use ringway_port::{Information, Offloads, Opened, Pause, PortOptions};
use std::sync::Arc;
use std::time::Duration;

const DESCRIPTOR_BYTES: usize = size_of::<Descriptor>();
/// Queues come up within microseconds, where descriptors can be fetched.
const QUEUE_LIMIT: Duration = Duration::from_millis(100);
const SECURITY_LIMIT: Duration = Duration::from_millis(100);
/// A VLAN tag comes on top of the longest frame (section 8.2.3.22.13).
const TAG: u32 = 4;
/// Takes the device from whatever it was doing to receiving and sending.
pub(crate) fn open(
    function: Function,
    device: Device,
    pool: &Pool,
    options: &PortOptions,
) -> Result<Opened, Error> {
    capabilities::check(function.name(), device, options)?;
    let mut spreading = Spreading::even(device.mac, options.receive_queues);
    let scaling = options.scaling.clone().unwrap_or_else(|| spreading.now().clone());
    spreading.check(function.name(), &scaling)?;
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
    statistics::map_queues(registers);
    Totals::clear(registers);

    initialise_receive(name, registers, device.mac, options)?;
    // One queue needs no hash, unless the program wants it.
    let is_hashed = options.offloads.contains(Offloads::HASH) || options.scaling.is_some();
    if options.receive_queues > 1 || is_hashed {
        spreading.apply(registers, &scaling);
    }
    filters::initialise(registers, information.mac, options.offloads.contains(Offloads::VLAN_FILTER));
    initialise_transmit(registers);
    steering::clear(name, registers)?;
    let interrupts = interrupts::connect(&running, options)?;

    // The device must reach memory before it fetches descriptors (section 4.6.7: enabling a queue does).
    running.function.set_bus_master(true)?;
    let mut rings = Rings::allocate(&running.function, options)?;
    let mut receive = Vec::new();
    for (queue, interrupt) in (0..u64::from(options.receive_queues)).zip(interrupts.queues) {
        receive.push(start_receive(&running, queue, options, pool, &mut rings, interrupt)?);
    }
    let mut transmit = Vec::new();
    for queue in 0..u64::from(options.transmit_queues) {
        transmit.push(start_transmit(&running, queue, options, pool, &mut rings)?);
    }
    enable_receive(name, registers)?;
    pause::set(registers, device.mac, options.receive_queues, Pause::default());
    let clock = SharedClock::start(&running, device.mac);
    if options.offloads.contains(Offloads::TIMESTAMP) {
        clock.stamp_packets();
    }
    // The firmware hands the port over (section 8.2.3.1.3).
    registers.set(register::CTRL_EXT, register::CTRL_EXT_DRIVER_LOADED);
    if registers.is_gone() {
        return Err(Error::Gone { device: name.to_owned() });
    }

    let counters = (
        receive.iter().map(|queue| Arc::clone(queue.counters())).collect(),
        transmit.iter().map(|queue| Arc::clone(queue.counters())).collect(),
    );
    let wanted = Wanted::new(options.offloads, device.mac, &clock);
    let control = Control::new(
        Arc::clone(&running),
        (device, options),
        module,
        information,
        counters,
        (spreading, clock),
        interrupts.link,
    );
    Ok(Opened {
        control: Box::new(control),
        receive: receive.into_iter().map(|queue| boxed(queue, wanted.clone())).collect(),
        transmit: transmit.into_iter().map(|queue| Box::new(queue) as _).collect(),
    })
}

/// A queue for the program: the plain one where nothing is wanted but packets.
fn boxed(queue: ReceiveQueue, wanted: Option<Wanted>) -> Box<dyn ringway_port::ReceiveQueue> {
    match wanted {
        Some(wanted) => Box::new(TellingQueue::new(queue, wanted)),
        None => Box::new(queue),
    }
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
    // One traffic class: it has the whole packet buffer, but what flow director needs of it.
    registers.write(register::rxpbsize(0), director::packet_buffer(mac) << register::RXPBSIZE_SHIFT);
    for buffer in 1..register::PACKET_BUFFERS {
        registers.write(register::rxpbsize(buffer), 0);
    }
    // Without the FCS, in both places (section 7.1.1.3), and no receive side coalescing (section 4.6.7.2).
    registers.set(register::HLREG0, register::HLREG0_RECEIVE_CRC_STRIP | register::HLREG0_JUMBO);
    registers.write(register::MAXFRS, options.maximum_frame.saturating_add(FCS) << register::MAXFRS_SHIFT);
    registers.set(register::RDRXCTL, register::RDRXCTL_CRC_STRIP | register::RDRXCTL_MUST_BE_ONE);
    registers.clear(register::RDRXCTL, register::RDRXCTL_RSC_FIRST_SIZE);
    Ok(())
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
    if options.offloads.contains(Offloads::VLAN_STRIP) {
        registers.set(register::rxdctl(queue), register::RXDCTL_VLAN_STRIP);
    }
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
    let (base, mut ring) = rings.ring(options.transmit_ring)?;
    // Contexts are no addresses (section 7.2.3.2.3): where one could be taken for memory, there are none.
    let told = options.offloads.both(capabilities::all(&capabilities::TOLD_TO_THE_DEVICE));
    if let Some(feature) = told.names().next()
        && !ring.allow_numbers()
    {
        let reason =
            "it needs I/O addresses above 4 GiB for all memory, which this IOMMU doesn't give".to_owned();
        return Err(Error::Unsupported { device: name.to_owned(), feature, reason });
    }
    let tail = registers.0.doorbell(name, register::tdt(queue), Width::Double)?;
    let driver = TransmitQueue::new(running, ring, tail, std::slice::from_ref(pool), told)?;
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
