//! Questions and what becomes of them.

use super::samples::*;
use super::{Answered, EchoCounters, Ignored, Station, answer};
use etherparse::{Icmpv6Slice, Ipv4Slice, Ipv6Slice, NetSlice, SlicedPacket, TransportSlice};
use ringway_dma::AddressSpace;
use ringway_packet::{Pool, PoolOptions};
use ringway_port::MacAddress;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A station, and buffers for what it is asked.
struct Bench {
    pool: Pool,
    station: Station,
    counters: EchoCounters,
}

impl Bench {
    fn new() -> Self {
        let pool =
            Pool::new(&AddressSpace::emulated(), PoolOptions { buffers: 64, ..PoolOptions::default() })
                .unwrap();
        let addresses = [IpAddr::V4(OUR_V4), IpAddr::V6(OUR_V6), "10.0.0.9".parse().unwrap()];
        Self { pool, station: Station::new(MacAddress(OURS), addresses), counters: EchoCounters::default() }
    }

    /// The answer, after a look that just one thing was counted.
    fn ask(&self, frame: &[u8]) -> Option<Vec<u8>> {
        let before = self.counters.read();
        let mut packet = self.pool.packet_from(frame).unwrap();
        let answered = answer(&self.station, &self.counters, &mut packet.frame_mut());
        let counted = self.counters.read().since(&before);
        assert_eq!((counted.all_answered(), counted.all_ignored()), (answered.into(), (!answered).into()));
        if !answered {
            assert_eq!(packet.data(), frame, "what isn't answered isn't touched");
        }
        answered.then(|| packet.data().to_vec())
    }

    fn answered(&self, frame: &[u8], kind: Answered) -> Vec<u8> {
        let before = self.counters.read();
        let reply = self.ask(frame);
        let counted = self.counters.read().since(&before);
        assert_eq!(counted.answered(kind), 1, "{kind:?} in {counted:?}");
        reply.unwrap()
    }

    fn ignored(&self, frame: &[u8], reason: Ignored) {
        let before = self.counters.read();
        assert_eq!(self.ask(frame), None);
        let counted = self.counters.read().since(&before);
        assert_eq!(counted.ignored(reason), 1, "{reason:?} in {counted:?}");
    }
}

/// The IPv4 packet behind the Ethernet header and so many tags, after a look at header and checksum.
fn v4_of(reply: &[u8], tags: usize) -> Ipv4Slice<'_> {
    let packet = &reply[14 + 4 * tags..];
    let slice = Ipv4Slice::from_slice(packet).unwrap();
    assert_eq!(checksum(&[slice.header().slice()]), 0);
    assert_eq!((slice.header().source_addr(), slice.header().destination_addr()), (OUR_V4, THEIR_V4));
    assert_eq!((slice.header().ttl(), slice.header().ihl()), (64, 5));
    slice
}

/// The same for IPv6, with the message in it.
fn v6_of(reply: &[u8], tags: usize) -> (Ipv6Slice<'_>, Icmpv6Slice<'_>) {
    let slice = Ipv6Slice::from_slice(&reply[14 + 4 * tags..]).unwrap();
    let (from, to) = (slice.header().source_addr(), slice.header().destination_addr());
    let payload = slice.payload().payload;
    let length = (payload.len() as u32).to_be_bytes();
    assert_eq!(checksum(&[&from.octets(), &to.octets(), &length, &[0, 0, 0, 58], payload]), 0);
    (slice.clone(), Icmpv6Slice::from_slice(payload).unwrap())
}

#[test]
fn who_asks_for_our_address_is_told_it() {
    let reply = Bench::new().answered(&arp_request(), Answered::Arp);
    let expected = [
        &THEIRS[..],
        &OURS,
        &[0x08, 0x06, 0, 1, 0x08, 0, 6, 4, 0, 2],
        &OURS,
        &OUR_V4.octets(),
        &THEIRS,
        &THEIR_V4.octets(),
        &[0; 18],
    ];
    assert_eq!(reply, expected.concat());
}

