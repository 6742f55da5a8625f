//! The fast path and the general path give the same, whatever the packet; so do the miniflow and the whole flow.

use ringway_flow::{
    Crc32c, Extraction, FlowKey, Layout, Metadata, Miniflow, Murmur, PacketType, V3_1, V3_7, VlanLimit,
    extract, extract_batch, extract_by_general_path, samples::Kind,
};

/// Small and reproducible: xorshift.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

fn both<L: Layout>(packet: &[u8], limit: VlanLimit) -> [(Extraction, Miniflow<L>); 2] {
    [extract::<L>, extract_by_general_path::<L>].map(|path| {
        let mut flow = Miniflow::new();
        let found = path(packet, PacketType::ETHERNET, &Metadata::new(9), limit, &mut flow);
        (found, flow)
    })
}

fn assert_same<L: Layout>(packet: &[u8], limit: VlanLimit) {
    let [fast, general] = both::<L>(packet, limit);
    assert_eq!(fast, general, "{packet:02x?}");
    let (found, flow) = fast;
    let key = FlowKey::<L>::from(&flow);
    for basis in [0, 0x1234_5678] {
        assert_eq!(flow.hash_five_tuple::<Murmur>(basis), key.hash_five_tuple::<Murmur>(basis));
        assert_eq!(flow.hash_five_tuple::<Crc32c>(basis), key.hash_five_tuple::<Crc32c>(basis));
    }
    for (index, word) in flow.words() {
        assert_eq!(key.word(index), word);
    }
    let _ = (found.rss_hash::<Murmur>(packet), key.ofctl().to_string(), key.dpctl().to_string());
}

#[test]
fn every_truncation_of_every_kind_is_the_same_on_both_paths() {
    // Miri takes a second for what is done in a millisecond; steps are odd, so that they hit no alignment only.
    for kind in Kind::ALL.into_iter().step_by(if cfg!(miri) { 5 } else { 1 }) {
        let packet = kind.packet(0xabcd);
        for length in (0..=packet.len()).step_by(if cfg!(miri) { 61 } else { 1 }) {
            for limit in [VlanLimit::NONE, VlanLimit::ONE, VlanLimit::TWO] {
                assert_same::<V3_7>(&packet[..length], limit);
                assert_same::<V3_1>(&packet[..length], limit);
            }
        }
    }
}

#[test]
fn mutated_packets_are_the_same_on_both_paths() {
    let mut random = Random(0x5eed_5eed_5eed_5eed);
    for round in 0..if cfg!(miri) { 20 } else { 30_000 } {
        let kind = Kind::ALL[round % Kind::ALL.len()];
        let mut packet = kind.packet(round as u32);
        for _ in 0..1 + random.next() % 4 {
            let at = (random.next() % packet.len().min(90) as u64) as usize;
            packet[at] = random.next() as u8;
        }
        assert_same::<V3_7>(&packet, VlanLimit::new((random.next() % 3) as u32));
    }
}

/// Hands packets out up to a place, then none, and after that the rest: an iterator need not stay at its end.
struct Stopping<'a> {
    packets: &'a [Vec<u8>],
    taken: usize,
    stops_at: usize,
    has_stopped: bool,
}

impl<'a> Iterator for Stopping<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        assert!(!self.has_stopped, "asked again after the end");
        self.has_stopped = self.taken == self.stops_at;
        let packet = self.packets.get(self.taken).filter(|_| !self.has_stopped)?;
        self.taken += 1;
        Some(packet)
    }
}

