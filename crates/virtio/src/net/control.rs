//! The control queue: commands, one at a time (virtio 1.2, section 5.1.6.5).
//!
//! A command lies in ring memory as two descriptors: class, command and data for the device to read, and one byte for
//! its answer. It is waited for, bounded, and not at all when the device is gone or needs a reset. After a command that was
//! not answered the queue is given up: the device may still write the answer.

use crate::Error;
use crate::ring::{Areas, SplitRing, flag, word};
use crate::transport::{Transport, alive};
use ringway_dma::{Kept, Park, Quiesced, Ring};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How long a device may take: hypervisors answer within microseconds, an emulated processor within milliseconds.
const LIMIT: Duration = Duration::from_secs(5);
/// Between looks for the answer.
const NAP: Duration = Duration::from_micros(50);
/// The answer "done" (section 5.1.6.5).
const VIRTIO_NET_OK: u64 = 0;
/// What the answer's byte holds before the device writes it.
const NO_ANSWER: u64 = 0xff;

/// Descriptors: one command of two at a time.
pub(super) const SIZE: u16 = 2;
/// Words for a command: class, command and up to 1022 bytes of data. The longest are tables of addresses and of queues.
const COMMAND_WORDS: u32 = 128;

/// A command: class, code and the specification's name.
#[derive(Clone, Copy, Debug)]
pub(super) struct Command {
    class: u8,
    code: u8,
    name: &'static str,
    /// What it didn't do in time.
    late: &'static str,
}

macro_rules! command {
    ($class:literal, $code:literal, $name:literal) => {
        Self { class: $class, code: $code, name: $name, late: concat!("answer the command ", $name) }
    };
}

impl Command {
    pub(super) const PROMISCUOUS: Self = command!(0, 0, "VIRTIO_NET_CTRL_RX_PROMISC");
    pub(super) const ALL_MULTICAST: Self = command!(0, 1, "VIRTIO_NET_CTRL_RX_ALLMULTI");
    pub(super) const ADDRESS_TABLES: Self = command!(1, 0, "VIRTIO_NET_CTRL_MAC_TABLE_SET");
    pub(super) const ADDRESS: Self = command!(1, 1, "VIRTIO_NET_CTRL_MAC_ADDR_SET");
    pub(super) const VLAN_ADD: Self = command!(2, 0, "VIRTIO_NET_CTRL_VLAN_ADD");
    pub(super) const VLAN_REMOVE: Self = command!(2, 1, "VIRTIO_NET_CTRL_VLAN_DEL");
    pub(super) const ANNOUNCED: Self = command!(3, 0, "VIRTIO_NET_CTRL_ANNOUNCE_ACK");
    pub(super) const QUEUE_PAIRS: Self = command!(4, 0, "VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET");
    pub(super) const SCALING: Self = command!(4, 1, "VIRTIO_NET_CTRL_MQ_RSS_CONFIG");
    pub(super) const HASH: Self = command!(4, 2, "VIRTIO_NET_CTRL_MQ_HASH_CONFIG");
    pub(super) const COALESCE_RECEIVE: Self = command!(6, 1, "VIRTIO_NET_CTRL_NOTF_COAL_RX_SET");
    pub(super) const COALESCE_QUEUE: Self = command!(6, 2, "VIRTIO_NET_CTRL_NOTF_COAL_VQ_SET");
}

/// The control queue.
#[derive(Debug)]
pub(super) struct ControlQueue {
    ring: SplitRing,
    command: Ring<AtomicU64>,
    answer: Ring<AtomicU64>,
    given_up: bool,
}

impl Park for ControlQueue {
    fn release(self: Box<Self>, _stopped: &Quiesced) {}
}

impl ControlQueue {
    /// Sets the queue up and enables it.
    pub(super) fn start(
        transport: &Arc<dyn Transport>,
        index: u16,
        event_index: bool,
    ) -> Result<Kept<Self>, Error> {
        let dma = Error::dma(transport.name());
        let words = COMMAND_WORDS as usize * size_of::<AtomicU64>();
        let answer = size_of::<AtomicU64>();
        let (areas, mut memory) = Areas::allocate(&**transport, SIZE, &[words, answer]).map_err(&dma)?;
        let command = memory.block(words).and_then(|block| block.ring(0, COMMAND_WORDS)).map_err(&dma)?;
        let answer = memory.block(answer).and_then(|block| block.ring(0, 1)).map_err(&dma)?;
        let ring = SplitRing::start(&**transport, index, areas, event_index, None)?;
        let keeper: Arc<dyn Transport> = Arc::clone(transport);
        Ok(Kept::new(Self { ring, command, answer, given_up: false }, keeper))
    }

    /// Carries a command out.
    pub(super) fn execute(
        &mut self,
        transport: &dyn Transport,
        command: Command,
        data: &[u8],
    ) -> Result<(), Error> {
        let device = transport.name();
        let refused = || Error::CommandRefused { device: device.to_owned(), command: command.name };
        let late = || Error::Timeout {
            device: device.to_owned(),
            what: command.late,
            milliseconds: LIMIT.as_millis() as u64,
        };
        if self.given_up {
            return Err(late());
        }
        let mut bytes = [0u8; COMMAND_WORDS as usize * 8];
        let length = data.len().saturating_add(2);
        let filled = bytes.get_mut(..length).ok_or_else(refused)?;
        if let [class, code, rest @ ..] = filled {
            (*class, *code) = (command.class, command.code);
            rest.copy_from_slice(data);
        }
        for (index, chunk) in (0u32..).zip(bytes.chunks_exact(8)) {
            let value = chunk.iter().rev().fold(0u64, |value, &byte| (value << 8) | u64::from(byte));
            self.command.at(index).store(value, Ordering::Relaxed);
        }
        self.answer.at(0).store(NO_ANSWER, Ordering::Relaxed);
        let (request, reply) = (self.ring.descriptors().at(0), self.ring.descriptors().at(1));
        request.address.point_at(&self.command, 0);
        request.word.store(word(length as u32, flag::NEXT, 1), Ordering::Relaxed);
        reply.address.point_at(&self.answer, 0);
        reply.word.store(word(1, flag::WRITE, 0), Ordering::Relaxed);
        self.ring.offer(0);
        self.ring.publish();

        let deadline = Instant::now() + LIMIT;
        while self.ring.ready() == Some(0) {
            // Until it is answered this stands: the device may answer late.
            self.given_up = true;
            alive(transport)?;
            if Instant::now() > deadline {
                return Err(late());
            }
            if self.ring.ready() == Some(0) {
                std::thread::sleep(NAP);
            }
        }
        if self.ring.ready() != Some(1) || self.ring.completed_id(0) != 0 {
            self.given_up = true;
            return Err(Error::Protocol {
                device: device.to_owned(),
                what: format!("it answered another command than {}", command.name),
                section: "5.1.6.5",
            });
        }
        self.given_up = false;
        self.ring.consume(1);
        if self.answer.at(0).load(Ordering::Relaxed) & 0xff == VIRTIO_NET_OK {
            Ok(())
        } else {
            Err(refused())
        }
    }
}
