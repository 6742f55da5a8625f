//! A flow in the syntax of `ovs-ofctl`, field for field as Open vSwitch's `flow_format()` writes it.
//!
//! Tunnel options that the switch sorted by its own table are left out: only the switch knows their lengths.

use core::fmt;

use super::text::{Address, CONNECTION_STATE, Digit, Flags, Hex, List, TCP_FLAGS};
use super::{FlowKey, Mac, MplsLabel};
use crate::layout::{At, Layout};
use crate::metadata::PacketType;

/// Prints a flow in `ovs-ofctl`'s syntax.
#[derive(Clone, Copy)]
pub struct Ofctl<'a, L: Layout>(&'a FlowKey<L>);

/// Names of the tunnel flags from the lowest bit.
const TUNNEL_FLAGS: [&str; 4] = ["oam", "df", "csum", "key"];

impl<'a, L: Layout> Ofctl<'a, L> {
    pub(super) fn new(key: &'a FlowKey<L>) -> Self {
        Ofctl(key)
    }
}

impl<L: Layout> fmt::Display for Ofctl<'_, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = self.0;
        let mut list = List::new(f);
        metadata(key, &mut list)?;
        connection(key, &mut list)?;
        let ethernet = key.packet_type() == PacketType::ETHERNET;
        let mut kind = key.ethernet_type();
        if !ethernet || key.recirculation() != 0 {
            if ethernet {
                list.put(format_args!("eth"))?;
            } else {
                let (space, value) = (key.packet_type().name_space(), key.packet_type().value());
                list.put(format_args!("packet_type=({},{})", Digit(space), Digit(value)))?;
                if space == 1 {
                    kind = value;
                }
            }
        }
        let named = if ethernet { name(kind, key.ip_protocol()) } else { None };
        if let Some((name, _)) = named {
            list.put(format_args!("{name}"))?;
        }
        tunnel(key, &mut list)?;
        if key.in_port() as u16 != 0 || key.in_port() != 0 {
            port(key.in_port() as u16, &mut list)?;
        }
        if ethernet {
            link(key, &mut list)?;
            if named.is_none() {
                list.put(format_args!("dl_type=0x{kind:04x}"))?;
            }
        }
        // What the wildcards of a packet leave depends on the type in the packet type, but fields are named by the
        // type in the Ethernet header where the packet has one.
        let shown = if ethernet { key.ethernet_type() } else { key.packet_type().value() };
        network(key, shown, named.is_some_and(|(_, whole)| whole), &mut list)
    }
}

/// The short name for a type and protocol, and whether it says the protocol too.
fn name(kind: u16, protocol: u8) -> Option<(&'static str, bool)> {
    Some(match (kind, protocol) {
        (0x0800, 1) => ("icmp", true),
        (0x0800, 6) => ("tcp", true),
        (0x0800, 17) => ("udp", true),
        (0x0800, 132) => ("sctp", true),
        (0x0800, _) => ("ip", false),
        (0x86dd, 58) => ("icmp6", true),
        (0x86dd, 6) => ("tcp6", true),
        (0x86dd, 17) => ("udp6", true),
        (0x86dd, 132) => ("sctp6", true),
        (0x86dd, _) => ("ipv6", false),
        (0x0806, _) => ("arp", false),
        (0x8035, _) => ("rarp", false),
        (0x8847, _) => ("mpls", false),
        (0x8848, _) => ("mplsm", false),
        _ => return None,
    })
}

fn metadata<L: Layout>(key: &FlowKey<L>, list: &mut List<'_, '_>) -> fmt::Result {
    for (name, value) in [
        ("pkt_mark", key.mark()),
        ("recirc_id", key.recirculation()),
        ("dp_hash", key.datapath_hash()),
        ("skb_priority", key.priority()),
    ] {
        if value != 0 {
            list.put(format_args!("{name}={value:#x}"))?;
        }
    }
    Ok(())
}

