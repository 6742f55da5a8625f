//! Bringing the device up, in the order of the specification (virtio 1.2, section 3.1.1).
//!
//! Whatever fails on the way: what was set up goes to the function's keeper, the device is reset, and only then is
//! memory given back.

use super::configuration::{self, Configuration};
use super::control::{COMMAND_WORDS, Command, ControlQueue};
use super::port::Control;
use super::receive::ReceiveQueue;
use super::transmit::{TABLE, TransmitQueue};
use crate::ring::{Areas, SplitRing};
use crate::transport::{Transport, status};
use crate::{Error, Features, features};
use ringway_dma::Kept;
use ringway_packet::Pool;
use ringway_port::{Information, Opened, PortOptions};
use std::sync::Arc;

/// Sizes of the control queue's descriptor table: one command of two descriptors at a time.
const CONTROL_SIZE: u16 = 2;
/// The smallest and largest ring (section 4.1.4.3.2: a power of two, at most 32768).
const SIZES: std::ops::RangeInclusive<u32> = 2..=32768;

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

    // 4 to 6: features.
    let features = agree(&*transport)?;
    let configuration = configuration::read(&*transport, features)?;
    let pairs = options.receive_queues.max(options.transmit_queues).max(1);
    if pairs > configuration.queue_pairs {
        return Err(Error::TooFewQueues {
            device: transport.name().to_owned(),
            wanted: pairs,
            available: configuration.queue_pairs,
        });
    }

    // 7: queues, and what they raise.
    let interrupts = connect_interrupts(&*transport, pairs, options.interrupts)?;
    let event_index = features.contains(Features::EVENT_INDEX);
    let mut receive = Vec::new();
    let mut transmit = Vec::new();
    for pair in 0..pairs {
        let counter = interrupts.get(usize::from(pair)).cloned();
        let vector = counter.is_some().then_some(pair);
        let size = queue_size(&*transport, pair * 2, options.receive_ring)?;
        let (areas, _memory) =
            Areas::allocate(&*transport, size, &[]).map_err(Error::dma(transport.name()))?;
        let ring = SplitRing::start(&*transport, pair * 2, &areas, event_index, vector)?;
        let mergeable = features.contains(Features::MERGEABLE_BUFFERS);
        let mut queue = ReceiveQueue::new(Arc::clone(&transport), ring, pool, mergeable, counter)?;
        queue.fill()?;
        receive.push(queue);
        transmit.push(transmit_queue(&transport, pair * 2 + 1, options.transmit_ring, pool, features)?);
    }
    let mut control = if features.contains(Features::CONTROL_QUEUE) {
        Some(control_queue(&transport, configuration.queue_pairs, event_index)?)
    } else {
        None
    };

    // 8: the device is live.
    transport.enable_dma()?;
    transport.set_status(status::ACKNOWLEDGE | status::DRIVER | status::FEATURES_OK | status::DRIVER_OK);
    if transport.status() & status::DEVICE_NEEDS_RESET != 0 {
        return Err(Error::Protocol {
            device: transport.name().to_owned(),
            what: "it needs a reset as soon as it is live".to_owned(),
            section: "2.1.2",
        });
    }
    receive.iter_mut().for_each(ReceiveQueue::publish);
    if let Some(control) = control.as_mut().filter(|_| features.contains(Features::MULTIQUEUE)) {
        control.execute(transport.name(), Command::QUEUE_PAIRS, &pairs.to_le_bytes())?;
    }
    // Section 5.1.6.5.1: a device with receive modes may start in any; without, it receives everything.
    let modes = features.contains(Features::CONTROL_RECEIVE);
    if let Some(control) = control.as_mut().filter(|_| modes) {
        control.execute(transport.name(), Command::PROMISCUOUS, &[0])?;
    }
    Ok(opened(transport, features, configuration, control, receive, transmit))
}

fn agree(transport: &dyn Transport) -> Result<Features, Error> {
    let refused = |error| {
        transport.set_status(status::FAILED);
        error
    };
    let features =
        features::agree(transport.name(), transport.offered(), !transport.is_emulated()).map_err(refused)?;
    transport.accept(features);
    let wanted = status::ACKNOWLEDGE | status::DRIVER | status::FEATURES_OK;
    transport.set_status(wanted);
    match transport.status() {
        u8::MAX => Err(Error::Gone { device: transport.name().to_owned() }),
        status if status & status::FEATURES_OK != 0 => Ok(features),
        _ => Err(refused(Error::FeaturesRefused {
            device: transport.name().to_owned(),
            features: features.names(),
        })),
    }
}

