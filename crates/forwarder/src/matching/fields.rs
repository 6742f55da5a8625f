//! The fields by name: how a value is written, what else has to be asked for, and where it is in a flow.
//!
//! Source: ovs-fields(7). A field's first name is that of ovs-ofctl's output.

use super::values::{Form, Masked, TAGGED};
use ringway_flow::{FlowKey, Mac, MplsLabel, V3_7, Vlan};

type Key = FlowKey<V3_7>;

/// A field.
#[derive(Debug)]
pub(super) struct Field {
    /// What it is called, and the older or newer names of the same.
    names: &'static [&'static str],
    /// Names of the same that also say whose it is.
    aliases: &'static [(&'static str, &'static [Need])],
    pub(super) form: Form,
    /// What has to be asked for beside it: any of them.
    pub(super) needs: &'static [Need],
    pub(super) read: fn(&Key) -> u128,
}

/// What a name says besides the field.
#[derive(Clone, Copy, Debug)]
pub(super) enum Alias {
    /// Nothing.
    Plain,
    /// Whose field it is: any of these.
    Of(&'static [Need]),
}

/// What a field belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    Tag,
    V4,
    V6,
    Arp,
    Rarp,
    Mpls,
    /// A protocol over IPv4, with its word.
    Of4(u8, &'static str),
    /// The same over IPv6.
    Of6(u8, &'static str),
}

/// What several fields are parts of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word {
    /// The outermost VLAN tag.
    Tag,
    /// The type of service.
    Service,
}

const TCP: [Need; 2] = [Need::Of4(6, "tcp"), Need::Of6(6, "tcp6")];
const PORTS: [Need; 6] = [
    TCP[0],
    TCP[1],
    Need::Of4(17, "udp"),
    Need::Of6(17, "udp6"),
    Need::Of4(132, "sctp"),
    Need::Of6(132, "sctp6"),
];
const UDP: [Need; 2] = [PORTS[2], PORTS[3]];
const SCTP: [Need; 2] = [PORTS[4], PORTS[5]];
const IP: [Need; 2] = [Need::V4, Need::V6];
const ICMP: [Need; 2] = [Need::Of4(1, "icmp"), Need::Of6(58, "icmp6")];
const ICMP6: [Need; 1] = [Need::Of6(58, "icmp6")];
const ADDRESS_RESOLUTION: [Need; 2] = [Need::Arp, Need::Rarp];

impl Need {
    /// How it is asked for.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Tag => "dl_vlan=5",
            Self::V4 => "ip",
            Self::V6 => "ipv6",
            Self::Arp => "arp",
            Self::Rarp => "rarp",
            Self::Mpls => "mpls",
            Self::Of4(_, word) | Self::Of6(_, word) => word,
        }
    }

    /// Whether it is asked for, by Ethernet type, IP protocol and VLAN tag.
    pub(super) fn is_met(self, kind: Option<u128>, protocol: Option<u128>, tagged: bool) -> bool {
        match self {
            Self::Tag => tagged,
            Self::V4 => kind == Some(0x0800),
            Self::V6 => kind == Some(0x86dd),
            Self::Arp => kind == Some(0x0806),
            Self::Rarp => kind == Some(0x8035),
            Self::Mpls => matches!(kind, Some(0x8847 | 0x8848)),
            Self::Of4(number, _) => kind == Some(0x0800) && protocol == Some(number.into()),
            Self::Of6(number, _) => kind == Some(0x86dd) && protocol == Some(number.into()),
        }
    }
}

/// The protocol words (ovs-ofctl(8)): the Ethernet type and the IP protocol that they stand for.
pub(super) const WORDS: [(&str, u16, Option<u8>); 14] = [
    ("ip", 0x0800, None),
    ("icmp", 0x0800, Some(1)),
    ("tcp", 0x0800, Some(6)),
    ("udp", 0x0800, Some(17)),
    ("sctp", 0x0800, Some(132)),
    ("ipv6", 0x86dd, None),
    ("icmp6", 0x86dd, Some(58)),
    ("tcp6", 0x86dd, Some(6)),
    ("udp6", 0x86dd, Some(17)),
    ("sctp6", 0x86dd, Some(132)),
    ("arp", 0x0806, None),
    ("rarp", 0x8035, None),
    ("mpls", 0x8847, None),
    ("mplsm", 0x8848, None),
];

