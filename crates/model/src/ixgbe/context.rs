//! Transmit descriptors, decoded (datasheet, section 7.2.3.2).

/// Bits of the command byte, which is bits 31:24 of the second word.
const END_OF_PACKET: u64 = 1 << 24;
const INSERT_CHECKSUM: u64 = 1 << 26;
const REPORT_STATUS: u64 = 1 << 27;
const EXTENDED: u64 = 1 << 29;
const INSERT_VLAN: u64 = 1 << 30;
const SEGMENT: u64 = 1 << 31;
/// Bits 23:20 of an advanced descriptor.
const KIND: u64 = 0xf << 20;
const KIND_CONTEXT: u64 = 2 << 20;
const KIND_DATA: u64 = 3 << 20;
/// Options of a data descriptor.
const INSERT_IP: u64 = 1 << 40;
const INSERT_L4: u64 = 1 << 41;

/// The transport protocol that a context names (TUCMD.L4T).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum L4 {
    #[default]
    Udp,
    Tcp,
    Sctp,
    Reserved,
}

/// A context: what offloads need to know of a packet (7.2.3.2.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Context {
    pub(crate) mac_length: usize,
    pub(crate) ip_length: usize,
    pub(crate) l4_length: usize,
    pub(crate) segment_size: usize,
    pub(crate) vlan: u16,
    pub(crate) ipv4: bool,
    pub(crate) l4: L4,
}

impl Context {
    fn decode(first: u64, second: u64) -> Self {
        Self {
            mac_length: (first >> 9 & 0x7f) as usize,
            ip_length: (first & 0x1ff) as usize,
            l4_length: (second >> 40 & 0xff) as usize,
            segment_size: (second >> 48) as usize,
            vlan: (first >> 16) as u16,
            ipv4: second >> 10 & 1 != 0,
            l4: match second >> 11 & 3 {
                0 => L4::Udp,
                1 => L4::Tcp,
                2 => L4::Sctp,
                _ => L4::Reserved,
            },
        }
    }
}

/// What is to be done with a packet. It is said by its first descriptor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) ip_checksum: bool,
    pub(crate) l4_checksum: bool,
    pub(crate) segment: bool,
    pub(crate) insert_vlan: bool,
    /// Which of the queue's two contexts.
    pub(crate) context: usize,
    /// Bytes to be segmented, without headers.
    pub(crate) payload: usize,
    /// The tag of a legacy descriptor.
    pub(crate) legacy_vlan: Option<u16>,
    /// A legacy descriptor's checksum: sum from the first place, store at the second.
    pub(crate) legacy_checksum: Option<(usize, usize)>,
}

/// A descriptor that names data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Data {
    pub(crate) address: u64,
    pub(crate) length: usize,
    pub(crate) last: bool,
    pub(crate) report: bool,
    pub(crate) request: Request,
}

/// A descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decoded {
    Context {
        slot: usize,
        context: Context,
        report: bool,
    },
    Data(Data),
    /// A type that doesn't exist.
    Unknown,
}

/// Reads a descriptor.
#[inline]
pub(crate) fn decode(first: u64, second: u64) -> Decoded {
    let report = second & REPORT_STATUS != 0;
    if second & EXTENDED == 0 {
        let vlan = (second & INSERT_VLAN != 0).then_some((second >> 48) as u16);
        let places = ((second >> 40 & 0xff) as usize, (second >> 16 & 0xff) as usize);
        return Decoded::Data(Data {
            address: first,
            length: (second & 0xffff) as usize,
            last: second & END_OF_PACKET != 0,
            report,
            request: Request {
                legacy_vlan: vlan,
                legacy_checksum: (second & INSERT_CHECKSUM != 0).then_some(places),
                ..Request::default()
            },
        });
    }
    let slot = (second >> 36 & 1) as usize;
    match second & KIND {
        KIND_DATA => Decoded::Data(Data {
            address: first,
            length: (second & 0xffff) as usize,
            last: second & END_OF_PACKET != 0,
            report,
            request: Request {
                ip_checksum: second & INSERT_IP != 0,
                l4_checksum: second & INSERT_L4 != 0,
                segment: second & SEGMENT != 0,
                insert_vlan: second & INSERT_VLAN != 0,
                context: slot,
                payload: (second >> 46) as usize,
                ..Request::default()
            },
        }),
        KIND_CONTEXT => Decoded::Context { slot, context: Context::decode(first, second), report },
        _ => Decoded::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_advanced_data_descriptor_says_what_to_do() {
        // 64 bytes, EOP, IFCS, RS, DEXT; IXSM and TXSM, context 1 to be used; PAYLEN 1000.
        let second = 64 | 3 << 20 | 0b0010_1011 << 24 | 1 << 36 | 1 << 39 | 0b11 << 40 | 1000 << 46;
        let Decoded::Data(data) = decode(0x1000, second) else { panic!("no data descriptor") };
        assert_eq!((data.address, data.length, data.last, data.report), (0x1000, 64, true, true));
        assert!(data.request.ip_checksum && data.request.l4_checksum && !data.request.segment);
        assert_eq!((data.request.context, data.request.payload), (1, 1000));
    }

    #[test]
    fn a_context_holds_lengths_kinds_and_the_tag() {
        let first = 20 | 14 << 9 | 0x602a << 16;
        let second = 1 << 10 | 1 << 11 | 2 << 20 | 1 << 29 | 1 << 36 | 20 << 40 | 1460 << 48;
        let expected = Context {
            mac_length: 14,
            ip_length: 20,
            l4_length: 20,
            segment_size: 1460,
            vlan: 0x602a,
            ipv4: true,
            l4: L4::Tcp,
        };
        assert_eq!(decode(first, second), Decoded::Context { slot: 1, context: expected, report: false });
    }

    #[test]
    fn a_legacy_descriptor_is_known_by_its_missing_extension_bit() {
        let second = 100 | 50 << 16 | 0b0100_1101 << 24 | 34 << 40 | 7 << 48;
        let Decoded::Data(data) = decode(0, second) else { panic!("no data descriptor") };
        assert_eq!(data.request.legacy_checksum, Some((34, 50)));
        assert_eq!(data.request.legacy_vlan, Some(7));
        assert_eq!(decode(0, 1 << 29 | 7 << 20), Decoded::Unknown);
    }
}
