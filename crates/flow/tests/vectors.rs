//! Fixed packets and what is in them, written down by hand from the protocols' specifications.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ringway_flow::{
    ABSENT, Connection, ConnectionTuple, FlowKey, Layout, Metadata, Miniflow, PacketType, Protocols, Reason,
    Tunnel, V3_1, V3_5, V3_6, V3_7, VlanLimit, extract, extract_batch, extract_by_general_path,
    samples::Kind,
};

fn key_of(kind: Kind) -> FlowKey<V3_7> {
    FlowKey::of_frame(&kind.packet(0x0102))
}

#[test]
fn a_udp_packet_has_its_five_tuple_and_addresses() {
    let key = key_of(Kind::UdpIpv4);
    let tuple = key.five_tuple().unwrap();
    assert_eq!(tuple.source, IpAddr::V4(Ipv4Addr::new(10, 1, 1, 2)));
    assert_eq!(tuple.destination, IpAddr::V4(Ipv4Addr::new(10, 2, 0, 2)));
    assert_eq!((tuple.protocol, tuple.ports), (17, Some((0x3001, 53))));
    assert_eq!(key.ethernet_destination().to_string(), "02:00:00:00:00:01");
    assert_eq!(key.ethernet_source().to_string(), "02:00:00:00:01:02");
    assert_eq!((key.type_of_service(), key.time_to_live()), (0x10, 64));
}

#[test]
fn a_tcp_packet_over_ipv6_has_its_flags_behind_four_extension_headers() {
    let key = key_of(Kind::TcpIpv6Extensions);
    let tuple = key.five_tuple().unwrap();
    assert_eq!(tuple.source, IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x0102)));
    assert_eq!((tuple.protocol, tuple.ports), (6, Some((0xc001, 443))));
    assert_eq!(key.tcp_flags(), 0x18);
}

#[test]
fn vlan_tags_come_from_the_outermost_and_only_up_to_the_limit() {
    let packet = Kind::QinqUdpIpv4.packet(0x0102);
    let tags = |limit| {
        let mut flow = Miniflow::<V3_7>::new();
        extract(&packet, PacketType::ETHERNET, &Metadata::new(0), limit, &mut flow);
        let key = flow.expand();
        let tags: Vec<_> = key.vlans().map(|tag| (tag.protocol, tag.identifier, tag.priority)).collect();
        (tags, key.ethernet_type())
    };
    assert_eq!(tags(VlanLimit::TWO), (vec![(0x88a8, 2, 0), (0x8100, 1, 3)], 0x0800));
    assert_eq!(tags(VlanLimit::ONE), (vec![(0x88a8, 2, 0)], 0x8100));
    assert_eq!(tags(VlanLimit::NONE), (vec![], 0x88a8));
}

#[test]
fn three_labels_of_a_deep_stack_are_kept() {
    let key = key_of(Kind::MplsDeep);
    let labels: Vec<_> = key.mpls_labels().map(|label| label.label()).collect();
    assert_eq!(labels, [1, 1 << 4 | 1, 2 << 4 | 1]);
}

#[test]
fn arp_and_neighbour_discovery_give_addresses() {
    let arp = key_of(Kind::Arp);
    assert_eq!((arp.ip_protocol(), arp.ipv4_source()), (1, Ipv4Addr::new(10, 0, 0, 1)));
    assert_eq!(arp.arp_source().to_string(), "02:00:00:00:01:02");
    let solicitation = key_of(Kind::Solicitation);
    assert!(solicitation.is_neighbour_discovery());
    assert_eq!(solicitation.discovery_target(), "fe80::102".parse::<Ipv6Addr>().unwrap());
}

#[test]
fn a_service_header_is_taken_apart() {
    let header = key_of(Kind::ServiceHeaderContext).service_header().unwrap();
    assert_eq!((header.metadata_type, header.next_protocol, header.path, header.index), (1, 3, 1, 255));
    assert_eq!(header.context, [1, 2, 3, 4]);
}

#[test]
fn layers_and_protocols_are_reported() {
    let packet = Kind::VlanUdpIpv4.packet(0);
    let mut flow = Miniflow::<V3_7>::new();
    let found = extract(&packet, PacketType::ETHERNET, &Metadata::new(0), VlanLimit::ONE, &mut flow);
    let layers = found.layers();
    assert_eq!((layers.mpls, layers.network, layers.transport), (ABSENT, 18, 38));
    assert_eq!(usize::from(layers.padding), packet.len() - 18 - 38);
    assert!(found.protocols().contains(Protocols::IPV4.with(Protocols::UDP)));
    assert_eq!(found.outcome(), Ok(()));
}

