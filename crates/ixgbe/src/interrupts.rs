//! Interrupts: a vector a receive queue, and one for the link (82599 datasheet, sections 7.3.1 to 7.3.4).
//!
//! EICR shows 16 queue causes and can clear them; vectors from 16 on have masks of their own (EIMS_EX) and clear
//! themselves when their message goes out.

use crate::Error;
use crate::registers as register;
use crate::running::Running;
use ringway_port::PortOptions;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

/// Interrupts come at most this often a queue, until told otherwise.
const MODERATION: Duration = Duration::from_micros(20);
/// EITR counts two microseconds, in nine bits (section 8.2.3.5.12).
const UNIT: u128 = 2;
const LONGEST: u128 = 511;
/// Vectors that EICR shows.
const SHOWN: u64 = 16;

/// A queue's own interrupt: its vector, and the counter behind it.
#[derive(Debug)]
pub(crate) struct Interrupt {
    running: Arc<Running>,
    vector: u64,
    pub(crate) counter: Arc<OwnedFd>,
}

impl Interrupt {
    /// Asks for a message at the next cause. Causes of packets that were polled are forgotten, then the mask is opened; the
    /// flush brings in what the device wrote before.
    pub(crate) fn enable(&self) {
        let registers = &self.running.registers;
        let bit = 1u32 << (self.vector % 32);
        if self.vector < SHOWN {
            registers.write(register::EICR, bit);
        }
        registers.write(register::eims_ex(self.vector / 32), bit);
        registers.flush();
    }

    pub(crate) fn disable(&self) {
        self.running.registers.write(register::eimc_ex(self.vector / 32), 1 << (self.vector % 32));
    }
}

/// All that a port has of them.
#[derive(Debug, Default)]
pub(crate) struct Interrupts {
    /// One a receive queue, or none at all.
    pub(crate) queues: Vec<Option<Interrupt>>,
    /// The link's counter.
    pub(crate) link: Option<Arc<OwnedFd>>,
}

/// A vector a receive queue and one for the link, all connected in one call (section 7.3.4.3).
pub(crate) fn connect(running: &Arc<Running>, options: &PortOptions) -> Result<Interrupts, Error> {
    let count = u64::from(options.receive_queues);
    if !options.interrupts {
        return Ok(Interrupts { queues: (0..count).map(|_| None).collect(), link: None });
    }
    let registers = &running.registers;
    let counters = (0..=count).map(|_| ringway_pci::event_counter()).collect::<Result<Vec<_>, _>>()?;
    running.function.set_msix(&counters)?;
    registers.write(register::GPIE, register::GPIE_MULTIPLE_MSIX | register::GPIE_PBA_SUPPORT);
    let mut queues = Vec::new();
    let mut automatic = 0;
    let mut counters = counters.into_iter();
    for (queue, counter) in (0..count).zip(&mut counters) {
        // Two queues a register, receive and transmit a byte each: only receiving interrupts.
        let shift = (queue % 2) * 16;
        let entry = (register::IVAR_VALID | queue as u32) << shift;
        let others = registers.read(register::ivar(queue / 2)) & !(0xffff << shift);
        registers.write(register::ivar(queue / 2), others | entry);
        set_moderation(running, queue, MODERATION);
        if queue < SHOWN {
            automatic |= 1u32 << queue;
        }
        queues.push(Some(Interrupt { running: Arc::clone(running), vector: queue, counter }));
    }
    // A cause clears itself when its interrupt is sent; the link's stays until it is asked for.
    registers.write(register::EIAC, automatic);
    registers
        .write(register::IVAR_MISC, (register::IVAR_VALID | count as u32) << register::IVAR_MISC_OTHER_SHIFT);
    registers.write(register::EIMS, register::CAUSE_LINK);
    Ok(Interrupts { queues, link: counters.next() })
}

/// Forgets that the link changed, so that the next change interrupts again.
pub(crate) fn forget_link(running: &Running) {
    running.registers.write(register::EICR, register::CAUSE_LINK);
}

/// Keeps the messages of a vector apart, for as long as [`longest`] at most.
pub(crate) fn set_moderation(running: &Running, vector: u64, interval: Duration) {
    let units = (interval.as_micros() / UNIT).min(LONGEST) as u32;
    running.registers.write(register::eitr(vector), units << register::EITR_INTERVAL_SHIFT);
}

/// The longest time between two interrupts that can be asked for.
pub(crate) fn longest() -> Duration {
    Duration::from_micros((LONGEST * UNIT) as u64)
}
