//! Bringing the device up, in the order of the specification (virtio 1.2, section 3.1.1).
//!
//! Whatever fails on the way: the device is told (FAILED), what was set up goes to the function's keeper, the device is
//! reset, and only then is memory given back.

use super::configuration::{self, Configuration};
use super::control::{self, Command, ControlQueue};
use super::offloads;
use super::port::{Control, Parts};
use super::receive::{self, ReceiveQueue};
use super::steering;
use super::transmit::{self, TransmitQueue};
use crate::transport::{Transport, alive, status};
use crate::{Error, Features, features};
use ringway_packet::Pool;
use ringway_port::{Capabilities, Information, Offloads, Opened, PortOptions, Scaling};
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// The smallest and largest ring (section 4.1.4.3.2: a power of two, at most 32768).
const SIZES: std::ops::RangeInclusive<u32> = 2..=32768;
/// What an Ethernet frame has besides its payload: the header, and with a VLAN tag.
const HEADER: u32 = 14;
pub(super) const TAGGED_HEADER: u32 = 18;
/// What capabilities say something of, whether it is asked for or not.
const READ_BEFORE: Features =
    Features::MTU.and(Features::MULTIQUEUE).and(Features::RSS).and(Features::HASH_REPORT);
/// The longest frame without an MTU: with tag and header it is still shorter than 64 KiB.
const LONGEST: u32 = 65_516;

/// Opens a virtio network device behind any transport.
pub(crate) fn open(
    transport: Arc<dyn Transport>,
    pool: &Pool,
    options: &PortOptions,
) -> Result<Opened, Error> {
    // 1: reset. 2, 3: the driver has noticed the device and knows what it is.
    transport.reset()?;
    transport.set_status(status::ACKNOWLEDGE);
    transport.set_status(status::ACKNOWLEDGE | status::DRIVER);
    // 4 to 8. Step 8 with its words: "if any of these steps goes irrecoverably wrong", the device is told.
    bring_up(&transport, pool, options).map_err(|error| match transport.status() {
        u8::MAX => Error::Gone { device: transport.name().to_owned() },
        status => {
            transport.set_status(status | status::FAILED);
            error
        }
    })
}

fn bring_up(transport: &Arc<dyn Transport>, pool: &Pool, options: &PortOptions) -> Result<Opened, Error> {
    let device = &**transport;
    // 4 to 6: features.
    let (features, capabilities) = agree(device, pool, options)?;
    let configuration = configuration::read(device, features)?;
    let maximum_frame = maximum_frame(device, features, &configuration, pool, options)?;
    let pairs = options.receive_queues.max(options.transmit_queues).max(1);
    if pairs > configuration.queue_pairs {
        return Err(Error::TooFewQueues {
            device: device.name().to_owned(),
            wanted: pairs,
            available: configuration.queue_pairs,
        });
    }

    // 7: queues, and what they raise.
    let scaling = scaling(device, features, &configuration, pairs, options)?;
    let (interrupts, link_interrupt) = connect_interrupts(device, pairs, features, options.interrupts)?;
    let (mut receive, mut transmit) = (Vec::new(), Vec::new());
    for pair in 0..pairs {
        // At most 0x7fff pairs: see `configuration`.
        let (index, counter) = (pair.wrapping_mul(2), interrupts.get(usize::from(pair)).cloned());
        let start = receive::Start {
            index,
            size: queue_size(device, index, options.receive_ring)?,
            pool,
            features,
            interrupt: counter.map(|counter| (pair, counter)),
        };
        receive.push(ReceiveQueue::start(transport, start)?);
        let index = index.wrapping_add(1);
        let start = transmit::Start {
            index,
            size: queue_size(device, index, options.transmit_ring)?,
            pool,
            features,
            longest: configuration.mtu.map_or(LONGEST, |mtu| u32::from(mtu).wrapping_add(HEADER)),
        };
        transmit.push(TransmitQueue::start(transport, start)?);
    }
    let mut control = if features.contains(Features::CONTROL_QUEUE) {
        // Section 5.1.2: behind the pairs that the device has, not those in use.
        let index = configuration.queue_pairs.wrapping_mul(2);
        queue_size(device, index, control::SIZE.into())?;
        Some(ControlQueue::start(transport, index, features.contains(Features::EVENT_INDEX))?)
    } else {
        None
    };

    // 8: the device is live.
    device.enable_dma()?;
    device.set_status(status::ACKNOWLEDGE | status::DRIVER | status::FEATURES_OK | status::DRIVER_OK);
    alive(device)?;
    receive.iter_mut().for_each(ReceiveQueue::publish);
    if let Some(control) = &mut control {
        command(device, control, features, &configuration, pairs, scaling.as_ref())?;
    }

    let mut information = Information::new(
        device.name().to_owned(),
        "virtio-net",
        "virtio network device".to_owned(),
        configuration.mac,
    );
    information.numa_node = device.numa_node();
    information.features = features.names();
    information.maximum_frame = maximum_frame;
    let port = Control::new(Parts {
        transport: Arc::clone(transport),
        features,
        capabilities,
        filters_vlans: options.offloads.contains(Offloads::VLAN_FILTER),
        information,
        scaling,
        link_interrupt,
        control,
        receive: receive.iter().map(|queue| Arc::clone(queue.counters())).collect(),
        transmit: transmit.iter().map(|queue| Arc::clone(queue.counters())).collect(),
    });
    Ok(Opened {
        control: Box::new(port),
        receive: receive.into_iter().map(|queue| Box::new(queue) as _).collect(),
        transmit: transmit.into_iter().map(|queue| Box::new(queue) as _).collect(),
    })
}