/// One counter a receive queue, all connected in one call.
fn connect_interrupts(
    transport: &dyn Transport,
    pairs: u16,
    wanted: bool,
) -> Result<Vec<Arc<std::os::fd::OwnedFd>>, Error> {
    if !wanted {
        return Ok(Vec::new());
    }
    let counters = (0..pairs).map(|_| ringway_pci::event_counter()).collect::<Result<Vec<_>, _>>()?;
    transport.connect_interrupts(&counters)?;
    Ok(counters)
}

fn queue_size(transport: &dyn Transport, queue: u16, wanted: u32) -> Result<u16, Error> {
    let maximum = transport.queue_maximum(queue);
    let refused = || Error::RingSize { device: transport.name().to_owned(), queue, wanted, maximum };
    if !wanted.is_power_of_two() || !SIZES.contains(&wanted) {
        return Err(refused());
    }
    // What the device can't is not asked of it: QEMU's receive rings have 256 unless told otherwise.
    let largest =
        1u32.checked_shl(u32::from(maximum).checked_ilog2().ok_or_else(refused)?).ok_or_else(refused)?;
    u16::try_from(wanted.min(largest)).ok().filter(|&size| size >= 2).ok_or_else(refused)
}

fn transmit_queue(
    transport: &Arc<dyn Transport>,
    index: u16,
    wanted: u32,
    pool: &Pool,
    features: Features,
) -> Result<TransmitQueue, Error> {
    let size = queue_size(&**transport, index, wanted)?;
    let indirect =
        features.contains(Features::INDIRECT_DESCRIPTORS) && u32::from(size) * TABLE <= *SIZES.end();
    let tables = u32::from(size) * TABLE;
    let extra = if indirect { vec![tables as usize * 16] } else { Vec::new() };
    let dma = Error::dma(transport.name());
    let (areas, mut memory) = Areas::allocate(&**transport, size, &extra).map_err(&dma)?;
    let tables = if indirect {
        let block = memory.block(tables as usize * 16).map_err(&dma)?;
        Some(block.ring(0, tables).map_err(&dma)?)
    } else {
        None
    };
    let ring = SplitRing::start(&**transport, index, &areas, features.contains(Features::EVENT_INDEX), None)?;
    TransmitQueue::new(Arc::clone(transport), ring, tables, std::slice::from_ref(pool))
}

fn control_queue(
    transport: &Arc<dyn Transport>,
    pairs: u16,
    event_index: bool,
) -> Result<Kept<ControlQueue>, Error> {
    // Section 5.1.2: behind the pairs that the device has, not those in use.
    let index = pairs.saturating_mul(2);
    let size = queue_size(&**transport, index, CONTROL_SIZE.into())?;
    let dma = Error::dma(transport.name());
    let words = COMMAND_WORDS as usize * 8;
    let (areas, mut memory) = Areas::allocate(&**transport, size, &[words, 8]).map_err(&dma)?;
    let command = memory.block(words).and_then(|block| block.ring(0, COMMAND_WORDS)).map_err(&dma)?;
    let answer = memory.block(8).and_then(|block| block.ring(0, 1)).map_err(&dma)?;
    let ring = SplitRing::start(&**transport, index, &areas, event_index, None)?;
    let keeper: Arc<dyn Transport> = Arc::clone(transport);
    Ok(Kept::new(ControlQueue::new(ring, command, answer), keeper))
}

fn opened(
    transport: Arc<dyn Transport>,
    features: Features,
    configuration: Configuration,
    control: Option<Kept<ControlQueue>>,
    receive: Vec<ReceiveQueue>,
    transmit: Vec<TransmitQueue>,
) -> Opened {
    let mut information = Information::new(
        transport.name().to_owned(),
        "virtio-net",
        "virtio network device".to_owned(),
        configuration.mac,
    );
    information.numa_node = transport.numa_node();
    information.features = features.names();
    information.maximum_frame = configuration.maximum_frame;
    let port = Control::new(
        transport,
        features,
        information,
        control,
        receive.iter().map(|queue| Arc::clone(queue.counters())).collect(),
        transmit.iter().map(|queue| Arc::clone(queue.counters())).collect(),
    );
    Opened {
        control: Box::new(port),
        receive: receive.into_iter().map(|queue| Box::new(queue) as _).collect(),
        transmit: transmit.into_iter().map(|queue| Box::new(queue) as _).collect(),
    }
}
