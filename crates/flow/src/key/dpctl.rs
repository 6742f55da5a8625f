//! A flow in the syntax of `ovs-dpctl`, as Open vSwitch's `odp_flow_key_format()` writes the key of a datapath flow.
//!
//! Raw tunnel options are given in hexadecimal; those that the switch sorted by its own table are left out.

use core::fmt;

use super::FlowKey;
use super::text::{Address, Flags, Hex, List, TCP_FLAGS};
use crate::layout::{At, Layout};
use crate::metadata::PacketType;

/// Prints a flow in `ovs-dpctl`'s syntax.
#[derive(Clone, Copy)]
pub struct Dpctl<'a, L: Layout>(&'a FlowKey<L>);

/// "No port".
const NO_PORT: u32 = u32::MAX;

impl<'a, L: Layout> Dpctl<'a, L> {
    pub(super) fn new(key: &'a FlowKey<L>) -> Self {
        Dpctl(key)
    }
}

impl<L: Layout> fmt::Display for Dpctl<'_, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = self.0;
        let mut list = List::new(f);
        list.put(format_args!("recirc_id({})", Hex(key.recirculation())))?;
        list.put(format_args!("dp_hash({})", Hex(key.datapath_hash())))?;
        list.put(format_args!("skb_priority({})", Hex(key.priority())))?;
        tunnel(key, &mut list)?;
        if key.in_port() != NO_PORT {
            list.put(format_args!("in_port({})", key.in_port()))?;
        }
        list.put(format_args!("skb_mark({})", Hex(key.mark())))?;
        connection(key, &mut list)?;
        let kind = key.packet_type();
        list.put(format_args!("packet_type(ns={},id={})", kind.name_space(), Hex(kind.value())))?;
        let mut open = 0usize;
        if kind == PacketType::ETHERNET {
            list.put(format_args!("eth(src={},dst={})", key.ethernet_source(), key.ethernet_destination()))?;
            open = tags(key, &mut list)?;
        }
        let ended = open >= 16;
        if !ended && key.ethernet_type() >= 0x0600 {
            list.put(format_args!("eth_type(0x{:04x})", key.ethernet_type()))?;
            if !matches!(key.ethernet_type(), 0x8100 | 0x88a8) {
                network(key, &mut list)?;
                transport(key, &mut list)?;
            }
        }
        for _ in 0..open % 16 {
            list.close()?;
        }
        Ok(())
    }
}

/// Writes the tags and opens a bracket for what each encloses. Gives the number of open brackets, 16 more if nothing
/// goes into the last: then a tag was cut off.
fn tags<L: Layout>(key: &FlowKey<L>, list: &mut List<'_, '_>) -> Result<usize, fmt::Error> {
    let mut open = 0usize;
    for (protocol, control) in key.vlan_fields() {
        let cut_off = control == 0;
        if cut_off && !matches!(key.ethernet_type(), 0x8100 | 0x88a8) {
            break;
        }
        let protocol = if cut_off { key.ethernet_type() } else { protocol };
        list.put(format_args!("eth_type(0x{protocol:04x})"))?;
        let (identifier, priority) = (control & 0xfff, control >> 13);
        if control & 0x1000 == 0 {
            list.put(format_args!("vlan(vid={identifier},pcp={priority},cfi=0)"))?;
        } else {
            list.put(format_args!("vlan(vid={identifier},pcp={priority})"))?;
        }
        list.open("encap(")?;
        open = open.wrapping_add(1);
        if cut_off {
            return Ok(open.wrapping_add(16));
        }
    }
    Ok(open)
}