#[test]
fn a_probe_for_our_address_is_answered_and_a_claim_of_it_is_not() {
    let bench = Bench::new();
    let ask = |operation, sender, target| ethernet([0xff; 6], &[], 0x0806, &arp(operation, sender, target));
    bench.answered(&ask(1, Ipv4Addr::UNSPECIFIED, OUR_V4), Answered::Arp);
    bench.ignored(&ask(1, OUR_V4, OUR_V4), Ignored::ClaimsOurAddress);
    bench.ignored(&ask(2, OUR_V4, THEIR_V4), Ignored::ClaimsOurAddress);
    bench.ignored(&ask(2, THEIR_V4, OUR_V4), Ignored::OtherMessage);
    bench.ignored(&ask(1, THEIR_V4, Ipv4Addr::new(10, 0, 0, 3)), Ignored::OtherAddress);
    let mut of_token_ring = ask(1, THEIR_V4, OUR_V4);
    of_token_ring[15] = 4;
    bench.ignored(&of_token_ring, Ignored::OtherMessage);
    let mut from_group = ask(1, THEIR_V4, OUR_V4);
    from_group[22] = 0xff;
    bench.ignored(&from_group, Ignored::Unanswerable);
}

#[test]
fn a_ping_comes_back_with_its_data_at_every_length_and_with_its_tags() {
    const TAGS: [&[[u8; 4]]; 3] = [&[], &[[0x81, 0, 0x60, 7]], &[[0x88, 0xa8, 0, 5], [0x81, 0, 0, 9]]];
    let bench = Bench::new();
    for tags in TAGS {
        for length in (0..70).chain([1471, 1472]) {
            let reply = bench.answered(&ping4(tags, &[], length), Answered::EchoV4);
            assert_eq!((&reply[..6], &reply[6..12]), (&THEIRS[..], &OURS[..]));
            assert_eq!(reply[12..12 + 4 * tags.len()], tags.concat());
            let packet = v4_of(&reply, tags.len());
            assert_eq!(packet.payload().payload, icmp(0, 0, &echo_data(length)), "{length}");

            let reply = bench.answered(&ping6(tags, OUR_V6, length), Answered::EchoV6);
            assert_eq!((&reply[..6], &reply[6..12]), (&THEIRS[..], &OURS[..]));
            assert_eq!(reply[12..12 + 4 * tags.len()], tags.concat());
            let (packet, message) = v6_of(&reply, tags.len());
            let (from, to) = (packet.header().source_addr(), packet.header().destination_addr());
            assert_eq!((from, to, packet.header().hop_limit()), (OUR_V6, THEIR_V6, 64));
            assert_eq!(message.slice(), icmp6(OUR_V6, THEIR_V6, 129, &echo_data(length)));
        }
    }
}

#[test]
fn bytes_behind_the_packet_stay_behind_it_and_are_not_part_of_it() {
    let bench = Bench::new();
    let mut short = ping4(&[], &[], 1);
    short.resize(60, 0xee);
    let reply = bench.answered(&short, Answered::EchoV4);
    assert_eq!(reply.len(), 60);
    assert_eq!(v4_of(&reply, 0).payload().payload, icmp(0, 0, &echo_data(1)));
}

#[test]
fn a_ping_with_options_is_answered_without_them() {
    let bench = Bench::new();
    let record_route = [7, 7, 4, 0, 0, 0, 0, 0];
    let request = ping4(&[], &record_route, 32);
    let reply = bench.answered(&request, Answered::EchoV4WithOptions);
    assert_eq!(reply.len(), request.len());
    assert_eq!(v4_of(&reply, 0).payload().payload, icmp(0, 0, &echo_data(32)));
    assert_eq!(reply[reply.len() - 8..], [0; 8], "what they took is padding now");
}

#[test]
fn a_ping_to_all_nodes_is_answered_from_an_address_of_ours() {
    let all_nodes = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
    let mut request = ping6(&[], all_nodes, 8);
    request[..6].copy_from_slice(&[0x33, 0x33, 0, 0, 0, 1]);
    let bench = Bench::new();
    let reply = bench.answered(&request, Answered::EchoV6);
    let (packet, message) = v6_of(&reply, 0);
    assert_eq!(packet.header().source_addr(), OUR_V6);
    assert_eq!(message.slice(), icmp6(OUR_V6, THEIR_V6, 129, &echo_data(8)));
    // A station without an IPv6 address is not a node there.
    let station = Station::new(MacAddress(OURS), [IpAddr::V4(OUR_V4)]);
    Bench { station, ..Bench::new() }.ignored(&request, Ignored::OtherAddress);
}