/// Beginnings of the names of what only a switch knows.
pub(super) const OF_SWITCHES: [&str; 24] = [
    "reg",
    "xreg",
    "xxreg",
    "metadata",
    "tun_",
    "tunnel",
    "ct_",
    "conj_id",
    "cookie",
    "table",
    "priority",
    "pkt_mark",
    "recirc_id",
    "dp_hash",
    "skb_",
    "actset",
    "packet_type",
    "idle_",
    "hard_",
    "importance",
    "out_",
    "actions",
    "flags",
    "duration",
];

/// Places of the Ethernet type and the IP protocol among the fields.
pub(super) const TYPE: usize = 0;
pub(super) const PROTOCOL: usize = 1;

/// A field that needs nothing beside it, and has no name that says whose it is.
const fn plain(names: &'static [&'static str], form: Form, read: fn(&Key) -> u128) -> Field {
    Field { names, aliases: &[], form, needs: &[], read }
}

/// One that needs something.
const fn needing(
    names: &'static [&'static str],
    form: Form,
    needs: &'static [Need],
    read: fn(&Key) -> u128,
) -> Field {
    Field { names, aliases: &[], form, needs, read }
}

/// All of them.
pub(super) static FIELDS: [Field; 37] = [
    plain(&["dl_type", "eth_type"], Form::Number(16), |key| key.ethernet_type().into()),
    needing(&["nw_proto", "ip_proto"], Form::Number(8), &IP, |key| key.ip_protocol().into()),
    plain(&["in_port"], Form::Number(16), |key| key.in_port().into()),
    plain(&["dl_src", "eth_src"], Form::Ethernet, |key| of_mac(key.ethernet_source())),
    plain(&["dl_dst", "eth_dst"], Form::Ethernet, |key| of_mac(key.ethernet_destination())),
    plain(&["vlan_tci"], Form::MaskedNumber(16), tag),
    plain(&["dl_vlan"], Form::VlanId, tag),
    plain(&["vlan_vid"], Form::MaskedNumber(13), |key| tag(key) & 0x1fff),
    plain(&["dl_vlan_pcp"], Form::VlanPriority, tag),
    needing(&["vlan_pcp"], Form::VlanPriority, &[Need::Tag], tag),
    needing(&["nw_src", "ip_src"], Form::V4, &[Need::V4], |key| key.ipv4_source().to_bits().into()),
    needing(&["nw_dst", "ip_dst"], Form::V4, &[Need::V4], |key| key.ipv4_destination().to_bits().into()),
    needing(&["ipv6_src"], Form::V6, &[Need::V6], |key| key.ipv6_source().to_bits()),
    needing(&["ipv6_dst"], Form::V6, &[Need::V6], |key| key.ipv6_destination().to_bits()),
    needing(&["ipv6_label"], Form::MaskedNumber(20), &[Need::V6], |key| key.ipv6_label().into()),
    needing(&["nw_tos"], Form::Service, &IP, |key| key.type_of_service().into()),
    needing(&["ip_dscp"], Form::Number(6), &IP, |key| (key.type_of_service() >> 2).into()),
    needing(&["nw_ecn", "ip_ecn"], Form::Number(2), &IP, |key| (key.type_of_service() & 3).into()),
    needing(&["nw_ttl"], Form::Number(8), &IP, |key| key.time_to_live().into()),
    needing(&["nw_frag", "ip_frag"], Form::Fragment, &IP, |key| key.fragment_bits().into()),
    Field {
        names: &["tp_src"],
        aliases: &[("tcp_src", &TCP), ("udp_src", &UDP), ("sctp_src", &SCTP)],
        form: Form::MaskedNumber(16),
        needs: &PORTS,
        read: |key| key.source_port().into(),
    },
    Field {
        names: &["tp_dst"],
        aliases: &[("tcp_dst", &TCP), ("udp_dst", &UDP), ("sctp_dst", &SCTP)],
        form: Form::MaskedNumber(16),
        needs: &PORTS,
        read: |key| key.destination_port().into(),
    },
    needing(&["tcp_flags"], Form::TcpFlags, &TCP, |key| key.tcp_flags().into()),
    Field {
        names: &["icmp_type"],
        aliases: &[("icmpv6_type", &ICMP6)],
        form: Form::Number(8),
        needs: &ICMP,
        read: |key| key.source_port().into(),
    },
    Field {
        names: &["icmp_code"],
        aliases: &[("icmpv6_code", &ICMP6)],
        form: Form::Number(8),
        needs: &ICMP,
        read: |key| key.destination_port().into(),
    },
    needing(&["arp_op"], Form::Number(16), &ADDRESS_RESOLUTION, |key| key.ip_protocol().into()),
    needing(&["arp_spa"], Form::V4, &ADDRESS_RESOLUTION, |key| key.ipv4_source().to_bits().into()),
    needing(&["arp_tpa"], Form::V4, &ADDRESS_RESOLUTION, |key| key.ipv4_destination().to_bits().into()),
    needing(&["arp_sha"], Form::Ethernet, &ADDRESS_RESOLUTION, |key| of_mac(key.arp_source())),
    needing(&["arp_tha"], Form::Ethernet, &ADDRESS_RESOLUTION, |key| of_mac(key.arp_target())),
    needing(&["nd_target"], Form::V6, &ICMP6, |key| key.discovery_target().to_bits()),
    needing(&["nd_sll"], Form::Ethernet, &ICMP6, |key| of_mac(key.arp_source())),
    needing(&["nd_tll"], Form::Ethernet, &ICMP6, |key| of_mac(key.arp_target())),
    needing(&["mpls_label"], Form::Number(20), &[Need::Mpls], |key| label(key, |label| label.label())),
    needing(&["mpls_tc"], Form::Number(3), &[Need::Mpls], |key| {
        label(key, |label| label.traffic_class().into())
    }),
    needing(&["mpls_ttl"], Form::Number(8), &[Need::Mpls], |key| {
        label(key, |label| label.time_to_live().into())
    }),
    needing(&["mpls_bos"], Form::Number(1), &[Need::Mpls], |key| {
        label(key, |label| label.is_bottom().into())
    }),
];