#[test]
fn the_outcome_says_where_and_why_a_packet_stopped_making_sense() {
    let outcome = |packet: &[u8]| {
        let mut flow = Miniflow::<V3_7>::new();
        let found = extract(packet, PacketType::ETHERNET, &Metadata::new(0), VlanLimit::TWO, &mut flow);
        found.outcome().map_err(|fault| (fault.reason, fault.offset))
    };
    let udp = Kind::UdpIpv4.packet(0);
    assert_eq!(outcome(&udp[..13]), Err((Reason::EthernetTruncated, 0)));
    assert_eq!(outcome(&udp[..33]), Err((Reason::Ipv4Truncated, 14)));
    assert_eq!(outcome(&udp[..45]), Err((Reason::Ipv4TotalLength, 14)));
    let mut tcp = Kind::TcpIpv4.packet(0);
    tcp[46] = 0x40;
    assert_eq!(outcome(&tcp), Err((Reason::TcpDataOffset, 34)));
    let mut discovery = Kind::Solicitation.packet(0);
    discovery[79] = 0;
    assert_eq!(outcome(&discovery), Err((Reason::NdOptionLength, 78)));
    let mpls = Kind::MplsThree.packet(0);
    assert_eq!(outcome(&mpls[..22]), Err((Reason::MplsUnterminated, 22)));
    let fault = Kind::Arp.packet(0);
    assert_eq!(outcome(&fault[..40]), Err((Reason::ArpTruncated, 14)));
    assert_eq!(
        ringway_flow::Malformed { reason: Reason::ArpTruncated, offset: 14 }.to_string(),
        "ARP cut short at byte 14"
    );
}

#[test]
fn a_header_length_of_255_does_not_hang_the_parser() {
    // The predecessor added one to it in eight bits, took nothing off, and looped for ever.
    let mut packet = Kind::TcpIpv6Extensions.packet(0);
    packet[55] = 255;
    let mut flow = Miniflow::<V3_7>::new();
    let found = extract(&packet, PacketType::ETHERNET, &Metadata::new(0), VlanLimit::TWO, &mut flow);
    assert_eq!(found.outcome().unwrap_err().reason, Reason::Ipv6ExtensionTruncated);
}

/// An IPv6 frame whose only extension header is of this kind, says this length, and is as long as that takes; behind it UDP.
fn with_extension(kind: u8, length: u8, bytes: usize) -> Vec<u8> {
    let mut packet = [&[2; 12][..], &[0x86, 0xdd, 0x60, 0, 0, 0]].concat();
    packet.extend((bytes as u16 + 8).to_be_bytes());
    packet.extend([kind, 64]);
    packet.extend([0x20; 32]);
    packet.extend([17, length]);
    packet.resize(54 + bytes, 0);
    packet.extend([0x30, 0x01, 0, 53, 0, 8, 0, 0]);
    packet
}

#[test]
fn an_extension_header_of_any_kind_and_length_is_as_long_as_it_says_or_malformed() {
    // In eight bits a hop-by-hop header of length 255 and an authentication header of length 254 have no bytes at all.
    type Extract = fn(&[u8], &mut Miniflow<V3_7>) -> Result<(), Reason>;
    let both: [Extract; 2] = [
        |packet, flow| {
            let found = extract(packet, PacketType::ETHERNET, &Metadata::new(0), VlanLimit::TWO, flow);
            found.outcome().map_err(|fault| fault.reason)
        },
        |packet, flow| {
            let metadata = Metadata::new(0);
            let found =
                extract_by_general_path(packet, PacketType::ETHERNET, &metadata, VlanLimit::TWO, flow);
            found.outcome().map_err(|fault| fault.reason)
        },
    ];
    for (kind, ahead, unit) in [(0, 1, 8), (43, 1, 8), (60, 1, 8), (51, 2, 4)] {
        for length in 0..=255u8 {
            let bytes = (usize::from(length) + ahead) * unit;
            let packet = with_extension(kind, length, bytes);
            for extract in both {
                let mut flow = Miniflow::<V3_7>::new();
                extract(&packet, &mut flow).unwrap();
                let ports = flow.expand().five_tuple().and_then(|tuple| tuple.ports);
                assert_eq!(ports, Some((0x3001, 53)), "kind {kind}, length {length}");
                if bytes > 8 {
                    let short = with_extension(kind, length, bytes - 9);
                    let outcome = extract(&short, &mut Miniflow::new());
                    assert_eq!(outcome, Err(Reason::Ipv6ExtensionTruncated), "kind {kind}, length {length}");
                }
            }
        }
    }
}

fn tracked() -> Metadata {
    let tuple = ConnectionTuple::V4 {
        source: Ipv4Addr::new(1, 2, 3, 4),
        destination: Ipv4Addr::new(5, 6, 7, 8),
        source_port: 1000,
        destination_port: 2000,
        protocol: 17,
    };
    let connection = Connection { state: 0x22, zone: 7, mark: 9, label: 1 << 70, tuple: Some(tuple) };
    Metadata::new(3).with_connection(&connection)
}