/// Tells the device how it shall begin, now that it is live.
fn command(
    device: &dyn Transport,
    control: &mut ControlQueue,
    features: Features,
    configuration: &Configuration,
    pairs: u16,
    scaling: Option<&Scaling>,
) -> Result<(), Error> {
    let has = |feature| features.contains(feature);
    // Section 5.1.6.5.5: how many pairs are in use is a part of how flows are spread over them.
    match scaling {
        Some(scaling) if has(Features::RSS) => {
            control.execute(device, Command::SCALING, &steering::rss_command(scaling, pairs))?;
        }
        _ if has(Features::MULTIQUEUE) => {
            control.execute(device, Command::QUEUE_PAIRS, &pairs.to_le_bytes())?;
        }
        _ => {}
    }
    if let Some(scaling) = scaling.filter(|_| !has(Features::RSS)) {
        control.execute(device, Command::HASH, &steering::hash_command(scaling))?;
    }
    // Section 5.1.5: an address that the driver made up is the device's too, or it would filter by another.
    if configuration.mac_is_made_up && has(Features::CONTROL_MAC) {
        control.execute(device, Command::ADDRESS, &configuration.mac.0)?;
    }
    // Section 5.1.6.5.1: a device with receive modes may start in any; without, it receives everything.
    if has(Features::CONTROL_RECEIVE) {
        control.execute(device, Command::PROMISCUOUS, &[0])?;
    }
    Ok(())
}

/// How flows are spread and hashed, if the device does either.
fn scaling(
    device: &dyn Transport,
    features: Features,
    configuration: &Configuration,
    pairs: u16,
    options: &PortOptions,
) -> Result<Option<Scaling>, Error> {
    let Some(hash) = configuration.hash else { return Ok(None) };
    if let Some(scaling) = options.scaling.as_ref().filter(|_| features.contains(Features::RSS)) {
        steering::check(device.name(), scaling, steering::limits(hash, pairs))?;
        return Ok(Some(scaling.clone()));
    }
    Ok(Some(steering::default(hash, pairs)))
}