impl Field {
    /// Its name.
    pub(super) fn name(&self) -> &'static str {
        self.names.first().copied().unwrap_or_default()
    }

    /// Whether it says where packets arrived.
    pub(super) fn is_port(&self) -> bool {
        self.name() == "in_port"
    }

    /// Whether only packets with a VLAN tag have this value.
    pub(super) fn asks_for_tag(&self, Masked { value, mask }: Masked) -> bool {
        matches!(self.form, Form::VlanId | Form::VlanPriority | Form::MaskedNumber(13 | 16))
            && self.name().contains("vlan")
            && value & mask & TAGGED != 0
    }

    /// The word that it shares with other fields, and how far to the left its lowest bit lies there.
    pub(super) fn shares(&self) -> Option<(Word, u32)> {
        match self.name() {
            "vlan_tci" | "dl_vlan" | "vlan_vid" | "dl_vlan_pcp" | "vlan_pcp" => Some((Word::Tag, 0)),
            "nw_tos" | "nw_ecn" => Some((Word::Service, 0)),
            "ip_dscp" => Some((Word::Service, 2)),
            _ => None,
        }
    }

    /// Fields that others may need come first: 1, then 2, then the others.
    pub(super) fn rank(&self) -> u8 {
        match self.name() {
            "dl_type" | "vlan_tci" | "vlan_vid" | "dl_vlan" => 1,
            "nw_proto" => 2,
            _ => 3,
        }
    }
}

/// The field of a name.
pub(super) fn find(name: &str) -> Option<(&'static Field, Alias)> {
    FIELDS.iter().find_map(|field| {
        if field.names.contains(&name) {
            return Some((field, Alias::Plain));
        }
        let (_, need) = field.aliases.iter().find(|(alias, _)| *alias == name)?;
        Some((field, Alias::Of(need)))
    })
}

/// The protocol words, for an error.
pub(super) fn words() -> String {
    WORDS.map(|(word, ..)| word).join(", ")
}

/// The names of fields, for an error.
pub(super) fn names() -> String {
    FIELDS.iter().map(Field::name).collect::<Vec<_>>().join(", ")
}

fn of_mac(address: Mac) -> u128 {
    address.octets().iter().fold(0, |all, &byte| all << 8 | u128::from(byte))
}

/// The outermost tag as `vlan_tci` has it: with the bit that says that there is one.
fn tag(key: &Key) -> u128 {
    key.vlan().map_or(0, |Vlan { identifier, priority, .. }| {
        u128::from(priority) << 13 | TAGGED | u128::from(identifier)
    })
}

fn label(key: &Key, of: impl Fn(MplsLabel) -> u32) -> u128 {
    key.mpls_labels().next().map_or(0, |label| of(label).into())
}