fn connection<L: Layout>(key: &FlowKey<L>, list: &mut List<'_, '_>) -> fmt::Result {
    let state = key.connection_state();
    if state != 0 {
        list.put(format_args!("ct_state={}", Flags { bits: state.into(), names: &CONNECTION_STATE }))?;
    }
    if key.connection_zone() != 0 {
        list.put(format_args!("ct_zone={}", key.connection_zone()))?;
    }
    if key.connection_mark() != 0 {
        list.put(format_args!("ct_mark={:#x}", key.connection_mark()))?;
    }
    if key.connection_label() != 0 {
        list.put(format_args!("ct_label={:#x}", key.connection_label()))?;
    }
    // A state that says that the connection is known, or at least not invalid.
    let valid = state & 0xcf != 0 || state & 0x30 == 0x20;
    if !valid || key.connection_protocol() == 0 {
        return Ok(());
    }
    match key.ethernet_type() {
        0x0800 => {
            let [source, destination] = key.two_ipv4(At::<L>::CT_IPV4);
            list.put(format_args!("ct_nw_src={source},ct_nw_dst={destination}"))?;
        }
        0x86dd if !key.is_neighbour_discovery() => {
            let [source, destination] = key.two_ipv6(At::<L>::CT_IPV6).map(Address);
            list.put(format_args!("ct_ipv6_src={source},ct_ipv6_dst={destination}"))?;
        }
        0x86dd | 0x894f => {}
        _ => return Ok(()),
    }
    let (source, destination) = key.connection_ports();
    list.put(format_args!("ct_nw_proto={}", key.connection_protocol()))?;
    list.put(format_args!("ct_tp_src={source},ct_tp_dst={destination}"))
}

fn tunnel<L: Layout>(key: &FlowKey<L>, list: &mut List<'_, '_>) -> fmt::Result {
    let Some(tunnel) = key.tunnel() else { return Ok(()) };
    if tunnel.flags & crate::TUNNEL_KEY != 0 {
        list.put(format_args!("tun_id={}", Hex(tunnel.identifier)))?;
    }
    list.put(format_args!("tun_src={},tun_dst={}", tunnel.ipv4_source, tunnel.ipv4_destination))?;
    list.put(format_args!("tun_ipv6_src={}", Address(tunnel.ipv6_source)))?;
    list.put(format_args!("tun_ipv6_dst={}", Address(tunnel.ipv6_destination)))?;
    list.put(format_args!("tun_gbp_id={}", tunnel.group_policy.0))?;
    list.put(format_args!("tun_gbp_flags={}", Hex(tunnel.group_policy.1)))?;
    list.put(format_args!("tun_tos={:x},tun_ttl={}", tunnel.type_of_service, tunnel.time_to_live))?;
    let (version, index, direction, hardware) = tunnel.erspan;
    list.put(format_args!("tun_erspan_ver={version}"))?;
    if version == 1 {
        list.put(format_args!("tun_erspan_idx={}", Hex(index)))?;
    }
    if version == 2 {
        list.put(format_args!("tun_erspan_dir={direction},tun_erspan_hwid={}", Hex(hardware)))?;
    }
    list.put(format_args!("gtpu_flags={},gtpu_msgtype={}", Hex(tunnel.gtpu.0), tunnel.gtpu.1))?;
    let flags = Flags { bits: u32::from(tunnel.flags & 15), names: &TUNNEL_FLAGS };
    list.put(format_args!("tun_flags={flags}"))
}

/// Ports are OpenFlow's here, 16 bits wide, and some have names.
fn port(port: u16, list: &mut List<'_, '_>) -> fmt::Result {
    let name = match port {
        0xfff7 => "UNSET",
        0xfff8 => "IN_PORT",
        0xfff9 => "TABLE",
        0xfffa => "NORMAL",
        0xfffb => "FLOOD",
        0xfffc => "ALL",
        0xfffd => "CONTROLLER",
        0xfffe => "LOCAL",
        0xffff => "ANY",
        _ => return list.put(format_args!("in_port={port}")),
    };
    list.put(format_args!("in_port={name}"))
}

fn link<L: Layout>(key: &FlowKey<L>, list: &mut List<'_, '_>) -> fmt::Result {
    for (index, (_, control)) in key.vlan_fields().into_iter().enumerate() {
        let suffix = if index == 0 { "" } else { "1" };
        if control & 0x1000 == 0 {
            list.put(format_args!("vlan_tci{suffix}=0x{control:04x}"))?;
        } else {
            let (identifier, priority) = (control & 0xfff, control >> 13);
            list.put(format_args!("dl_vlan{suffix}={identifier},dl_vlan_pcp{suffix}={priority}"))?;
        }
        if control == 0 {
            break;
        }
    }
    list.put(format_args!("dl_src={},dl_dst={}", key.ethernet_source(), key.ethernet_destination()))
}

