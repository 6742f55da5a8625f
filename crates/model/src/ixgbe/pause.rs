//! Pause frames (datasheet, section 3.7.7; IEEE 802.3, annex 31B): those that come stop the transmitter, and a ring
//! without room has the other end stopped.
//!
//! There is no packet buffer here that fills: a frame that waits for its ring stands for one that is full. Priority flow
//! control doesn't exist.

use super::core::Core;
use super::registers::*;
use crate::wire::Wire;
use std::time::{Duration, Instant};

/// The address that pause frames go to, and what they begin with behind the addresses.
const GROUP: [u8; 6] = [0x01, 0x80, 0xc2, 0, 0, 0x01];
const CONTROL: [u8; 4] = [0x88, 0x08, 0, 1];
/// Nanoseconds of 512 bit times at 10 Gbit/s, in tenths.
const QUANTUM: u64 = 512;

/// What is paused.
#[derive(Debug, Default)]
pub(crate) struct Pausing {
    /// Until when nothing is sent.
    until: Option<Instant>,
    /// A frame found no room.
    pub(crate) crowded: bool,
    /// The other end was told to stop.
    told: bool,
}

impl Core {
    /// Whether the frame is for the MAC: what it says is done, and it goes no further.
    pub(crate) fn takes_pause(&mut self, frame: &[u8]) -> bool {
        if frame.first_chunk() != Some(&GROUP) || frame.get(12..16) != Some(&CONTROL) {
            return false;
        }
        let control = self.table.get(MFLCN);
        if control & MFLCN_LINK != 0
            && let Some(&[high, low]) = frame.get(16..18)
        {
            let quanta = u64::from(u16::from_be_bytes([high, low]));
            self.table.count(if quanta == 0 { LXONRXCNT } else { LXOFFRXCNT });
            let time = Duration::from_nanos(quanta.saturating_mul(QUANTUM) / 10);
            self.pausing.until = if quanta == 0 { None } else { Instant::now().checked_add(time) };
        }
        control & (MFLCN_LINK | MFLCN_DISCARD_PAUSE) != 0 && control & MFLCN_PASS_CONTROL == 0
    }

    /// Whether the transmitter has to wait. Stepped by hand it waits until it is told to go on.
    pub(crate) fn is_paused(&mut self, clock: bool) -> bool {
        if clock && self.pausing.until.is_some_and(|until| Instant::now() >= until) {
            self.pausing.until = None;
        }
        self.pausing.until.is_some()
    }

    /// Tells the other end to stop or to go on, if that is asked for and has changed.
    pub(crate) fn tell_pause(&mut self, wire: &mut dyn Wire) {
        let crowded = std::mem::take(&mut self.pausing.crowded);
        let tells = self.table.has(FCCFG, FCCFG_LINK);
        if !tells || crowded == self.pausing.told {
            self.pausing.told &= tells;
            return;
        }
        self.pausing.told = crowded;
        self.table.count(if crowded { LXOFFTXC } else { LXONTXC });
        let mut frame = GROUP.to_vec();
        frame.extend(self.options.mac);
        frame.extend(CONTROL);
        frame.extend(if crowded { [0xff; 2] } else { [0; 2] });
        frame.resize(60, 0);
        wire.send(&frame);
    }
}
