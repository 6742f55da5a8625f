//! Pause frames (82599 datasheet, sections 3.7.7 and 8.2.3.3; IEEE 802.3, annex 31B).
//!
//! They are sent when the packet buffer fills up. It only does where a queue without descriptors holds its packets back, so
//! queues drop by themselves only while no pause frames are sent.

use crate::devices::Mac;
use crate::director;
use crate::registers::{self as register, Registers};
use ringway_port::Pause;

/// Free bytes at which the other end is told to stop: what is on the way while it hasn't heard, with the longest frames at
/// both ends, and to spare.
const HEADROOM: u32 = 64 << 10;
/// Between stopping and going on.
const GAP: u32 = 64 << 10;
/// What Intel's drivers keep free in the threshold while none is sent.
const UNUSED_HEADROOM: u32 = 24 << 10;
/// The other end may stop for as long as can be said; half of that later it is told again.
const TIME: u32 = 0xffff;

/// What the device does now.
pub(crate) fn read(registers: &Registers) -> Pause {
    Pause {
        obey: registers.read(register::MFLCN) & register::MFLCN_OBEY != 0,
        send: registers.read(register::FCCFG) & register::FCCFG_SEND != 0,
    }
}

/// Obeys and sends pause frames, or not.
pub(crate) fn set(registers: &Registers, mac: Mac, receive_queues: u16, pause: Pause) {
    let buffer = director::packet_buffer(mac) << 10;
    let (low, high) = if pause.send {
        let high = buffer - HEADROOM;
        (register::FCRTL_RESUME | (high - GAP), register::FCRTH_ENABLE | high)
    } else {
        (0, buffer - UNUSED_HEADROOM)
    };
    // Pause frames are for the MAC, and never come to a queue.
    registers.set(register::MFLCN, register::MFLCN_DISCARD);
    if pause.obey {
        registers.set(register::MFLCN, register::MFLCN_OBEY);
    } else {
        registers.clear(register::MFLCN, register::MFLCN_OBEY);
    }
    for times in 0..register::FCTTV_WORDS {
        registers.write(register::fcttv(times), TIME << 16 | TIME);
    }
    registers.write(register::FCRTV, TIME / 2);
    registers.write(register::fcrtl(0), low);
    registers.write(register::fcrth(0), high);
    for queue in 0..u64::from(receive_queues) {
        if pause.send {
            registers.clear(register::srrctl(queue), register::SRRCTL_DROP_ENABLE);
        } else {
            registers.set(register::srrctl(queue), register::SRRCTL_DROP_ENABLE);
        }
    }
    registers.write(register::FCCFG, if pause.send { register::FCCFG_SEND } else { 0 });
}
