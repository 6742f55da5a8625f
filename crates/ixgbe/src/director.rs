//! Flow director's perfect match: filters by all fields under one mask, to a queue or to nowhere (82599 datasheet, sections
//! 7.1.2.7 and 8.2.3.21).
//!
//! The device finds a filter by a hash that the driver has to reckon as the device does. What is filtered lies in the
//! packet buffer for received frames, which is 64 KiB smaller for it; the port is opened so.

use crate::devices::Mac;
use crate::registers::Registers;
use crate::registers::steering as register;
use crate::{Error, wait};
use ringway_port::FiveTuple;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

/// Filters that there is room for.
pub(crate) const FILTERS: u32 = 2047;
/// KiB of the packet buffer that they take.
pub(crate) const KIBIBYTES: u32 = 64;
/// The queue that is never started: what it gets is dropped (section 8.2.3.21.1).
pub(crate) const DROP_QUEUE: u32 = 127;
/// The keys of both hashes, as Intel's drivers have them.
const KEY: u32 = 0x3dad_14e2;
const SIGNATURE_KEY: u32 = 0x174d_3614;
/// Bits of the hash that are used.
const BUCKETS: u32 = 0x1fff;
const INITIALISATION_LIMIT: Duration = Duration::from_millis(100);
const COMMAND_LIMIT: Duration = Duration::from_millis(10);

/// The packet buffer that is left for received frames, in KiB.
pub(crate) const fn packet_buffer(mac: Mac) -> u32 {
    mac.receive_buffer() - KIBIBYTES
}

/// Starts the table, empty. While nothing is received (section 4.6.7).
pub(crate) fn initialise(device: &str, registers: &Registers) -> Result<(), Error> {
    registers.write(register::FDIRHKEY, KEY);
    registers.write(register::FDIRSKEY, SIGNATURE_KEY);
    registers.write(
        register::FDIRCTRL,
        register::FDIRCTRL_64_KIB
            | register::FDIRCTRL_PERFECT
            | DROP_QUEUE << register::FDIRCTRL_DROP_QUEUE_SHIFT
            | register::FDIRCTRL_LIMITS,
    );
    wait::until(device, registers, "initialise its flow director", INITIALISATION_LIMIT, || {
        registers.read(register::FDIRCTRL) & register::FDIRCTRL_DONE != 0
    })
}

/// Which fields all filters compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mask {
    source: bool,
    destination: bool,
    source_port: bool,
    destination_port: bool,
    protocol: bool,
}

impl Mask {
    pub(crate) fn of(tuple: &FiveTuple) -> Self {
        Self {
            source: tuple.source.is_some(),
            destination: tuple.destination.is_some(),
            source_port: tuple.source_port.is_some(),
            destination_port: tuple.destination_port.is_some(),
            protocol: tuple.protocol.is_some(),
        }
    }

    /// Tells the device. While it has no filters.
    pub(crate) fn apply(self, registers: &Registers) {
        let ignored = |compared: bool, bits: u32| if compared { 0 } else { bits };
        registers.write(
            register::FDIRM,
            register::FDIRM_VLAN
                | register::FDIRM_POOL
                | register::FDIRM_FLEXIBLE
                | register::FDIRM_IPV6
                | ignored(self.protocol, register::FDIRM_PROTOCOL),
        );
        let ports = ignored(self.source_port, 0xffff) | ignored(self.destination_port, 0xffff_0000);
        for mask in [register::FDIRTCPM, register::FDIRUDPM, register::FDIRSCTPM] {
            registers.write(mask, ports);
        }
        registers.write(register::FDIRSIP4M, ignored(self.source, u32::MAX));
        registers.write(register::FDIRDIP4M, ignored(self.destination, u32::MAX));
    }
}

/// The fields of a filter, as the device has them. What isn't compared is zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fields {
    source: Ipv4Addr,
    destination: Ipv4Addr,
    source_port: u16,
    destination_port: u16,
    /// 1: UDP, 2: TCP, 3: SCTP.
    protocol: u32,
}

