//! The control queue: commands, one at a time (virtio 1.2, section 5.1.6.5).
//!
//! A command lies in ring memory as two descriptors: class, command and data for the device to read, and one byte for
//! its answer. It is waited for, bounded. After a command that was not answered the queue is given up: the device may
//! still write the answer.

use crate::Error;
use crate::ring::{SplitRing, flag, word};
use ringway_dma::{Park, Quiesced, Ring};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How long a device may take: hypervisors answer within microseconds, an emulated processor within milliseconds.
const LIMIT: Duration = Duration::from_secs(5);
/// The answer "done" (section 5.1.6.5).
const VIRTIO_NET_OK: u64 = 0;
/// What the answer's byte holds before the device writes it.
const NO_ANSWER: u64 = 0xff;

/// Words for a command: class, command and up to 22 bytes of data.
pub(super) const COMMAND_WORDS: u32 = 4;

/// A command: class, code and the specification's name.
#[derive(Clone, Copy, Debug)]
pub(super) struct Command {
    class: u8,
    code: u8,
    name: &'static str,
}

impl Command {
    pub(super) const PROMISCUOUS: Self = Self { class: 0, code: 0, name: "VIRTIO_NET_CTRL_RX_PROMISC" };
    pub(super) const QUEUE_PAIRS: Self = Self { class: 4, code: 0, name: "VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET" };
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
    pub(super) fn new(ring: SplitRing, command: Ring<AtomicU64>, answer: Ring<AtomicU64>) -> Self {
        Self { ring, command, answer, given_up: false }
    }

    /// Carries a command out.
    pub(super) fn execute(&mut self, device: &str, command: Command, data: &[u8]) -> Result<(), Error> {
        let refused = || Error::CommandRefused { device: device.to_owned(), command: command.name };
        let late = || Error::Timeout {
            device: device.to_owned(),
            what: command.name,
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
        let (request, reply) = (self.ring.descriptors.at(0), self.ring.descriptors.at(1));
        request.address.point_at(&self.command, 0);
        request.word.store(word(length as u32, flag::NEXT, 1), Ordering::Relaxed);
        reply.address.point_at(&self.answer, 0);
        reply.word.store(word(1, flag::WRITE, 0), Ordering::Relaxed);
        self.ring.offer(0);
        self.ring.publish();

        let deadline = Instant::now() + LIMIT;
        while self.ring.ready() == Some(0) {
            if Instant::now() > deadline {
                self.given_up = true;
                return Err(late());
            }
            std::thread::sleep(Duration::from_micros(50));
        }
        if self.ring.ready() != Some(1) || self.ring.completed(0).0 != 0 {
            self.given_up = true;
            return Err(Error::Protocol {
                device: device.to_owned(),
                what: format!("it answered another command than {}", command.name),
                section: "5.1.6.5",
            });
        }
        self.ring.consume(1);
        if self.answer.at(0).load(Ordering::Relaxed) & 0xff == VIRTIO_NET_OK {
            Ok(())
        } else {
            Err(refused())
        }
    }
}