/// What a neighbour advertisement says: from, to, flags, and the message's rest.
fn advertisement(reply: &[u8]) -> (Ipv6Addr, Ipv6Addr, u8, Vec<u8>) {
    let (packet, message) = v6_of(reply, 0);
    assert_eq!(packet.header().hop_limit(), 255);
    assert_eq!(message.type_u8(), 136);
    assert_eq!(reply.len(), 86);
    let rest = message.slice()[8..].to_vec();
    (packet.header().source_addr(), packet.header().destination_addr(), message.bytes5to8()[0], rest)
}

#[test]
fn a_neighbour_is_told_our_address_with_and_without_its_own_in_the_question() {
    let bench = Bench::new();
    let nonce = [14, 1, 1, 2, 3, 4, 5, 6];
    let says = [&OUR_V6.octets()[..], &[2, 1], &OURS].concat();
    for (to, options) in [
        (OUR_GROUP, SAYS_HARDWARE.to_vec()),
        (OUR_V6, Vec::new()),
        (OUR_V6, SAYS_HARDWARE.to_vec()),
        (OUR_GROUP, [SAYS_HARDWARE, nonce].concat()),
    ] {
        let reply = bench.answered(&solicitation(THEIR_V6, to, 255, &options), Answered::Solicitation);
        assert_eq!((&reply[..6], &reply[6..12]), (&THEIRS[..], &OURS[..]));
        // Solicited and override.
        assert_eq!(advertisement(&reply), (OUR_V6, THEIR_V6, 0x60, says.clone()));
    }
    // Who would take our address is told through all nodes.
    let reply =
        bench.answered(&solicitation(Ipv6Addr::UNSPECIFIED, OUR_GROUP, 255, &nonce), Answered::Solicitation);
    assert_eq!(reply[..6], [0x33, 0x33, 0, 0, 0, 1]);
    let all_nodes = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
    assert_eq!(advertisement(&reply), (OUR_V6, all_nodes, 0x20, says));
}

#[test]
fn a_solicitation_that_is_not_as_it_must_be_is_ignored() {
    let bench = Bench::new();
    let ask = solicitation;
    let nobody = Ipv6Addr::UNSPECIFIED;
    bench.ignored(&ask(THEIR_V6, OUR_GROUP, 64, &[]), Ignored::Malformed); // came through a router
    bench.ignored(&ask(nobody, OUR_V6, 255, &[]), Ignored::Malformed);
    bench.ignored(&ask(nobody, OUR_GROUP, 255, &SAYS_HARDWARE), Ignored::Malformed);
    bench.ignored(&ask(THEIR_V6, OUR_GROUP, 255, &[1, 0, 0, 0, 0, 0, 0, 0]), Ignored::Malformed);
    bench.ignored(&ask(THEIR_V6, OUR_GROUP, 255, &[1, 2, 0, 0, 0, 0, 0, 0]), Ignored::Malformed);
    bench.ignored(&ask(THEIR_V6, OUR_GROUP, 255, &[1]), Ignored::Malformed);
    bench.ignored(&ask(OUR_V6, OUR_GROUP, 255, &SAYS_HARDWARE), Ignored::ClaimsOurAddress);
    let other = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0x77ab, 0xcdef);
    let body = [&[0; 4], &other.octets()[..]].concat();
    let message = icmp6(THEIR_V6, OUR_GROUP, 135, &body);
    let same_group = ethernet(OUR_GROUP_MAC, &[], 0x86dd, &v6(THEIR_V6, OUR_GROUP, 58, 255, &message));
    bench.ignored(&same_group, Ignored::OtherAddress);
}