fn network<L: Layout>(
    key: &FlowKey<L>,
    kind: u16,
    protocol_named: bool,
    list: &mut List<'_, '_>,
) -> fmt::Result {
    let protocol = key.ip_protocol();
    match kind {
        0x0800 => {
            list.put(format_args!("nw_src={},nw_dst={}", key.ipv4_source(), key.ipv4_destination()))?;
        }
        0x86dd => {
            let (source, destination) = (Address(key.ipv6_source()), Address(key.ipv6_destination()));
            list.put(format_args!("ipv6_src={source},ipv6_dst={destination}"))?;
            list.put(format_args!("ipv6_label=0x{:05x}", key.ipv6_label()))?;
        }
        0x0806 | 0x8035 => {
            list.put(format_args!("arp_spa={},arp_tpa={}", key.ipv4_source(), key.ipv4_destination()))?;
            let (source, target): (Mac, Mac) = (key.arp_source(), key.arp_target());
            return list.put(format_args!("arp_op={protocol},arp_sha={source},arp_tha={target}"));
        }
        0x8847 | 0x8848 => return mpls(key, list),
        0x894f => service_header(key, list)?,
        _ => return Ok(()),
    }
    if !protocol_named {
        list.put(format_args!("nw_proto={protocol}"))?;
    }
    let service = key.type_of_service();
    list.put(format_args!("nw_tos={},nw_ecn={}", service & 0xfc, service & 3))?;
    let fragment = match key.fragment_bits() {
        0 => "no",
        1 => "first",
        2 => "<error>",
        _ => "later",
    };
    list.put(format_args!("nw_ttl={},nw_frag={fragment}", key.time_to_live()))?;
    transport(key, kind, list)
}

fn transport<L: Layout>(key: &FlowKey<L>, kind: u16, list: &mut List<'_, '_>) -> fmt::Result {
    let protocol = key.ip_protocol();
    if key.fragment_bits() & 2 != 0 || !matches!(protocol, 1 | 2 | 6 | 17 | 58 | 132) {
        // An exception of the format: the flags of TCP are left out, too.
        return Ok(());
    }
    let (source, destination) = (key.source_port(), key.destination_port());
    match (kind, protocol) {
        (0x0800, 1) | (0x86dd, 58) => {
            list.put(format_args!("icmp_type={source},icmp_code={destination}"))?;
        }
        _ => list.put(format_args!("tp_src={source},tp_dst={destination}"))?,
    }
    if key.is_neighbour_discovery() {
        list.put(format_args!("nd_target={}", Address(key.discovery_target())))?;
        list.put(format_args!("nd_sll={},nd_tll={}", key.arp_source(), key.arp_target()))?;
    }
    if protocol == 6 && (key.is_ipv4() || key.is_ipv6()) {
        let flags = Flags { bits: key.tcp_flags().into(), names: &TCP_FLAGS };
        list.put(format_args!("tcp_flags={flags}"))?;
    }
    Ok(())
}

fn mpls<L: Layout>(key: &FlowKey<L>, list: &mut List<'_, '_>) -> fmt::Result {
    for (index, label) in key.mpls_words().map(MplsLabel).into_iter().enumerate() {
        let bottom = label.is_bottom();
        if index == 0 {
            list.put(format_args!("mpls_label={},mpls_tc={}", label.label(), label.traffic_class()))?;
            list.put(format_args!("mpls_ttl={},mpls_bos={}", label.time_to_live(), u8::from(bottom)))?;
        } else {
            list.put(format_args!("mpls_lse{index}={}", label.0))?;
        }
        if bottom {
            break;
        }
    }
    Ok(())
}

fn service_header<L: Layout>(key: &FlowKey<L>, list: &mut List<'_, '_>) -> fmt::Result {
    let Some(header) = key.service_header() else { return Ok(()) };
    list.put(format_args!("nsh_flags={},nsh_ttl={}", header.flags, header.time_to_live))?;
    list.put(format_args!("nsh_mdtype={},nsh_np={}", header.metadata_type, header.next_protocol))?;
    list.put(format_args!("nsh_spi=0x{:x},nsh_si={}", header.path, header.index))?;
    if header.metadata_type == 1 {
        for (index, word) in (1..).zip(header.context) {
            list.put(format_args!("nsh_c{index}=0x{word:x}"))?;
        }
    }
    Ok(())
}
