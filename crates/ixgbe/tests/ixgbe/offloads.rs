//! What the device does to packets that are sent: tags, checksums, segments.

use crate::packets::{Flow, flow};
use crate::support::{Port, Setup, bytes, open, refusal};
use ringway_dma::{AddressSpace, BufferSize};
use ringway_model::ixgbe::{Ixgbe, Options, Personality};
use ringway_packet::{Offload, Packet, Pool, PoolOptions, Protocol};
use ringway_pci::Function;
use ringway_port::{Offloads, PortOptions};

const TRANSMIT: [Offloads; 7] = [
    Offloads::VLAN_INSERT,
    Offloads::IPV4_CHECKSUM,
    Offloads::TCP_UDP_CHECKSUM,
    Offloads::SCTP_CHECKSUM,
    Offloads::TCP4_SEGMENTATION,
    Offloads::TCP6_SEGMENTATION,
    Offloads::UDP_SEGMENTATION,
];

fn all() -> Offloads {
    TRANSMIT.into_iter().fold(Offloads::NONE, |all, one| all | one)
}

fn setup(offloads: Offloads) -> Setup {
    Setup {
        port: PortOptions { offloads, transmit_ring: 64, ..PortOptions::default() },
        pool: PoolOptions { buffers: 2048, ..PoolOptions::default() },
        ..Setup::default()
    }
}

/// A packet in as many buffers as it takes, of `first` bytes in the first one.
fn packet(pool: &Pool, bytes: &[u8], first: usize) -> Packet {
    let (head, rest) = bytes.split_at(first.min(bytes.len()));
    let mut packet = pool.packet_from(head).unwrap();
    for part in rest.chunks(pool.packet_capacity() as usize) {
        packet.frame_mut().chain(pool.packet_from(part).unwrap()).unwrap();
    }
    packet
}

/// Sends a packet and says what came out.
fn send(port: &mut Port, packet: Packet) -> Vec<Vec<u8>> {
    let mut batch = port.batch(1);
    batch.push(packet).unwrap();
    port.transmit[0].transmit(&mut batch).unwrap();
    assert!(batch.is_empty());
    while port.device.step() > 0 {}
    port.transmit[0].reclaim().unwrap();
    assert_eq!(port.transmit[0].pending(), 0);
    std::iter::from_fn(|| port.device.take_sent()).collect()
}

fn padded(mut frame: Vec<u8>) -> Vec<u8> {
    frame.resize(frame.len().max(60), 0);
    frame
}

fn errors(port: &mut Port) -> u64 {
    port.control.statistics().unwrap().sent().errors
}

#[test]
fn checksums_are_filled_in_and_are_right() {
    for personality in [Personality::Fibre82599, Personality::X540, Personality::X550] {
        let mut setup = setup(all());
        setup.model = Options { personality, ..Options::default() };
        let mut port = open(setup);
        for v6 in [false, true] {
            for protocol in [6, 17, 132] {
                for tag in [None, Some(5)] {
                    for length in [0usize, 1, 33, 1400] {
                        let flow = Flow { tag, ..flow(v6, protocol, length as u32) };
                        let payload = vec![0x3c; length];
                        let mut packet = packet(&port.pool, &flow.unfinished(&payload), 1500);
                        packet.frame_mut().set_offload(Some(flow.offload(0)));
                        let sent = send(&mut port, packet);
                        assert_eq!(sent, [padded(flow.frame(&payload))], "{flow:?}, {length}");
                        assert!(flow.is_right(&sent[0]));
                    }
                }
            }
        }
        assert_eq!(errors(&mut port), 0);
        port.close();
    }
}

#[test]
fn each_sum_is_filled_in_by_itself() {
    let mut port = open(setup(all()));
    let flow = flow(false, 6, 3);
    let (right, unfinished) = (flow.frame(&[9; 64]), flow.unfinished(&[9; 64]));
    for (network_checksum, transport_checksum) in [(true, false), (false, true), (false, false)] {
        let mut packet = port.pool.packet_from(&unfinished).unwrap();
        packet.frame_mut().set_offload(Some(Offload {
            network_checksum,
            transport_checksum,
            ..flow.offload(0)
        }));
        let mut expected = unfinished.clone();
        if network_checksum {
            expected[24..26].copy_from_slice(&right[24..26]);
        }
        if transport_checksum {
            expected[50..52].copy_from_slice(&right[50..52]);
        }
        assert_eq!(send(&mut port, packet), [expected]);
    }
    port.close();
}