/// Whole, cut, mutated and long ones, of a kind or of many.
fn packets(random: &mut Random) -> Vec<Vec<u8>> {
    let kinds = [1, 2, Kind::ALL.len()][random.next() as usize % 3];
    let first = random.next() as usize;
    let packet = |random: &mut Random| {
        let kind = Kind::ALL[(first + random.next() as usize % kinds) % Kind::ALL.len()];
        let mut packet = kind.packet(random.next() as u32);
        match random.next() % 20 {
            0 | 1 => packet.truncate(random.next() as usize % (packet.len() + 1)),
            2 | 3 => {
                let at = random.next() as usize % packet.len();
                packet[at] = random.next() as u8;
            }
            4 => packet.resize([65_535, 65_536, 70_000][random.next() as usize % 3], 0),
            _ => {}
        }
        packet
    };
    (0..random.next() % 100).map(|_| packet(random)).collect()
}

/// With plain metadata and with what goes the general way; more packets than are looked at at once, and fewer; more and less
/// room than that, and an iterator that ends before.
#[test]
fn a_batch_gives_what_its_packets_give_one_by_one() {
    let mut random = Random(0xba7c_ba7c_ba7c_ba7c);
    let recirculated = Metadata::new(3).with_recirculation(7, 0);
    let (marked, marker) = {
        let mut flow = Miniflow::<V3_7>::new();
        let packet = Kind::Arp.packet(3);
        let found = extract(&packet, PacketType::ETHERNET, &recirculated, VlanLimit::ONE, &mut flow);
        (flow, found)
    };
    let mut groups = 0;
    for round in 0..if cfg!(miri) { 4 } else { 3_000 } {
        let packets = packets(&mut random);
        let metadata = if round % 5 == 0 { &recirculated } else { &Metadata::new(3) };
        let limit = VlanLimit::new((random.next() % 3) as u32);
        let [of_flows, of_found, stops_at] = [(); 3].map(|()| match random.next() % 3 {
            0 => random.next() as usize % 100,
            _ => packets.len() + random.next() as usize % 3,
        });
        let mut flows = vec![marked.clone(); of_flows];
        let mut found = vec![marker; of_found];
        let mut given = Stopping { packets: &packets, taken: 0, stops_at, has_stopped: false };
        let done = extract_batch(&mut given, metadata, limit, &mut flows, &mut found);
        assert_eq!(done, packets.len().min(of_flows).min(of_found).min(stops_at));
        assert_eq!(given.taken, done, "no packet is taken and not extracted");
        groups += done / 32;
        for ((packet, flow), found) in packets.iter().zip(&flows).zip(&found).take(done) {
            let mut alone = Miniflow::new();
            assert_eq!(*found, extract(packet, PacketType::ETHERNET, metadata, limit, &mut alone));
            assert_eq!(*flow, alone, "{packet:02x?}");
        }
        assert!(flows.iter().skip(done).all(|flow| *flow == marked));
        assert!(found.iter().skip(done).all(|found| *found == marker));
    }
    assert!(cfg!(miri) || groups > 1_000, "{groups}");
}

#[test]
fn symmetric_hashes_are_the_same_in_both_directions() {
    for kind in [Kind::TcpIpv4, Kind::TcpIpv6, Kind::SctpIpv4, Kind::UdpIpv4, Kind::Arp] {
        let packet = kind.packet(0x0102);
        let mut back = packet.clone();
        let (ip, transport, size) = if packet[12] == 8 { (26, 34, 4) } else { (22, 54, 16) };
        back[..12].rotate_left(6);
        if kind != Kind::Arp {
            back[ip..ip + 2 * size].rotate_left(size);
            back[transport..transport + 4].rotate_left(2);
        }
        let (there, back) = (FlowKey::<V3_7>::of_frame(&packet), FlowKey::<V3_7>::of_frame(&back));
        assert_eq!(there.hash_symmetric_l4(7), back.hash_symmetric_l4(7));
        assert_eq!(there.hash_symmetric_l3l4::<Murmur>(7, true), back.hash_symmetric_l3l4::<Murmur>(7, true));
        assert_eq!(there.hash_symmetric_l2::<Crc32c>(7), back.hash_symmetric_l2::<Crc32c>(7));
        assert_eq!(there.hash_symmetric_l3(7), back.hash_symmetric_l3(7));
    }
}