fn tunnel<L: Layout>(key: &FlowKey<L>, list: &mut List<'_, '_>) -> fmt::Result {
    let Some(tunnel) = key.tunnel() else { return Ok(()) };
    list.open("tunnel(")?;
    if tunnel.identifier != 0 || tunnel.flags & crate::TUNNEL_KEY != 0 {
        list.put(format_args!("tun_id={}", Hex(tunnel.identifier)))?;
    }
    if !tunnel.ipv4_source.is_unspecified() {
        list.put(format_args!("src={}", tunnel.ipv4_source))?;
    }
    if !tunnel.ipv4_destination.is_unspecified() {
        list.put(format_args!("dst={}", tunnel.ipv4_destination))?;
    }
    if !tunnel.ipv6_source.is_unspecified() {
        list.put(format_args!("ipv6_src={}", Address(tunnel.ipv6_source)))?;
    }
    if !tunnel.ipv6_destination.is_unspecified() {
        list.put(format_args!("ipv6_dst={}", Address(tunnel.ipv6_destination)))?;
    }
    if tunnel.type_of_service != 0 {
        list.put(format_args!("tos={}", Hex(tunnel.type_of_service)))?;
    }
    list.put(format_args!("ttl={}", tunnel.time_to_live))?;
    if tunnel.ports.0 != 0 {
        list.put(format_args!("tp_src={}", tunnel.ports.0))?;
    }
    if tunnel.ports.1 != 0 {
        list.put(format_args!("tp_dst={}", tunnel.ports.1))?;
    }
    if let Some((bytes, length)) = key.raw_tunnel_options() {
        list.put(format_args!("geneve(0x{})", Bytes(bytes.get(..length).unwrap_or(&[]))))?;
    }
    list.put(format_args!("flags("))?;
    let mut separator = "";
    for (bit, name) in [(1, "df"), (2, "csum"), (3, "key"), (0, "oam")] {
        if tunnel.flags >> bit & 1 != 0 {
            list.append(format_args!("{separator}{name}"))?;
            separator = "|";
        }
    }
    list.append(format_args!(")"))?;
    list.close()
}

/// Bytes in hexadecimal, run together.
struct Bytes<'a>(&'a [u8]);

impl fmt::Display for Bytes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

fn connection<L: Layout>(key: &FlowKey<L>, list: &mut List<'_, '_>) -> fmt::Result {
    list.put(format_args!("ct_state({})", Hex(datapath_state(key.connection_state()))))?;
    list.put(format_args!("ct_zone({})", Hex(key.connection_zone())))?;
    list.put(format_args!("ct_mark({})", Hex(key.connection_mark())))?;
    list.put(format_args!("ct_label({})", Hex(key.connection_label())))?;
    let (source_port, destination_port) = key.connection_ports();
    let protocol = key.connection_protocol();
    if protocol == 0 {
        return Ok(());
    }
    match key.ethernet_type() {
        0x0800 => {
            let [source, destination] = key.two_ipv4(At::<L>::CT_IPV4);
            list.put(format_args!("ct_tuple4(src={source},dst={destination},proto={protocol}"))?;
            list.put(format_args!("tp_src={source_port},tp_dst={destination_port})"))
        }
        0x86dd => {
            let [source, destination] = key.two_ipv6(At::<L>::CT_IPV6).map(Address);
            list.put(format_args!("ct_tuple6(src={source},dst={destination},proto={protocol}"))?;
            list.put(format_args!("src_port={source_port},dst_port={destination_port})"))
        }
        _ => Ok(()),
    }
}

/// The connection state with its bits where the datapath has them.
fn datapath_state(state: u8) -> u32 {
    // Here: new, established, related, reply, invalid, tracked, source and destination translated.
    // There the same; kept as a function for the day that they part.
    u32::from(state)
}