#[test]
fn tags_are_put_in_with_checksums_and_without() {
    let mut port = open(setup(all()));
    for (index, tag) in [0u16, 1, 0x602a, 0xffff].into_iter().enumerate() {
        for checksums in [false, true] {
            let plain = flow(true, 17, index as u32);
            let bytes = if checksums { plain.unfinished(&[1; 80]) } else { plain.frame(&[1; 80]) };
            let mut packet = port.pool.packet_from(&bytes).unwrap();
            packet.frame_mut().set_vlan(Some(tag));
            packet.frame_mut().set_offload(checksums.then(|| plain.offload(0)));
            let expected = Flow { tag: Some(tag), ..plain.clone() }.frame(&[1; 80]);
            assert_eq!(send(&mut port, packet), [expected]);
        }
    }
    port.close();
}

/// Puts segments together again, looking at everything that the device had to change.
fn joined(flow: &Flow, frames: &[Vec<u8>], segment: usize) -> Vec<u8> {
    let mut payload = Vec::new();
    for (index, frame) in frames.iter().enumerate() {
        assert!(flow.is_right(frame), "segment {index}");
        let (network, transport, start) = (flow.network(), flow.transport(), flow.payload());
        let word = |at: usize| u16::from_be_bytes([frame[at], frame[at + 1]]);
        let end = if flow.is_v6() {
            transport + usize::from(word(network + 4))
        } else {
            assert_eq!(word(network + 4), 0x1234 + index as u16, "identification");
            network + usize::from(word(network + 2))
        };
        if flow.protocol == 6 {
            let sequence = u32::from_be_bytes(frame[transport + 4..transport + 8].try_into().unwrap());
            assert_eq!(sequence, 1000 + payload.len() as u32);
            let is_last = index + 1 == frames.len();
            assert_eq!(frame[transport + 13], if is_last { 0x18 } else { 0x10 }, "PSH only at the end");
        }
        assert!(end - start == segment || index + 1 == frames.len() && end - start <= segment);
        payload.extend(&frame[start..end]);
    }
    payload
}

#[test]
fn long_packets_are_cut_into_segments_that_are_right() {
    for size in [BufferSize::Bytes2048, BufferSize::Bytes4096] {
        let mut setup = setup(all());
        setup.pool.buffer_size = size;
        let mut port = open(setup);
        for (v6, protocol) in [(false, 6), (true, 6), (false, 17), (true, 17)] {
            for (length, segment, first) in [
                (1u16, 1448u16, 1500usize),
                (1448, 1448, 1500),
                (4000, 1000, 60),
                (9000, 1460, 1000),
                (60_000, 1448, 1500),
                (20_000, 8000, 100),
            ] {
                for tag in [None, Some(0x2042)] {
                    let plain = flow(v6, protocol, u32::from(length));
                    let payload: Vec<u8> = (0..length).map(|place| place.wrapping_mul(7) as u8).collect();
                    let first = first.max(plain.payload());
                    let mut packet = packet(&port.pool, &plain.unfinished(&payload), first);
                    packet.frame_mut().set_offload(Some(plain.offload(segment)));
                    packet.frame_mut().set_vlan(tag);
                    let sent = send(&mut port, packet);
                    assert_eq!(sent.len(), usize::from(length.div_ceil(segment)), "{plain:?} {length}");
                    let flow = Flow { tag, ..plain };
                    assert!(joined(&flow, &sent, segment.into()) == payload, "{flow:?} {length}");
                }
            }
        }
        assert_eq!(errors(&mut port), 0);
        port.close();
    }
}

#[test]
fn being_asked_to_cut_needs_no_other_offload() {
    for (v6, offload) in [(false, Offloads::TCP4_SEGMENTATION), (true, Offloads::TCP6_SEGMENTATION)] {
        let mut port = open(setup(offload));
        let flow = flow(v6, 6, 1);
        let mut packet = packet(&port.pool, &flow.unfinished(&[3; 3000]), 1500);
        let asked = Offload { network_checksum: false, transport_checksum: false, ..flow.offload(1000) };
        packet.frame_mut().set_offload(Some(asked));
        assert_eq!(joined(&flow, &send(&mut port, packet), 1000), [3; 3000]);
        port.close();
    }
}