/// Agrees on features with the device. Gives them, and what it could do.
fn agree(
    transport: &dyn Transport,
    pool: &Pool,
    options: &PortOptions,
) -> Result<(Features, Capabilities), Error> {
    let mut offered = features::usable(transport.offered());
    if !transport.can_reset_queues() {
        offered = offered.without(Features::RING_RESET);
    }
    let asked = offloads::asked(transport.name(), offered, options)?;
    let mut features = features::agree(transport.name(), offered, asked, !transport.is_emulated())?;
    // Section 3.1.1: the configuration may be read before, to see whether the driver can do what it says.
    let before = configuration::read(transport, offered.common(READ_BEFORE))?;
    let longest_frame = offloads::longest_frame(offered, &before, pool, LONGEST);
    let capabilities = offloads::capabilities(offered, &before, longest_frame);
    let mtu = before.mtu;
    if !features.contains(Features::MERGEABLE_BUFFERS)
        && mtu.is_some_and(|mtu| u32::from(mtu).saturating_add(TAGGED_HEADER) > pool.packet_capacity())
    {
        // Section 5.1.4.2: who accepts an MTU has buffers for it. A device without keeps longer frames to itself.
        features = features.without(Features::MTU);
    }
    transport.accept(features);
    transport.set_status(status::ACKNOWLEDGE | status::DRIVER | status::FEATURES_OK);
    match transport.status() {
        u8::MAX => Err(Error::Gone { device: transport.name().to_owned() }),
        status if status & status::FEATURES_OK != 0 => Ok((features, capabilities)),
        _ => Err(Error::FeaturesRefused { device: transport.name().to_owned(), features: features.names() }),
    }
}

/// The longest frame that can be received, at least as long as asked for, unless the device has none so long.
fn maximum_frame(
    transport: &dyn Transport,
    features: Features,
    configuration: &Configuration,
    pool: &Pool,
    options: &PortOptions,
) -> Result<u32, Error> {
    let room = if features.contains(Features::MERGEABLE_BUFFERS) { u32::MAX } else { pool.packet_capacity() };
    if options.maximum_frame > room {
        return Err(Error::NotOffered {
            device: transport.name().to_owned(),
            what: "receiving frames that are longer than a buffer of the pool",
            feature: "VIRTIO_NET_F_MRG_RXBUF",
            instead: "; use larger buffers or ask for shorter frames (QEMU: mrg_rxbuf=on)",
        });
    }
    let longest = configuration.mtu.map(|mtu| u32::from(mtu).saturating_add(TAGGED_HEADER));
    Ok(longest.unwrap_or(options.maximum_frame).min(room))
}

/// Counters of the receive queues, and that of the link.
type Counters = (Vec<Arc<OwnedFd>>, Option<Arc<OwnedFd>>);

/// One counter a receive queue, and behind them one for the link if the device says when it changes and has a vector for
/// that; all connected in one call.
fn connect_interrupts(
    transport: &dyn Transport,
    pairs: u16,
    features: Features,
    wanted: bool,
) -> Result<Counters, Error> {
    if !wanted {
        return Ok((Vec::new(), None));
    }
    // At most 0x7fff pairs: see `configuration`.
    let changes = (features.contains(Features::STATUS) && transport.vectors() > pairs).then_some(pairs);
    let count = pairs.wrapping_add(changes.is_some().into());
    let mut counters = (0..count).map(|_| ringway_pci::event_counter()).collect::<Result<Vec<_>, _>>()?;
    transport.connect_interrupts(&counters, changes)?;
    let link = changes.and_then(|_| counters.pop());
    Ok((counters, link))
}

/// The size of a queue: as wanted, or the largest that the device can.
fn queue_size(transport: &dyn Transport, queue: u16, wanted: u32) -> Result<u16, Error> {
    let maximum = transport.queue_maximum(queue);
    if maximum == 0 {
        return Err(Error::Protocol {
            device: transport.name().to_owned(),
            what: format!("it has no queue {queue}"),
            section: "5.1.2",
        });
    }
    let refused = || Error::RingSize { device: transport.name().to_owned(), queue, wanted, maximum };
    if !wanted.is_power_of_two() || !SIZES.contains(&wanted) {
        return Err(refused());
    }
    // What the device can't is not asked of it: QEMU's receive rings have 256 unless told otherwise.
    let largest = maximum.checked_ilog2().and_then(|power| 1u16.checked_shl(power)).unwrap_or(0);
    u16::try_from(wanted.min(largest.into())).ok().filter(|&size| size >= 2).ok_or_else(refused)
}
