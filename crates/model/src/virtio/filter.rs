//! Which frames a driver wants: addresses, receive modes and VLANs (virtio 1.2, sections 5.1.6.5.1 to 5.1.6.5.3).
//!
//! Filtering is best effort in the specification; this device filters exactly, so that a driver which forgets to ask
//! for frames doesn't get them.

/// The receive filter.
#[derive(Debug)]
pub(crate) struct Filter {
    /// Everything passes, whatever else is set. So it is for drivers that can't set anything.
    pub(crate) promiscuous: bool,
    pub(crate) all_multicast: bool,
    pub(crate) all_unicast: bool,
    pub(crate) no_multicast: bool,
    pub(crate) no_unicast: bool,
    pub(crate) no_broadcast: bool,
    pub(crate) mac: [u8; 6],
    pub(crate) unicast: Vec<[u8; 6]>,
    pub(crate) multicast: Vec<[u8; 6]>,
    /// Bit n of the 4096: VLAN n passes. `None`: VLANs are not filtered.
    pub(crate) vlans: Option<Box<[u64; 64]>>,
}

const BROADCAST: [u8; 6] = [0xff; 6];
/// IEEE 802.1Q and 802.1ad.
const VLAN_TAGS: [[u8; 2]; 2] = [[0x81, 0x00], [0x88, 0xa8]];

impl Filter {
    pub(crate) fn new(mac: [u8; 6]) -> Self {
        Self {
            promiscuous: true,
            all_multicast: false,
            all_unicast: false,
            no_multicast: false,
            no_unicast: false,
            no_broadcast: false,
            mac,
            unicast: Vec::new(),
            multicast: Vec::new(),
            vlans: None,
        }
    }

    /// Whether a frame passes.
    #[inline]
    pub(crate) fn passes(&self, frame: &[u8]) -> bool {
        self.promiscuous || self.decide(frame)
    }

    fn decide(&self, frame: &[u8]) -> bool {
        let Some(&destination) = frame.first_chunk::<6>() else { return false };
        if let Some(vlans) = &self.vlans
            && let Some(&[tag0, tag1, high, low]) = frame.get(12..16).and_then(|tag| tag.first_chunk::<4>())
            && VLAN_TAGS.contains(&[tag0, tag1])
        {
            let vlan = usize::from(u16::from_be_bytes([high, low]) & 0xfff);
            // VLAN 0 is a priority, not a VLAN.
            let listed = vlans.get(vlan / 64).is_some_and(|word| word >> (vlan % 64) & 1 != 0);
            if vlan != 0 && !listed {
                return false;
            }
        }
        if destination == BROADCAST {
            return !self.no_broadcast;
        }
        if destination.first().is_some_and(|byte| byte & 1 != 0) {
            return !self.no_multicast && (self.all_multicast || self.multicast.contains(&destination));
        }
        let known = destination == self.mac || self.unicast.contains(&destination);
        !self.no_unicast && (self.all_unicast || known)
    }

    /// Lets a VLAN pass, or not.
    pub(crate) fn set_vlan(&mut self, vlan: u16, passes: bool) {
        let vlan = usize::from(vlan & 0xfff);
        if let Some(word) = self.vlans.as_mut().and_then(|vlans| vlans.get_mut(vlan / 64)) {
            *word = *word & !(1 << (vlan % 64)) | u64::from(passes) << (vlan % 64);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: [u8; 6] = [2, 0, 0, 0, 0, 1];

    fn frame(destination: [u8; 6], vlan: Option<u16>) -> Vec<u8> {
        let mut frame = destination.to_vec();
        frame.extend([2, 0, 0, 0, 0, 9]);
        if let Some(vlan) = vlan {
            frame.extend([0x81, 0]);
            frame.extend(vlan.to_be_bytes());
        }
        frame.extend([8, 0, 1, 2, 3]);
        frame
    }

    fn filter() -> Filter {
        Filter { promiscuous: false, ..Filter::new(OWN) }
    }

    #[test]
    fn own_address_and_broadcast_pass_and_nothing_else() {
        let filter = filter();
        assert!(filter.passes(&frame(OWN, None)));
        assert!(filter.passes(&frame(BROADCAST, None)));
        assert!(!filter.passes(&frame([2, 0, 0, 0, 0, 2], None)));
        assert!(!filter.passes(&frame([1, 0, 0x5e, 0, 0, 1], None)));
        assert!(!filter.passes(&[1, 2, 3]));
    }

    #[test]
    fn suppression_wins_over_all_and_promiscuous_over_both() {
        let mut filter = Filter { all_multicast: true, no_multicast: true, ..filter() };
        let multicast = frame([1, 0, 0x5e, 0, 0, 1], None);
        assert!(!filter.passes(&multicast));
        assert!(filter.passes(&frame(BROADCAST, None)), "not a multicast here");
        filter.promiscuous = true;
        assert!(filter.passes(&multicast));
    }

    #[test]
    fn an_unlisted_vlan_is_dropped_and_priority_tags_pass() {
        let mut filter = Filter { vlans: Some(Box::new([0; 64])), ..filter() };
        assert!(!filter.passes(&frame(OWN, Some(100))));
        assert!(filter.passes(&frame(OWN, Some(0))));
        filter.set_vlan(100, true);
        assert!(filter.passes(&frame(OWN, Some(0x2000 | 100))));
        filter.set_vlan(100, false);
        assert!(!filter.passes(&frame(OWN, Some(100))));
    }
}