#[test]
fn what_the_port_was_not_opened_for_is_dropped_and_counted() {
    for missing in TRANSMIT {
        let mut port = open(setup(all() - missing));
        let mut refused = 0;
        for (v6, protocol, segment, needs) in [
            (false, 17, 0, Offloads::IPV4_CHECKSUM | Offloads::TCP_UDP_CHECKSUM),
            (true, 17, 0, Offloads::TCP_UDP_CHECKSUM),
            (true, 132, 0, Offloads::SCTP_CHECKSUM),
            (false, 6, 700, Offloads::TCP4_SEGMENTATION),
            (true, 6, 700, Offloads::TCP6_SEGMENTATION),
            (false, 17, 700, Offloads::UDP_SEGMENTATION),
        ] {
            let flow = flow(v6, protocol, 1);
            for tag in [None, Some(3)] {
                let mut packet = packet(&port.pool, &flow.unfinished(&[1; 1000]), 1500);
                packet.frame_mut().set_vlan(tag);
                let offload = Offload { network_checksum: !v6 && segment == 0, ..flow.offload(segment) };
                packet.frame_mut().set_offload(Some(offload));
                let is_refused = needs.contains(missing) || tag.is_some() && missing == Offloads::VLAN_INSERT;
                refused += u64::from(is_refused);
                assert_eq!(send(&mut port, packet).is_empty(), is_refused, "{missing} {flow:?}");
            }
        }
        assert_eq!(errors(&mut port), refused, "{missing}");
        assert!(refused > 0);
        port.close();
    }
}

#[test]
fn requests_that_do_not_fit_their_packet_are_dropped_and_counted() {
    let mut port = open(setup(all()));
    let good = flow(false, 6, 1);
    let cut = good.offload(1000);
    let sctp = Offload { protocol: Protocol::SctpIpv4, ..cut };
    let udp = Offload { protocol: Protocol::UdpIpv4, ..cut };
    let wrong = [
        Offload { network: 13, ..cut },
        Offload { network: 128, transport: 148, payload: 168, ..cut },
        Offload { transport: 33, ..cut },
        Offload { transport: 10, ..cut },
        Offload { network: 14, transport: 600, payload: 620, ..cut },
        Offload { payload: 53, ..cut },
        Offload { payload: 34, ..cut },
        Offload { payload: 0, ..cut },
        Offload { payload: 34 + 256, ..cut },
        Offload { payload: 3054, ..cut },
        Offload { payload: u16::MAX, ..cut },
        Offload { segment: 9671, ..cut },
        Offload { segment: u16::MAX, ..cut },
        Offload { network: u16::MAX, transport: u16::MAX, payload: u16::MAX, ..good.offload(0) },
        Offload { transport: 1490, ..good.offload(0) },
        Offload { protocol: Protocol::TcpIpv6, ..good.offload(0) },
        sctp,
        udp,
    ];
    for (index, offload) in (1..).zip(wrong) {
        let mut packet = packet(&port.pool, &good.unfinished(&[1; 3000]), 1500);
        packet.frame_mut().set_offload(Some(offload));
        assert_eq!(send(&mut port, packet), Vec::<Vec<u8>>::new(), "{offload:?}");
        assert_eq!(errors(&mut port), index, "{offload:?}");
    }
    // Headers that the first buffer doesn't hold, and headers alone.
    for (length, first) in [(3000, 53), (0, 54)] {
        let mut packet = packet(&port.pool, &good.unfinished(&vec![1; length]), first);
        packet.frame_mut().set_offload(Some(cut));
        assert!(send(&mut port, packet).is_empty());
    }
    // And the next one is none the worse for it.
    let mut packet = packet(&port.pool, &good.unfinished(&[1; 3000]), 1500);
    packet.frame_mut().set_offload(Some(cut));
    assert_eq!(send(&mut port, packet).len(), 3);
    port.close();
}

#[test]
fn equal_requests_share_a_context_and_two_of_them_are_remembered() {
    let mut port = open(setup(all()));
    let flow = flow(false, 6, 1);
    let mut position = 0;
    let mut used = Vec::new();
    for tag in [1, 1, 2, 1, 2, 2, 3, 1, 3] {
        let mut packet = port.pool.packet_from(&flow.unfinished(&[1; 100])).unwrap();
        packet.frame_mut().set_offload(Some(flow.offload(0)));
        packet.frame_mut().set_vlan(Some(tag));
        let sent = send(&mut port, packet);
        assert_eq!(sent, [Flow { tag: Some(tag), ..flow.clone() }.frame(&[1; 100])]);
        let tail = port.watch.read(0x6018); // TDT of queue 0
        used.push(tail.wrapping_sub(position) % 64);
        position = tail;
    }
    assert_eq!(used, [2, 1, 2, 1, 1, 1, 2, 2, 1], "descriptors a packet");
    port.close();
}

