//! What is taken and what is not; and that each packet's own flow, as the parser prints it, is a match that takes it.

use super::*;
use proptest::prelude::*;
use ringway_flow::samples::Kind;

fn parsed(text: &str) -> Match {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// What a frame is, in ovs-ofctl's output, without what can't be asked for: second tags, further labels, service headers.
fn own(frame: &[u8]) -> Vec<String> {
    let printed = FlowKey::<V3_7>::of_frame(frame).ofctl().to_string();
    let left_out = ["vlan_tci1", "dl_vlan1", "dl_vlan_pcp1", "mpls_lse", "nsh_"];
    let kept = printed.split(',').filter(|part| !left_out.iter().any(|start| part.starts_with(start)));
    // IGMP's type and code are printed as ports; OpenFlow has no name for them.
    let igmp = printed.contains("nw_proto=2,");
    // Without an Ethernet type there are no further fields.
    let typed = !printed.contains("dl_type=0x894f");
    kept.filter(|part| !(igmp && part.starts_with("tp_")))
        .filter(|part| typed || !part.starts_with("nw_"))
        .map(str::to_owned)
        .collect()
}

proptest! {
    #[test]
    fn the_flow_that_a_packet_has_takes_it_and_whatever_has_another_is_not_taken(
        kinds in (0..Kind::ALL.len(), 0..Kind::ALL.len()),
        variants in (0..8u32, 0..8u32),
    ) {
        let [one, other] = [(kinds.0, variants.0), (kinds.1, variants.1)].map(|(kind, variant)| Kind::ALL[kind].packet(variant));
        let matching = parsed(&own(&one).join(","));
        prop_assert!(matching.takes_frame(&one), "{matching}");
        prop_assert_eq!(matching.takes_frame(&other), own(&one) == own(&other), "{}: {:?}", matching, own(&other));
    }

    #[test]
    fn no_text_makes_it_stumble(text in "[a-z0-9_=,/:.+| -]{0,60}", field in 0..FIELDS.len()) {
        let _ = text.parse::<Match>();
        let _ = format!("{}={text}", FIELDS[field].name()).parse::<Match>();
    }
}

/// A TCP segment from 10.1.2.3:1024 to 192.168.0.9:80 with SYN and ACK, in VLAN 5 with priority 3.
fn segment() -> Vec<u8> {
    let mut frame = vec![0x02, 0, 0, 0, 0, 0xb, 0x02, 0, 0, 0, 0, 0xa, 0x81, 0, 0x60, 5, 8, 0];
    frame.extend([0x45, 0xb9, 0, 40, 0, 0, 0x40, 0, 63, 6, 0, 0, 10, 1, 2, 3, 192, 168, 0, 9]);
    frame.extend([4, 0, 0, 80, 0, 0, 0, 1, 0, 0, 0, 2, 0x50, 0x12, 0, 0, 0, 0, 0, 0]);
    frame
}

#[test]
fn each_form_takes_what_it_says_and_nothing_else() {
    for (text, takes) in [
        ("tcp", true),
        ("ip", true),
        ("udp", false),
        ("tcp6", false),
        ("tcp,tp_dst=80,nw_src=10.0.0.0/8", true),
        ("nw_src=10.0.0.0/8 tp_dst=80 tcp", true),
        ("tcp,tcp_dst=81", false),
        ("tcp,tcp_src=0x400/0xfc00", true),
        ("tcp,tcp_src=0x800/0xfc00", false),
        ("ip,nw_src=11.0.0.0/8", false),
        ("ip,ip_dst=0.0.0.9/0.0.0.255", true),
        ("ip,nw_dst=192.168.0.9,nw_src=*", true),
        ("eth_type=0x0800,ip_proto=6,tcp_src=1024", true),
        ("dl_vlan=5", true),
        ("dl_vlan=6", false),
        ("dl_vlan=0xffff", false),
        ("dl_vlan_pcp=3", true),
        ("dl_vlan=5,vlan_pcp=2", false),
        ("vlan_tci=0x7005", true),
        ("vlan_tci=0x1000/0x1000", true),
        ("vlan_tci=0", false),
        ("vlan_vid=0x1005/0x1fff", true),
        ("dl_src=02:00:00:00:00:0a", true),
        ("dl_dst=01:00:00:00:00:00/01:00:00:00:00:00", false),
        ("ip,nw_tos=184,nw_ecn=1", true),
        ("ip,ip_dscp=46", true),
        ("ip,nw_ttl=64", false),
        ("ip,nw_frag=no", true),
        ("ip,nw_frag=later", false),
        ("tcp,tcp_flags=+syn+ack", true),
        ("tcp,tcp_flags=+syn-ack", false),
        ("tcp,tcp_flags=syn|ack", true),
        ("tcp,tcp_flags=syn", false),
        ("tcp,tcp_flags=0x2/0x2", true),
        ("in_port=0", true),
        ("in_port=1", false),
    ] {
        assert_eq!(parsed(text).takes_frame(&segment()), takes, "{text}");
    }
    let arp = Kind::Arp.packet(0);
    let operation = FlowKey::<V3_7>::of_frame(&arp).ip_protocol();
    assert!(parsed(&format!("arp,arp_op={operation}")).takes_frame(&arp));
    assert!(parsed("icmp6,icmp_type=135").takes_frame(&Kind::Solicitation.packet(0)));
    assert!(!parsed("icmp6,icmpv6_type=136").takes_frame(&Kind::Solicitation.packet(0)));
    assert!(parsed("tcp6,tcp_dst=0/0").takes_frame(&Kind::TcpIpv6.packet(0)));
    assert!(parsed("in_port=1").asks_for_port() && !parsed("ip").asks_for_port());
}

#[test]
fn fragments_are_told_apart() {
    let takes = |text: &str| {
        [Kind::UdpIpv4, Kind::Ipv4FirstFragment, Kind::Ipv4LaterFragment]
            .map(|kind| parsed(text).takes_frame(&kind.packet(0)))
    };
    for (value, expected) in [
        ("no", [true, false, false]),
        ("yes", [false, true, true]),
        ("first", [false, true, false]),
        ("later", [false, false, true]),
        ("not_later", [true, true, false]),
    ] {
        assert_eq!(takes(&format!("ip,nw_frag={value}")), expected, "{value}");
    }
}

#[test]
fn what_is_no_match_is_refused_with_the_field_and_the_way_out() {
    for (text, parts) in [
        ("", &["every packet", "tcp,tp_dst=80"][..]),
        (" , ", &["every packet"]),
        ("tpc", &["`tpc`", "tcp"]),
        ("port=80", &["`port`", "tp_dst"]),
        ("tp_dst=80", &["tp_dst", "write tcp,tp_dst=80"]),
        ("ip,tp_dst=80", &["write tcp,tp_dst=80"]),
        ("udp,tcp_dst=80", &["tcp_dst", "write tcp,tcp_dst=80"]),
        ("nw_src=10.0.0.1", &["write ip,nw_src=10.0.0.1"]),
        ("arp,nw_src=10.0.0.1", &["write ip,nw_src"]),
        ("ip,ipv6_src=::1", &["write ipv6,ipv6_src=::1"]),
        ("icmp,icmpv6_type=1", &["write icmp6,"]),
        ("vlan_pcp=1", &["write dl_vlan=5,vlan_pcp=1"]),
        ("mpls_label=3", &["write mpls,"]),
        ("ip,nw_src=10.0.0.0/33", &["nw_src takes an IPv4 address", "10.0.0.0/8"]),
        ("ip,nw_src=fd00::1", &["nw_src takes an IPv4 address"]),
        ("tcp,tp_dst=65536", &["65535"]),
        ("tcp,tp_dst=010", &["tp_dst=010"]),
        ("tcp,tp_dst=+80", &["tp_dst=+80"]),
        ("tcp,tp_dst=", &["tp_dst="]),
        ("dl_vlan=4096", &["0 to 4095"]),
        ("ip,nw_tos=3", &["nw_ecn"]),
        ("ip,nw_frag=maybe", &["not_later"]),
        ("tcp,tcp_flags=+syn+syn", &["+syn-ack"]),
        ("tcp,tcp_flags=foo", &["+syn-ack"]),
        ("dl_src=02:00:00:00:00", &["Ethernet address"]),
        ("dl_src=02:00:00:00:00:01/24", &["Ethernet address"]),
        ("tcp,udp", &["udp", "nw_proto"]),
        ("ip,ipv6", &["ipv6", "dl_type"]),
        ("tcp,tp_dst=80,tp_dst=81", &["tp_dst=81", "leave one out"]),
        ("dl_vlan=0xffff,dl_vlan_pcp=3", &["different values of dl_vlan:", "leave one out"]),
        ("vlan_tci=0,dl_vlan=5", &["vlan_tci"]),
        ("vlan_vid=0x1006/0x1fff,dl_vlan=5", &["different values of"]),
        ("dl_vlan=0xffff,vlan_tci=0x1000/0x1000", &["different values of"]),
        ("dl_vlan_pcp=1,vlan_tci=0x7000/0xf000", &["different values of"]),
        ("dl_vlan=5,dl_vlan_pcp=1,vlan_pcp=2", &["different values of"]),
        ("ip,nw_tos=184,ip_dscp=45", &["different values of nw_tos"]),
        ("vlan_tci=5", &["vlan_tci=5", "dl_vlan=5"]),
        ("vlan_vid=5", &["0x1000"]),
        ("reg0=1", &["`reg0`", "leave it out"]),
        ("tun_id=5,ip", &["`tun_id`", "leave it out"]),
    ] {
        let error = text.parse::<Match>().map(|found| found.to_string()).unwrap_err().to_string();
        for part in parts {
            assert!(error.contains(part), "{text}: {part} in {error}");
        }
    }
    // Parts of one word that go together, and bits of a tag that say nothing of there being one.
    for text in [
        "dl_vlan=5,dl_vlan_pcp=3,vlan_pcp=3,vlan_tci=0x7005,vlan_vid=0x1005",
        "ip,nw_tos=184,ip_dscp=46,nw_ecn=1",
        "vlan_tci=5/0xfff",
    ] {
        assert!(parsed(text).takes_frame(&segment()), "{text}");
    }
    assert!(parsed("dl_vlan=0xffff,vlan_tci=0").takes_frame(&Kind::TcpIpv6.packet(0)));
    // Said twice, it is no contradiction.
    parsed("ip,tcp,nw_proto=6,tp_dst=80,tcp_dst=80");
}