#[test]
fn a_tracked_connection_is_in_the_key() {
    let mut flow = Miniflow::<V3_7>::new();
    let packet = Kind::UdpIpv4.packet(0);
    extract(&packet, PacketType::ETHERNET, &tracked(), VlanLimit::ONE, &mut flow);
    let key = flow.expand();
    assert_eq!((key.connection_state(), key.connection_zone(), key.connection_mark()), (0x22, 7, 9));
    assert_eq!(key.connection_label(), 1 << 70);
    let Some(ConnectionTuple::V4 { source_port, protocol, .. }) = key.connection_tuple() else {
        panic!("no tuple in {key}")
    };
    assert_eq!((source_port, protocol), (1000, 17));
}

/// Whether a later fragment and an IGMP packet of a tracked connection have a word of ports, and what is in it.
fn ports_of_connection<L: Layout>(kind: Kind) -> u64 {
    let mut flow = Miniflow::<L>::new();
    extract(&kind.packet(0), PacketType::ETHERNET, &tracked(), VlanLimit::ONE, &mut flow);
    flow.word(ringway_flow::At::<L>::TRANSPORT) >> 32
}

#[test]
fn the_releases_differ_in_two_corners_and_the_layouts_know_it() {
    assert_eq!(ports_of_connection::<V3_1>(Kind::Ipv4LaterFragment), 0);
    assert_ne!(ports_of_connection::<V3_5>(Kind::Ipv4LaterFragment), 0);
    assert_ne!(ports_of_connection::<V3_5>(Kind::Igmp), 0);
    assert_eq!(ports_of_connection::<V3_6>(Kind::Igmp), 0);
    assert_eq!(ports_of_connection::<V3_7>(Kind::Igmp), 0);
}