#[test]
fn what_is_for_others_or_no_request_is_ignored_by_its_reason() {
    let bench = Bench::new();
    let with = |at: usize, byte: u8| {
        let mut frame = ping4(&[], &[], 8);
        frame[at] = byte;
        frame
    };
    bench.ignored(&with(5, 0x55), Ignored::OtherStation);
    bench.ignored(&with(6, 0x03), Ignored::Unanswerable);
    bench.ignored(
        &[OURS, OURS].concat().into_iter().chain(ping4(&[], &[], 8).split_off(12)).collect::<Vec<_>>(),
        Ignored::Unanswerable,
    );
    bench.ignored(&with(13, 0x01), Ignored::OtherProtocol);
    let v4_with = |from, to, protocol, message: &[u8]| {
        ethernet(OURS, &[], 0x0800, &v4(from, to, protocol, &[], message))
    };
    let request = icmp(8, 0, &echo_data(8));
    bench.ignored(&v4_with(THEIR_V4, Ipv4Addr::new(10, 0, 0, 3), 1, &request), Ignored::OtherAddress);
    bench.ignored(&v4_with(THEIR_V4, Ipv4Addr::BROADCAST, 1, &request), Ignored::OtherAddress);
    bench.ignored(&v4_with(THEIR_V4, OUR_V4, 17, &request), Ignored::OtherMessage);
    bench.ignored(&v4_with(THEIR_V4, OUR_V4, 1, &icmp(0, 0, &echo_data(8))), Ignored::OtherMessage);
    bench.ignored(&v4_with(THEIR_V4, OUR_V4, 1, &icmp(8, 1, &echo_data(8))), Ignored::OtherMessage);
    for from in ["0.0.0.0", "127.0.0.1", "224.0.0.1", "255.255.255.255", "10.0.0.1", "10.0.0.9"] {
        bench.ignored(&v4_with(from.parse().unwrap(), OUR_V4, 1, &request), Ignored::Unanswerable);
    }
    let v6_with = |from, to, kind| {
        ethernet(OURS, &[], 0x86dd, &v6(from, to, 58, 64, &icmp6(from, to, kind, &echo_data(8))))
    };
    bench.ignored(&v6_with(THEIR_V6, THEIR_V6, 128), Ignored::OtherAddress);
    bench.ignored(&v6_with(THEIR_V6, OUR_V6, 129), Ignored::OtherMessage);
    for from in ["::", "::1", "ff02::1", "fd00::ab:cdef"] {
        bench.ignored(&v6_with(from.parse().unwrap(), OUR_V6, 128), Ignored::Unanswerable);
    }
    let udp = ethernet(OURS, &[], 0x86dd, &v6(THEIR_V6, OUR_V6, 17, 64, &[0; 8]));
    bench.ignored(&udp, Ignored::OtherMessage);
}

#[test]
fn fragments_and_extension_headers_are_ignored() {
    let bench = Bench::new();
    for (high, low) in [(0x20, 0), (0, 1), (0x20, 9)] {
        let mut packet = v4(THEIR_V4, OUR_V4, 1, &[], &icmp(8, 0, &echo_data(8)));
        (packet[6], packet[7], packet[10], packet[11]) = (high, low, 0, 0);
        let sum = checksum(&[&packet[..20]]).to_be_bytes();
        packet[10..12].copy_from_slice(&sum);
        bench.ignored(&ethernet(OURS, &[], 0x0800, &packet), Ignored::Fragment);
    }
    let message = icmp6(THEIR_V6, OUR_V6, 128, &echo_data(8));
    for (next, header, reason) in [
        (44, [58, 0, 0, 1, 0, 0, 0, 9], Ignored::Fragment),
        (44, [58, 0, 0, 0, 0, 0, 0, 9], Ignored::ExtensionHeaders),
        (60, [58, 0, 1, 4, 0, 0, 0, 0], Ignored::ExtensionHeaders),
        (0, [58, 0, 1, 4, 0, 0, 0, 0], Ignored::ExtensionHeaders),
    ] {
        let payload = [&header[..], &message].concat();
        bench.ignored(&ethernet(OURS, &[], 0x86dd, &v6(THEIR_V6, OUR_V6, next, 64, &payload)), reason);
    }
}

