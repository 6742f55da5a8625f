//! The network device's own configuration (virtio 1.2, section 5.1.4), and what changes it.

use super::device::Device;
use super::features::Features;
use super::rss;
use super::violation::Rule;
use ringway_pci::Width;

impl Device {
    /// Section 5.1.4: the configuration's bytes.
    pub(crate) fn network_read(&mut self, offset: u64, width: Width) -> u32 {
        self.serve_control();
        if self.common.changed {
            self.common.changed = false;
            self.common.generation = self.common.generation.wrapping_add(1);
        }
        // Sections 4.1.3.1 and 5.1.4: the address is six bytes, speed is four, duplex one, the rest are two.
        let natural = match offset {
            0..6 | 16 | 17 => Width::Byte, // the address, duplex, rss_max_key_size
            12 | 20 => Width::Double,
            _ => Width::Word,
        };
        if natural != width {
            self.note(Rule::AccessWidth, || {
                format!("{} bytes read at {offset} of the network configuration", width.bytes())
            });
        }
        let mut bytes = [0u8; super::pci::NETWORK_BYTES as usize];
        let [mac @ .., s0, s1, p0, p1, m0, m1, v0, v1, v2, v3, duplex, key, t0, t1, h0, h1, h2, h3] =
            &mut bytes;
        *mac = self.filter.mac;
        let status = u16::from(self.port.link_up) | u16::from(self.port.announce) << 1;
        [*s0, *s1] = status.to_le_bytes();
        [*p0, *p1] = self.queue_pairs.to_le_bytes();
        [*m0, *m1] = self.port.mtu.to_le_bytes();
        let speed = if self.port.link_up { self.port.speed } else { u32::MAX };
        [*v0, *v1, *v2, *v3] = speed.to_le_bytes();
        // Full duplex: 0x01 in the description and in every driver, 0x00 in section 5.1.4.1 by mistake.
        *duplex = if self.port.link_up { 0x01 } else { 0xff };
        if self.offered().bits() & (Features::RSS | Features::HASH_REPORT) != 0 {
            *key = rss::KEY_BYTES;
            [*t0, *t1] = rss::TABLE_ENTRIES.to_le_bytes();
            [*h0, *h1, *h2, *h3] = rss::TYPES.to_le_bytes();
        }
        let mut value = [0u8; 4];
        let from = bytes.iter().skip(offset as usize);
        value.iter_mut().zip(from).take(width.bytes().into()).for_each(|(to, &from)| *to = from);
        u32::from_le_bytes(value)
    }

    /// Section 5.1.4: the link's state has changed.
    pub(crate) fn set_link(&mut self, up: bool) {
        if self.port.link_up != up {
            self.port.link_up = up;
            self.configuration_changed();
        }
    }

    /// Section 5.1.6.5.4: asks the driver to announce itself.
    pub(crate) fn announce(&mut self) -> bool {
        if !self.negotiated.has(Features::GUEST_ANNOUNCE) {
            return false;
        }
        self.port.announce = true;
        self.configuration_changed();
        true
    }
}