#[test]
fn a_tunnel_is_in_the_key_with_its_raw_options() {
    let tunnel = Tunnel::ipv4(Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(192, 0, 2, 2))
        .with_identifier(77)
        .with_ports(40000, 6081)
        .with_raw_options(&[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
    let mut flow = Miniflow::<V3_7>::new();
    let metadata = Metadata::new(1).with_tunnel(tunnel);
    extract(&Kind::Arp.packet(0), PacketType::ETHERNET, &metadata, VlanLimit::ONE, &mut flow);
    let key = flow.expand();
    let seen = key.tunnel().unwrap();
    assert_eq!((seen.identifier, seen.ports), (77, (40000, 6081)));
    let (bytes, length) = key.raw_tunnel_options().unwrap();
    assert_eq!(bytes[..length], [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
}

#[test]
fn everything_at_once_fits_in_the_words_of_a_packet() {
    let tunnel = Tunnel::ipv6(Ipv6Addr::LOCALHOST, Ipv6Addr::LOCALHOST).with_sorted_options(1, &[7; 256]);
    let tuple = ConnectionTuple::V6 {
        source: Ipv6Addr::LOCALHOST,
        destination: Ipv6Addr::LOCALHOST,
        source_port: 1,
        destination_port: 2,
        protocol: 58,
    };
    let connection = Connection { state: 0x22, zone: 1, mark: 1, label: u128::MAX, tuple: Some(tuple) };
    let metadata = Metadata::new(1)
        .with_tunnel(tunnel)
        .with_priority(1, 1)
        .with_recirculation(1, 1)
        .with_connection(&connection);
    let mut packet = Kind::Solicitation.packet(1);
    packet.splice(12..12, [0x88, 0xa8, 0, 1, 0x81, 0, 0, 2]);
    let mut flow = Miniflow::<V3_7>::new();
    extract(&packet, PacketType::ETHERNET, &metadata, VlanLimit::TWO, &mut flow);
    // Tunnel 43, priority, input, recirculation, mark, label 2, Ethernet 2, tags, IPv6 4, tuple 4, network, target 2,
    // hardware addresses 2, type, reserved.
    assert_eq!(flow.values().len(), 43 + 4 + 2 + 2 + 1 + 4 + 4 + 1 + 2 + 2 + 2);
    assert!(flow.values().len() <= ringway_flow::MAX_PACKET_WORDS);
    let key = flow.expand();
    assert_eq!(key.discovery_target(), "fe80::1".parse::<Ipv6Addr>().unwrap());
    assert_eq!(key.connection_protocol(), 58);
}

#[test]
fn a_packet_without_ethernet_starts_with_what_its_type_says() {
    let frame = Kind::UdpIpv4.packet(5);
    let mut flow = Miniflow::<V3_7>::new();
    let found =
        extract(&frame[14..], PacketType::network(0x0800), &Metadata::new(1), VlanLimit::ONE, &mut flow);
    assert_eq!((found.layers().network, found.layers().transport), (0, 20));
    assert!(flow.expand().five_tuple().is_some());
}

#[test]
fn a_batch_goes_on_until_something_runs_out() {
    let packets: Vec<Vec<u8>> = (0..5).map(|variant| Kind::UdpIpv4.packet(variant)).collect();
    let mut flows = vec![Miniflow::<V3_7>::new(); 3];
    let mut found = vec![ringway_flow::Extraction::default(); 4];
    let done = extract_batch(
        packets.iter().map(Vec::as_slice),
        &Metadata::new(1),
        VlanLimit::ONE,
        &mut flows,
        &mut found,
    );
    assert_eq!(done, 3);
    assert!(found[2].protocols().contains(Protocols::UDP));
    assert_eq!(found[3], ringway_flow::Extraction::default());
}

#[test]
fn it_prints_as_the_tools_of_open_vswitch_do() {
    let mut flow = Miniflow::<V3_7>::new();
    let packet = Kind::TcpIpv4.packet(0x0102);
    extract(&packet, PacketType::ETHERNET, &Metadata::new(1), VlanLimit::ONE, &mut flow);
    let key = flow.expand();
    assert_eq!(
        key.to_string(),
        "tcp,in_port=1,vlan_tci=0x0000,dl_src=02:00:00:00:01:02,dl_dst=02:00:00:00:00:01,nw_src=10.1.1.2,\
         nw_dst=10.2.0.2,nw_tos=16,nw_ecn=0,nw_ttl=64,nw_frag=no,tp_src=49153,tp_dst=443,tcp_flags=psh|ack"
    );
    assert!(key.dpctl().to_string().ends_with(
        "eth_type(0x0800),ipv4(src=10.1.1.2,dst=10.2.0.2,proto=6,tos=0x10,ttl=64,frag=no),\
         tcp(src=49153,dst=443),tcp_flags(psh|ack)"
    ));
}

#[test]
fn arp_operation_255_prints_as_open_vswitch_prints_it() {
    let mut packet = Kind::Arp.packet(0);
    packet[20..22].copy_from_slice(&[0, 255]);
    let key = FlowKey::<V3_7>::of_frame(&packet);
    assert!(key.ofctl().to_string().contains("arp_op=255"), "{}", key.ofctl());
    assert!(key.dpctl().to_string().contains("op=65535"), "{}", key.dpctl());
}

/// A later IPv6 fragment with `payload` behind its fragment header.
fn later_fragment(payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x86, 0xdd, 0x60, 0, 0, 0];
    packet.extend([0, 8 + payload.len() as u8, 44, 64]);
    packet.extend([0xfe; 32]);
    packet.extend([58, 0, 0, 8, 0, 0, 0, 1]);
    packet.extend_from_slice(payload);
    packet
}

fn original_ports_of_later_fragment<L: Layout>(payload: &[u8]) -> Option<u64> {
    let tuple = ConnectionTuple::V6 {
        source: Ipv6Addr::LOCALHOST,
        destination: Ipv6Addr::LOCALHOST,
        source_port: 128,
        destination_port: 0,
        protocol: 58,
    };
    let connection = Connection { state: 0x22, zone: 0, mark: 0, label: 0, tuple: Some(tuple) };
    let metadata = Metadata::new(1).with_connection(&connection);
    let mut flow = Miniflow::<L>::new();
    // Exactly as many bytes as there are: one more read is a panic here, and there would be none in C.
    let packet = later_fragment(payload).into_boxed_slice();
    let found = extract(&packet, PacketType::ETHERNET, &metadata, VlanLimit::NONE, &mut flow);
    assert_eq!(found.outcome(), Ok(()));
    flow.words().find(|&(index, _)| index == ringway_flow::At::<L>::TRANSPORT).map(|(_, word)| word)
}

#[test]
fn a_later_fragment_of_a_tracked_icmpv6_connection_is_read_no_further_than_it_goes() {
    let ports = u64::from_ne_bytes([0, 0, 0, 0, 0, 128, 0, 0]);
    // Too short to look like neighbour discovery: the original ports are there.
    for payload in [&[][..], &[135], &[136]] {
        assert_eq!(original_ports_of_later_fragment::<V3_7>(payload), Some(ports), "{payload:?}");
        assert_eq!(original_ports_of_later_fragment::<V3_5>(payload), Some(ports), "{payload:?}");
        assert_eq!(original_ports_of_later_fragment::<V3_1>(payload), None, "{payload:?}");
    }
    for (payload, expected) in
        [([135, 0], None), ([136, 0], None), ([135, 1], Some(ports)), ([7, 7], Some(ports))]
    {
        assert_eq!(original_ports_of_later_fragment::<V3_7>(&payload), expected, "{payload:?}");
    }
}