#[test]
fn asking_and_plain_packets_mix_in_order_through_many_laps_of_a_full_ring() {
    let mut port = open(setup(all()));
    let mut batch = port.batch(48);
    let (mut next, mut expected) = (0u32, std::collections::VecDeque::new());
    let mut came = Vec::new();
    for round in 0..200 {
        while batch.room() > 0 {
            let flow = flow(next % 3 == 0, if next % 5 == 0 { 17 } else { 6 }, next);
            let payload = next.to_be_bytes();
            let mut packet = match next % 4 {
                0 => {
                    let mut packet = port.pool.packet_from(&flow.unfinished(&payload)).unwrap();
                    packet.frame_mut().set_offload(Some(flow.offload(0)));
                    packet
                }
                _ => port.pool.packet_from(&flow.frame(&payload)).unwrap(),
            };
            let tag = (next % 7 == 0).then_some(next as u16);
            packet.frame_mut().set_vlan(tag);
            expected.push_back(padded(Flow { tag, ..flow }.frame(&payload)));
            batch.push(packet).unwrap();
            next += 1;
        }
        port.transmit[0].transmit(&mut batch).unwrap();
        if round % 3 != 0 {
            while port.device.step() > 0 {}
            came.extend(std::iter::from_fn(|| port.device.take_sent()));
        }
        for frame in came.drain(..) {
            // A tag comes on top of what was padded before.
            assert_eq!(Some(padded(frame)), expected.pop_front());
        }
    }
    while !batch.is_empty() {
        while port.device.step() > 0 {}
        port.transmit[0].transmit(&mut batch).unwrap();
    }
    while port.device.step() > 0 {}
    assert_eq!(std::iter::from_fn(|| port.device.take_sent()).count(), expected.len());
    port.transmit[0].reclaim().unwrap();
    assert!(next > 4000 && port.transmit[0].pending() == 0);
    drop(batch);
    port.close();
}

#[test]
fn a_packet_of_forty_buffers_goes_and_one_of_forty_one_does_not() {
    let mut setup = setup(all());
    setup.pool.buffers = 4096;
    let mut port = open(setup);
    let flow = flow(false, 6, 1);
    for (buffers, segments) in [(40usize, 4), (41, 0)] {
        let bytes = flow.unfinished(&vec![1; 100 * buffers - 54]);
        let mut packet = port.pool.packet_from(&bytes[..100]).unwrap();
        for part in bytes[100..].chunks(100) {
            packet.frame_mut().chain(port.pool.packet_from(part).unwrap()).unwrap();
        }
        packet.frame_mut().set_offload(Some(flow.offload(1000)));
        assert_eq!(send(&mut port, packet).len(), segments, "{buffers}");
    }
    port.close();
}

#[test]
fn an_offload_beyond_the_driver_is_refused_with_the_reason() {
    let mut setup = setup(Offloads::LARGE_RECEIVE | Offloads::VLAN_STRIP);
    setup.model.personality = Personality::X540;
    let said = refusal(setup).to_string();
    for part in ["emulated:0", "large-receive", "in a row only", "in the program"] {
        assert!(said.contains(part), "{said}");
    }
}

#[test]
fn an_address_space_without_room_above_4_gib_has_no_offloads_that_need_contexts() {
    let space = AddressSpace::emulated_with_width(32);
    let pool = Pool::new(&space, PoolOptions { buffers: 2048, ..PoolOptions::default() }).unwrap();
    let open = |offloads| {
        let (backend, _device) = Ixgbe::create(&space, Options::default());
        let options = PortOptions { offloads, ..PortOptions::default() };
        ringway_ixgbe::open(Function::new(backend).unwrap(), &pool, &options).map(drop)
    };
    let said = open(Offloads::VLAN_INSERT).unwrap_err().to_string();
    assert!(said.contains("vlan-insert") && said.contains("4 GiB"), "{said}");
    open(Offloads::VLAN_STRIP | Offloads::HASH).unwrap();
}

#[test]
fn a_packet_that_was_received_can_be_sent_with_its_tag() {
    let mut setup = setup(Offloads::VLAN_STRIP | Offloads::VLAN_INSERT);
    setup.port.receive_ring = 64;
    let mut port = open(setup);
    let tagged = Flow { tag: Some(0x3007), ..flow(false, 6, 1) }.frame(&[5; 90]);
    assert!(port.device.inject(&tagged));
    let mut batch = port.batch(4);
    assert_eq!(port.receive[0].receive(&mut batch).unwrap(), 1);
    assert_eq!(bytes(&batch.frame(0).unwrap()).len(), tagged.len() - 4);
    assert_eq!(port.transmit[0].transmit(&mut batch).unwrap(), 1);
    while port.device.step() > 0 {}
    assert_eq!(port.device.take_sent(), Some(tagged));
    port.transmit[0].reclaim().unwrap();
    drop(batch);
    port.close();
}