impl Fields {
    /// From what the program wants, or why that can't be matched.
    pub(crate) fn of(tuple: &FiveTuple) -> Result<Self, String> {
        let address = |address: Option<IpAddr>| match address {
            None => Ok(Ipv4Addr::UNSPECIFIED),
            Some(IpAddr::V4(address)) => Ok(address),
            Some(IpAddr::V6(_)) => Err("exact filters compare IPv4 addresses only".to_owned()),
        };
        let protocol = match tuple.protocol {
            None if tuple.source_port.is_some() || tuple.destination_port.is_some() => {
                return Err("ports are compared together with a protocol only".to_owned());
            }
            None => 0,
            Some(17) => 1,
            Some(6) => 2,
            Some(132) => 3,
            Some(other) => return Err(format!("protocol {other} is not told apart: TCP, UDP and SCTP are")),
        };
        Ok(Self {
            source: address(tuple.source)?,
            destination: address(tuple.destination)?,
            source_port: tuple.source_port.unwrap_or(0),
            destination_port: tuple.destination_port.unwrap_or(0),
            protocol,
        })
    }

    /// The bucket that the device looks for a filter in (section 7.1.2.7): two halves of the key, turned along the folded
    /// fields. The protocol's word comes into the lower half only from its second bit on.
    fn bucket(self) -> u32 {
        let protocol = self.protocol << 16;
        let ports = u32::from(self.source_port) << 16 | u32::from(self.destination_port);
        let folded = self.source.to_bits() ^ self.destination.to_bits() ^ ports;
        let upper = folded ^ protocol ^ (protocol >> 16);
        let lower = folded.rotate_left(16);
        let mut bucket = 0;
        for bit in 0..16 {
            let lower = if bit == 0 { lower } else { lower ^ protocol ^ (protocol << 16) };
            if KEY >> bit & 1 != 0 {
                bucket ^= lower >> bit;
            }
            if KEY >> (bit + 16) & 1 != 0 {
                bucket ^= upper >> bit;
            }
        }
        bucket & BUCKETS
    }

    /// Places the filter under `number`, or changes where it goes. `None`: nowhere.
    pub(crate) fn place(
        self,
        device: &str,
        registers: &Registers,
        number: u16,
        queue: Option<u16>,
    ) -> Result<(), Error> {
        for word in register::FDIRSIPV6 {
            registers.write(word, 0);
        }
        registers.write(register::FDIRIPSA, u32::from_le_bytes(self.source.octets()));
        registers.write(register::FDIRIPDA, u32::from_le_bytes(self.destination.octets()));
        let ports = u32::from(self.destination_port) << register::FDIRPORT_DESTINATION_SHIFT
            | u32::from(self.source_port);
        registers.write(register::FDIRPORT, ports);
        registers.write(register::FDIRVLAN, 0);
        self.name(registers, number);
        let target = match queue {
            Some(queue) => u32::from(queue) << register::FDIRCMD_QUEUE_SHIFT,
            None => DROP_QUEUE << register::FDIRCMD_QUEUE_SHIFT | register::FDIRCMD_DROP,
        };
        command(
            device,
            registers,
            register::FDIRCMD_ADD
                | register::FDIRCMD_UPDATE
                | register::FDIRCMD_LAST
                | register::FDIRCMD_TO_QUEUE
                | self.protocol << register::FDIRCMD_PROTOCOL_SHIFT
                | target,
        )
        .map(drop)
    }

    /// Takes the filter away, if the device has it.
    pub(crate) fn remove(self, device: &str, registers: &Registers, number: u16) -> Result<(), Error> {
        self.name(registers, number);
        if command(device, registers, register::FDIRCMD_QUERY)? & register::FDIRCMD_FOUND != 0 {
            self.name(registers, number);
            command(device, registers, register::FDIRCMD_REMOVE)?;
        }
        Ok(())
    }

    /// Which filter the next command is about. The hash has to be there before the command (section 8.2.3.21.13).
    fn name(self, registers: &Registers, number: u16) {
        registers
            .write(register::FDIRHASH, self.bucket() | u32::from(number) << register::FDIRHASH_NUMBER_SHIFT);
        registers.flush();
    }
}

/// Gives a command and waits for its end; what the register says then.
fn command(device: &str, registers: &Registers, value: u32) -> Result<u32, Error> {
    registers.write(register::FDIRCMD, value);
    let mut answer = 0;
    wait::until(device, registers, "carry out a command of its flow director", COMMAND_LIMIT, || {
        answer = registers.read(register::FDIRCMD);
        answer & register::FDIRCMD_BUSY == 0
    })?;
    Ok(answer)
}