/// One question of each kind.
fn questions() -> Vec<Vec<u8>> {
    vec![
        arp_request(),
        ping4(&[], &[], 40),
        ping4(&[[0x81, 0, 0, 9]], &[7, 7, 4, 0, 0, 0, 0, 0], 40),
        ping6(&[], OUR_V6, 40),
        ping6(&[[0x88, 0xa8, 0, 5], [0x81, 0, 0, 9]], OUR_V6, 40),
        solicitation(THEIR_V6, OUR_GROUP, 255, &SAYS_HARDWARE),
        solicitation(Ipv6Addr::UNSPECIFIED, OUR_GROUP, 255, &[]),
    ]
}

#[test]
fn a_question_that_is_cut_short_anywhere_is_malformed() {
    let bench = Bench::new();
    for question in questions() {
        bench.ask(&question).unwrap();
        // ARP is padded to the shortest frame: nothing is missing without that.
        let whole = if question.len() == 60 { 42 } else { question.len() };
        for length in 0..whole {
            bench.ignored(&question[..length], Ignored::Malformed);
        }
    }
}

#[test]
fn a_wrong_checksum_is_counted_and_not_answered() {
    let bench = Bench::new();
    for question in questions().into_iter().skip(1) {
        let is_v4 = question.windows(4).any(|bytes| bytes == OUR_V4.octets());
        // The last byte is data, or in an address that the checksum covers.
        let mut wrong = question.clone();
        *wrong.last_mut().unwrap() ^= 1;
        bench.ignored(&wrong, Ignored::WrongChecksum);
        if is_v4 {
            let header = question.len() - v4_length(&question);
            let mut wrong = question.clone();
            wrong[header + 8] ^= 1; // the time to live
            bench.ignored(&wrong, Ignored::WrongChecksum);
        }
    }
}

/// The length of the IPv4 packet in a frame.
fn v4_length(frame: &[u8]) -> usize {
    let start = frame.windows(2).position(|bytes| bytes == [0x08, 0x00]).unwrap() + 2;
    usize::from(u16::from_be_bytes([frame[start + 2], frame[start + 3]]))
}

#[test]
fn lengths_that_lie_are_malformed_or_change_nothing_beyond_the_packet() {
    let bench = Bench::new();
    let total = 14 + 2;
    for (at, value) in [(14, 0x44), (14, 0x55), (14, 0x4f), (total, 0xff), (total + 1, 19)] {
        let mut question = ping4(&[], &[], 16);
        question[at] = value;
        bench.ignored(&question, Ignored::Malformed);
    }
    for (high, low) in [(0xff, 0xff), (0, 0), (0, 3)] {
        let mut question = ping6(&[], OUR_V6, 16);
        (question[18], question[19]) = (high, low);
        bench.ignored(&question, Ignored::Malformed);
    }
}

/// Xorshift: repeats for the same seed.
fn random(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state >> 11
}

#[test]
fn questions_with_random_damage_never_panic_and_each_answer_is_a_whole_packet() {
    let bench = Bench::new();
    let questions = questions();
    let (mut state, mut answers) = (0x9e37_79b9_7f4a_7c15, 0);
    for _ in 0..60_000 {
        let mut question = questions[random(&mut state) as usize % questions.len()].clone();
        for _ in 0..=random(&mut state) % 3 {
            let at = random(&mut state) as usize % question.len();
            question[at] = random(&mut state) as u8;
        }
        if random(&mut state).is_multiple_of(4) {
            question.truncate(random(&mut state) as usize % (question.len() + 1));
        }
        let Some(reply) = bench.ask(&question) else { continue };
        answers += 1;
        let packet = SlicedPacket::from_ethernet(&reply).unwrap();
        match (packet.net.unwrap(), packet.transport) {
            (NetSlice::Arp(_), None) => {}
            (NetSlice::Ipv4(ip), Some(TransportSlice::Icmpv4(message))) => {
                assert_eq!(checksum(&[ip.header().slice()]), 0);
                assert_eq!(checksum(&[message.slice()]), 0);
            }
            (NetSlice::Ipv6(ip), Some(TransportSlice::Icmpv6(message))) => {
                assert!(message.is_checksum_valid(ip.header().source(), ip.header().destination()));
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(answers > 1000, "{answers}: some damage is harmless");
}
