//! Receive side scaling: which queue a flow goes to (82599 datasheet, section 7.1.2.8).

use crate::Error;
use crate::capabilities;
use crate::devices::Mac;
use crate::registers::{self as register, Registers};
use ringway_port::{HashLimits, HashTypes, Scaling, VERIFICATION_KEY};

/// What is hashed, by the bits of MRQC (section 8.2.3.7.12).
const fn fields(types: HashTypes) -> u32 {
    (types.tcp_ipv4 as u32) << 16
        | (types.ipv4 as u32) << 17
        | (types.ipv6 as u32) << 20
        | (types.tcp_ipv6 as u32) << 21
        | (types.udp_ipv4 as u32) << 22
        | (types.udp_ipv6 as u32) << 23
}

/// How flows are spread now, and within which limits that can be changed.
#[derive(Clone, Debug)]
pub(crate) struct Spreading {
    limits: HashLimits,
    /// Of the port's receive queues those that the table can name.
    queues: u16,
    now: Scaling,
}

impl Spreading {
    /// Evenly, over as many of the port's queues as the device's table can name.
    pub(crate) fn even(mac: Mac, receive_queues: u16) -> Self {
        let limits = capabilities::hash(mac);
        let queues = receive_queues.min(limits.queues);
        let table = Scaling::even_table(limits.table, queues);
        let now = Scaling { key: VERIFICATION_KEY.to_vec(), table, types: HashTypes::ALL };
        Self { limits, queues, now }
    }

    pub(crate) fn now(&self) -> &Scaling {
        &self.now
    }

    /// Whether the device can spread flows so.
    pub(crate) fn check(&self, device: &str, scaling: &Scaling) -> Result<(), Error> {
        let HashLimits { key, table, types, queues } = self.limits;
        let reason = if scaling.key.len() != usize::from(key) {
            format!("its key has {key} bytes, not {}", scaling.key.len())
        } else if scaling.table.len() != usize::from(table) {
            format!("its table has {table} entries, not {}", scaling.table.len())
        } else if let Some(queue) = scaling.table.iter().find(|&&queue| queue >= self.queues) {
            format!(
                "the table names queue {queue}: of this port's it can name 0 to {}, and never more than {queues}",
                self.queues.saturating_sub(1)
            )
        } else if !scaling.types.are_within(types) {
            "it can't hash all of these".to_owned()
        } else {
            return Ok(());
        };
        Err(Error::Unsupported { device: device.to_owned(), feature: "this spreading of flows", reason })
    }

    /// Spreads flows so, from the next packet on. It was checked.
    pub(crate) fn apply(&mut self, registers: &Registers, scaling: &Scaling) {
        for (word, bytes) in (0u64..).zip(scaling.key.as_chunks().0) {
            registers.write(register::rssrk(word), u32::from_le_bytes(*bytes));
        }
        let words = (0..register::RETA_WORDS)
            .map(register::reta)
            .chain((0..register::ERETA_WORDS).map(register::ereta));
        for (place, queues) in words.zip(scaling.table.as_chunks::<4>().0) {
            registers.write(place, u32::from_le_bytes(queues.map(|queue| queue as u8)));
        }
        // The descriptor has room for the hash or for a fragment's sum (section 7.1.6.2).
        registers.set(register::RXCSUM, register::RXCSUM_HASH_IN_DESCRIPTOR);
        registers.write(register::MRQC, register::MRQC_RSS | fields(scaling.types));
        self.now = scaling.clone();
    }
}
