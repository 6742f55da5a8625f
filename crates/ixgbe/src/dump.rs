//! The device's registers by their names in the datasheet: those that can be read without changing anything.
//!
//! Left out are causes and counters (they clear), LINKS (it forgets that the link was away), and the semaphores (reading
//! takes them).

use crate::registers::{self as register, Registers, steering};

/// Registers that are there once.
const SINGLE: &[(&str, u64)] = &[
    ("CTRL", register::CTRL),
    ("STATUS", register::STATUS),
    ("CTRL_EXT", register::CTRL_EXT),
    ("ESDP", register::ESDP),
    ("LEDCTL", register::LEDCTL),
    ("EEC", register::EEC),
    ("EEMNGCTL", register::EEMNGCTL),
    ("EIMS", register::EIMS),
    ("EIAC", register::EIAC),
    ("GPIE", register::GPIE),
    ("IVAR_MISC", register::IVAR_MISC),
    ("FCRTV", register::FCRTV),
    ("FCCFG", register::FCCFG),
    ("MFLCN", register::MFLCN),
    ("FCTRL", register::FCTRL),
    ("VLNCTRL", register::VLNCTRL),
    ("RXCSUM", register::RXCSUM),
    ("MRQC", register::MRQC),
    ("RXCTRL", register::RXCTRL),
    ("RDRXCTL", register::RDRXCTL),
    ("SECRXCTRL", register::SECRXCTRL),
    ("SECRXSTAT", register::SECRXSTAT),
    ("DMATXCTL", register::DMATXCTL),
    ("DTXMXSZRQ", register::DTXMXSZRQ),
    ("RTTDCS", register::RTTDCS),
    ("HLREG0", register::HLREG0),
    ("MAXFRS", register::MAXFRS),
    ("AUTOC", register::AUTOC),
    ("FDIRCTRL", steering::FDIRCTRL),
    ("FDIRHKEY", steering::FDIRHKEY),
    ("FDIRSKEY", steering::FDIRSKEY),
    ("FDIRM", steering::FDIRM),
    ("FDIRSIP4M", steering::FDIRSIP4M),
    ("FDIRDIP4M", steering::FDIRDIP4M),
    ("FDIRTCPM", steering::FDIRTCPM),
    ("FDIRUDPM", steering::FDIRUDPM),
    ("FDIRCMD", steering::FDIRCMD),
];

/// An array of registers: its name, how many there are, and where each is.
type Array = (&'static str, u64, fn(u64) -> u64);

const ARRAYS: &[Array] = &[
    ("IVAR", 64, register::ivar),
    ("EITR", 64, register::eitr),
    ("EIMS_EX", 2, register::eims_ex),
    ("FCTTV", register::FCTTV_WORDS, register::fcttv),
    ("FCRTL", register::PACKET_BUFFERS, register::fcrtl),
    ("FCRTH", register::PACKET_BUFFERS, register::fcrth),
    ("RAL", register::RECEIVE_ADDRESSES, register::ral),
    ("RAH", register::RECEIVE_ADDRESSES, register::rah),
    ("MTA", register::MTA_WORDS, register::mta),
    ("VFTA", register::VFTA_WORDS, register::vfta),
    ("RETA", register::RETA_WORDS, register::reta),
    ("RSSRK", 10, register::rssrk),
    ("RXPBSIZE", register::PACKET_BUFFERS, register::rxpbsize),
    ("TXPBSIZE", register::PACKET_BUFFERS, register::txpbsize),
    ("TXPBTHRESH", register::PACKET_BUFFERS, register::txpbthresh),
    ("RQSMR", register::QUEUE_MAP_WORDS, register::rqsmr),
    ("TQSM", register::QUEUE_MAP_WORDS, register::tqsm),
    ("ETQF", 8, steering::etqf),
    ("ETQS", 8, steering::etqs),
    ("SAQF", 128, steering::saqf),
    ("DAQF", 128, steering::daqf),
    ("SDPQF", 128, steering::sdpqf),
    ("FTQF", 128, steering::ftqf),
    ("L34TIMIR", 128, steering::l34timir),
];

/// A register that each queue has: its name, and where it is.
type OfQueue = (&'static str, fn(u64) -> u64);

/// Of each queue in use.
const RECEIVE: &[OfQueue] = &[
    ("RDBAL", register::rdbal),
    ("RDBAH", register::rdbah),
    ("RDLEN", register::rdlen),
    ("RDH", register::rdh),
    ("RDT", register::rdt),
    ("RXDCTL", register::rxdctl),
    ("SRRCTL", register::srrctl),
    ("DCA_RXCTRL", register::dca_rxctrl),
];
const TRANSMIT: &[OfQueue] = &[
    ("TDBAL", register::tdbal),
    ("TDBAH", register::tdbah),
    ("TDLEN", register::tdlen),
    ("TDH", register::tdh),
    ("TDT", register::tdt),
    ("TXDCTL", register::txdctl),
];

/// All of them.
pub(crate) fn read(registers: &Registers, receive_queues: u64, transmit_queues: u64) -> Vec<(String, u32)> {
    let mut values: Vec<(String, u32)> =
        SINGLE.iter().map(|&(name, place)| (name.to_owned(), registers.read(place))).collect();
    let mut array = |name: &str, count: u64, place: fn(u64) -> u64| {
        values.extend((0..count).map(|index| (format!("{name}[{index}]"), registers.read(place(index)))));
    };
    for &(name, count, place) in ARRAYS {
        array(name, count, place);
    }
    for &(name, place) in RECEIVE {
        array(name, receive_queues, place);
    }
    for &(name, place) in TRANSMIT {
        array(name, transmit_queues, place);
    }
    values
}