fn network<L: Layout>(key: &FlowKey<L>, list: &mut List<'_, '_>) -> fmt::Result {
    let protocol = key.ip_protocol();
    let fragment = match key.fragment_bits() {
        0 => "no",
        1 => "first",
        3 => "later",
        _ => "<error>",
    };
    let (service, limit) = (Hex(key.type_of_service()), key.time_to_live());
    match key.ethernet_type() {
        0x0800 => {
            let (source, destination) = (key.ipv4_source(), key.ipv4_destination());
            list.put(format_args!("ipv4(src={source},dst={destination},proto={protocol}"))?;
            list.put(format_args!("tos={service},ttl={limit},frag={fragment})"))
        }
        0x86dd => {
            let (source, destination) = (Address(key.ipv6_source()), Address(key.ipv6_destination()));
            list.put(format_args!("ipv6(src={source},dst={destination},label={}", Hex(key.ipv6_label())))?;
            list.put(format_args!("proto={protocol},tclass={service},hlimit={limit},frag={fragment})"))
        }
        0x0806 | 0x8035 => {
            list.put(format_args!("arp(sip={},tip={}", key.ipv4_source(), key.ipv4_destination()))?;
            // In a flow an operation has eight bits; the datapath's key has all of them set for 255.
            let operation = if protocol == u8::MAX { u16::MAX } else { u16::from(protocol) };
            list.put(format_args!("op={operation},sha={},tha={})", key.arp_source(), key.arp_target()))
        }
        0x8847 | 0x8848 => mpls(key, list),
        0x894f => {
            let Some(header) = key.service_header() else { return Ok(()) };
            list.put(format_args!("nsh(flags={},ttl={}", header.flags, header.time_to_live))?;
            list.put(format_args!("mdtype={},np={}", header.metadata_type, header.next_protocol))?;
            list.put(format_args!("spi=0x{:x},si={}", header.path, header.index))?;
            if header.metadata_type == 1 {
                for (index, word) in (1..).zip(header.context) {
                    list.put(format_args!("c{index}=0x{word:x}"))?;
                }
            }
            list.append(format_args!(")"))
        }
        _ => Ok(()),
    }
}

fn mpls<L: Layout>(key: &FlowKey<L>, list: &mut List<'_, '_>) -> fmt::Result {
    for (index, label) in key.mpls_labels().enumerate() {
        let start = if index == 0 { "mpls(" } else { "" };
        let (class, limit, bottom) =
            (label.traffic_class(), label.time_to_live(), u8::from(label.is_bottom()));
        list.put(format_args!("{start}label={},tc={class},ttl={limit},bos={bottom}", label.label()))?;
    }
    if key.mpls_labels().next().is_none() {
        list.put(format_args!("mpls("))?;
    }
    list.append(format_args!(")"))
}

fn transport<L: Layout>(key: &FlowKey<L>, list: &mut List<'_, '_>) -> fmt::Result {
    if !(key.is_ipv4() || key.is_ipv6()) || key.fragment_bits() & 2 != 0 {
        return Ok(());
    }
    let (source, destination) = (key.source_port(), key.destination_port());
    match key.ip_protocol() {
        6 => {
            list.put(format_args!("tcp(src={source},dst={destination})"))?;
            if key.tcp_flags() == 0 {
                return Ok(());
            }
            list.put(format_args!("tcp_flags({})", Flags { bits: key.tcp_flags().into(), names: &TCP_FLAGS }))
        }
        17 => list.put(format_args!("udp(src={source},dst={destination})")),
        132 => list.put(format_args!("sctp(src={source},dst={destination})")),
        1 if key.is_ipv4() => list.put(format_args!("icmp(type={source},code={destination})")),
        58 if key.is_ipv6() => {
            list.put(format_args!("icmpv6(type={source},code={destination})"))?;
            if !key.is_neighbour_discovery() {
                return Ok(());
            }
            let target = Address(key.discovery_target());
            list.put(format_args!("nd(target={target},sll={},tll={})", key.arp_source(), key.arp_target()))?;
            let (reserved, option) = (u32::from(key.igmp_group()), key.tcp_flags());
            if reserved == 0 && option == 0 {
                return Ok(());
            }
            list.put(format_args!("nd_ext(nd_reserved={reserved:#x},nd_options_type={option})"))
        }
        _ => Ok(()),
    }
}
