//! What comes with received packets: tags, hashes, checksums.

use crate::packets::{Flow, PROTOCOLS, flow};
use crate::support::{Port, Setup, bytes, frame, number, open};
use ringway_flow::{FiveTuple, Toeplitz};
use ringway_model::ixgbe::{Options, Personality};
use ringway_packet::{Checksum, PoolOptions};
use ringway_port::{HashTypes, Offloads, PortOptions, Scaling};

const ALL: [Personality; 4] =
    [Personality::Fibre82599, Personality::Backplane82599, Personality::X540, Personality::X550];

fn setup(personality: Personality, offloads: Offloads, queues: u16) -> Setup {
    Setup {
        model: Options { personality, ..Options::default() },
        port: PortOptions { offloads, receive_queues: queues, receive_ring: 64, ..PortOptions::default() },
        pool: PoolOptions { buffers: 128 * u32::from(queues) + 1024, ..PoolOptions::default() },
    }
}

/// What a packet came with.
#[derive(Clone, Debug, PartialEq)]
struct Came {
    queue: usize,
    frame: Vec<u8>,
    vlan: Option<u16>,
    hash: Option<u32>,
    checksum: Checksum,
}

/// Receives one frame, from whichever queue it came to.
fn receive(port: &mut Port, sent: &[u8]) -> Option<Came> {
    assert!(port.device.inject(sent));
    let mut batch = port.batch(4);
    for (queue, handle) in port.receive.iter_mut().enumerate() {
        if handle.receive(&mut batch).unwrap() > 0 {
            let frame = batch.frame(0).unwrap();
            let (vlan, hash, checksum) = (frame.vlan(), frame.hash(), frame.checksum());
            assert_eq!(frame.timestamp(), None);
            return Some(Came { queue, frame: bytes(&frame), vlan, hash, checksum });
        }
    }
    None
}

/// The hash by the other crate's reckoning; ports where the device hashes them.
fn toeplitz(key: &[u8], flow: &Flow) -> u32 {
    let ports = matches!(flow.protocol, 6 | 17).then_some(flow.ports);
    let tuple =
        FiveTuple { source: flow.source, destination: flow.destination, protocol: flow.protocol, ports };
    Toeplitz::new(key.try_into().unwrap()).hash_five_tuple(&tuple)
}

#[test]
fn the_hash_is_that_of_the_flow_parser_and_chooses_the_queue() {
    for personality in ALL {
        let mut port = open(setup(personality, Offloads::HASH, 4));
        let mut scaling = port.control.scaling().unwrap();
        let limits = port.control.capabilities().hash.unwrap();
        for round in 0..3u8 {
            for v6 in [false, true] {
                for protocol in PROTOCOLS {
                    for index in 0..25 {
                        let flow = flow(v6, protocol, index * 7919);
                        let came = receive(&mut port, &flow.frame(&[0; 30])).unwrap();
                        let hash = toeplitz(&scaling.key, &flow);
                        assert_eq!(came.hash, Some(hash), "{personality:?} {flow:?}");
                        let entry = hash as usize % usize::from(limits.table);
                        assert_eq!(came.queue, usize::from(scaling.table[entry]));
                    }
                }
            }
            // Another key and another table, while packets come.
            scaling.key.rotate_left(3);
            scaling.key[0] ^= round + 1;
            scaling.table.iter_mut().for_each(|queue| *queue = (*queue + 1 + u16::from(round)) % 4);
            port.control.set_scaling(&scaling).unwrap();
            assert_eq!(port.control.scaling().unwrap(), scaling);
        }
        assert_eq!(receive(&mut port, &frame(1, 60)).unwrap().hash, None, "nothing in it is hashed");
        port.close();
    }
}

#[test]
fn only_what_is_to_be_hashed_is() {
    let mut port = open(setup(Personality::Fibre82599, Offloads::HASH, 2));
    let even = port.control.scaling().unwrap();
    assert_eq!(even.types, HashTypes::ALL);
    let plain = HashTypes { ipv4: true, ipv6: true, ..HashTypes::default() };
    for (types, hashed) in [(HashTypes::default(), None), (plain, Some(())), (HashTypes::ALL, Some(()))] {
        port.control.set_scaling(&Scaling { types, ..even.clone() }).unwrap();
        for (v6, protocol) in [(false, 6), (false, 17), (true, 6), (true, 17)] {
            let flow = flow(v6, protocol, 99);
            let came = receive(&mut port, &flow.frame(&[])).unwrap();
            // Without ports, or not at all.
            let known = if types == plain { Flow { protocol: 0, ..flow } } else { flow };
            assert_eq!(came.hash, hashed.map(|()| toeplitz(&even.key, &known)), "{types:?}");
        }
    }
    port.close();
}

#[test]
fn a_spreading_that_the_device_cant_do_is_refused_by_name_and_changes_nothing() {
    let mut port = open(setup(Personality::Fibre82599, Offloads::HASH, 4));
    let even = port.control.scaling().unwrap();
    let registers: Vec<u64> = (0x5c80..0x5ca8).chain(0x5c00..0x5c80).step_by(4).chain([0x5818]).collect();
    let before: Vec<u32> = registers.iter().map(|&register| port.watch.read(register)).collect();
    let with = |change: fn(&mut Scaling)| {
        let mut scaling = even.clone();
        change(&mut scaling);
        scaling
    };
    for (wrong, said) in [
        (with(|scaling| scaling.key.truncate(39)), ["40 bytes", "39"]),
        (with(|scaling| scaling.table.push(0)), ["128 entries", "129"]),
        (with(|scaling| scaling.table[127] = 4), ["queue 4", "0 to 3"]),
    ] {
        let refusal = port.control.set_scaling(&wrong).unwrap_err().to_string();
        assert!(
            said.iter().all(|part| refusal.contains(part)) && refusal.contains("emulated:0"),
            "{refusal}"
        );
    }
    let after: Vec<u32> = registers.iter().map(|&register| port.watch.read(register)).collect();
    assert_eq!((after, port.control.scaling().unwrap()), (before, even));
    port.close();
}

#[test]
fn a_port_can_be_opened_with_a_spreading_of_its_own() {
    let mut setup = setup(Personality::X540, Offloads::NONE, 3);
    let mut scaling = Scaling { key: (1..41).collect(), table: vec![2; 128], types: HashTypes::ALL };
    scaling.table[5] = 1;
    setup.port.scaling = Some(scaling.clone());
    let mut port = open(setup.clone());
    assert_eq!(port.control.scaling().unwrap(), scaling);
    for index in 0..200 {
        let flow = flow(index % 2 == 0, 17, index);
        let came = receive(&mut port, &flow.frame(&[])).unwrap();
        let expected = if toeplitz(&scaling.key, &flow) % 128 == 5 { 1 } else { 2 };
        assert_eq!((came.queue, came.hash), (expected, None), "the hash was not asked for");
    }
    port.close();
    setup.port.scaling = Some(Scaling { table: vec![3; 128], ..scaling });
    let refusal = crate::support::refusal(setup).to_string();
    assert!(refusal.contains("queue 3"), "{refusal}");
}

#[test]
fn queues_beyond_those_that_rss_reaches_get_no_flows_by_it() {
    for (personality, reached, queues) in [(Personality::Fibre82599, 16u16, 20), (Personality::X550, 64, 70)]
    {
        let mut port = open(setup(personality, Offloads::NONE, queues));
        let mut seen = vec![0; usize::from(queues)];
        for index in 0..u32::from(reached) * 40 {
            seen[receive(&mut port, &flow(false, 6, index).frame(&[])).unwrap().queue] += 1;
        }
        let (within, beyond) = seen.split_at(usize::from(reached));
        assert!(within.iter().all(|count| *count > 0) && beyond.iter().all(|count| *count == 0), "{seen:?}");
        port.close();
    }
}

#[test]
fn checksums_come_with_the_packets_that_they_are_of() {
    for personality in [Personality::Fibre82599, Personality::X550] {
        let mut port = open(setup(personality, Offloads::RECEIVE_CHECKSUM, 1));
        let mut result = |frame: &[u8]| receive(&mut port, frame).unwrap().checksum;
        for v6 in [false, true] {
            for protocol in PROTOCOLS {
                let flow = flow(v6, protocol, 5);
                let right = flow.frame(&[0x5a; 40]);
                let unsaid = if v6 { Checksum::Unknown } else { Checksum::NetworkGood };
                let expected = if flow.field().is_some() { Checksum::Good } else { unsaid };
                assert_eq!(result(&right), expected, "{flow:?}");
                let mut wrong = right.clone();
                *wrong.last_mut().unwrap() ^= 0x10;
                let expected = match protocol {
                    89 => unsaid,
                    // Said to be wrong, an 82599's UDP checksum may be none.
                    17 if personality == Personality::Fibre82599 => unsaid,
                    _ => Checksum::Bad,
                };
                assert_eq!(result(&wrong), expected, "{personality:?} {flow:?}");
                if !v6 {
                    let mut wrong = right.clone();
                    wrong[22] ^= 1; // time to live
                    assert_eq!(result(&wrong), Checksum::Bad, "{flow:?}");
                }
            }
        }
        assert_eq!(result(&frame(0, 60)), Checksum::Unknown);
        port.close();
    }
}

#[test]
fn tags_are_taken_out_and_come_with_the_packet() {
    for queues in [1, 3] {
        let mut port = open(setup(Personality::Fibre82599, Offloads::VLAN_STRIP, queues));
        for (index, tag) in [0u16, 1, 42, 0x602a, 0xffff].into_iter().enumerate() {
            let plain = flow(false, 6, index as u32);
            let tagged = Flow { tag: Some(tag), ..plain.clone() };
            let came = receive(&mut port, &tagged.frame(&[7; 50])).unwrap();
            assert_eq!((came.vlan, came.frame), (Some(tag), plain.frame(&[7; 50])));
            let came = receive(&mut port, &plain.frame(&[7; 50])).unwrap();
            assert_eq!((came.vlan, came.frame), (None, plain.frame(&[7; 50])));
        }
        port.close();
    }
    // Unasked, the tag stays where it is.
    let mut port = open(setup(Personality::Fibre82599, Offloads::HASH, 1));
    let tagged = Flow { tag: Some(9), ..flow(false, 6, 1) };
    let came = receive(&mut port, &tagged.frame(&[6; 9])).unwrap();
    assert_eq!((came.vlan, came.frame, came.hash.is_some()), (None, tagged.frame(&[6; 9]), true));
    port.close();
}

#[test]
fn a_port_that_filters_vlans_gets_untagged_frames_and_those_that_were_added() {
    let mut port = open(setup(Personality::X540, Offloads::VLAN_FILTER | Offloads::VLAN_STRIP, 1));
    let arrive = |port: &mut Port| -> Vec<Option<u16>> {
        let mut came = Vec::new();
        for tag in [None, Some(0), Some(41), Some(42), Some(4095)] {
            let flow = Flow { tag, ..flow(false, 17, 1) };
            came.extend(receive(port, &flow.frame(&[])).map(|came| came.vlan));
        }
        came
    };
    assert_eq!(arrive(&mut port), [None]);
    port.control.add_vlan(42).unwrap();
    port.control.add_vlan(42).unwrap();
    port.control.add_vlan(4095).unwrap();
    assert_eq!(arrive(&mut port), [None, Some(42), Some(4095)]);
    port.control.remove_vlan(42).unwrap();
    assert_eq!(arrive(&mut port), [None, Some(4095)]);
    assert!(port.control.remove_vlan(42).unwrap_err().to_string().contains("42 was not added"));
    assert!(port.control.add_vlan(4096).unwrap_err().to_string().contains("4096 is no VLAN"));
    port.close();
    let mut port = open(setup(Personality::X540, Offloads::NONE, 1));
    let refusal = port.control.add_vlan(1).unwrap_err().to_string();
    assert!(refusal.contains("vlan-filter"), "{refusal}");
    assert_eq!(arrive(&mut port).len(), 5);
    port.close();
}

#[test]
fn frames_in_several_buffers_carry_what_was_said_at_their_end() {
    let asked = Offloads::VLAN_STRIP | Offloads::HASH | Offloads::RECEIVE_CHECKSUM | Offloads::SCATTER;
    let mut setup = setup(Personality::Fibre82599, asked, 1);
    setup.port.maximum_frame = 9724;
    let mut port = open(setup);
    let key = port.control.scaling().unwrap().key;
    for length in [10, 900, 1000, 1100, 2000, 5000, 9600] {
        let plain = flow(false, 6, length as u32);
        let tagged = Flow { tag: Some(77), ..plain.clone() };
        let payload: Vec<u8> = (0..length).map(|place| place as u8).collect();
        let came = receive(&mut port, &tagged.frame(&payload)).unwrap();
        let mut expected = plain.frame(&payload);
        expected.resize(expected.len().max(60), 0);
        assert_eq!(came.frame, expected);
        assert_eq!((came.vlan, came.checksum), (Some(77), Checksum::Good), "{length}");
        assert_eq!(came.hash, Some(toeplitz(&key, &plain)));
    }
    port.close();
}

#[test]
fn batches_of_any_size_come_in_order_with_nothing_mixed_up() {
    for size in [1, 3, 4, 32, 63] {
        let mut port = open(setup(Personality::Fibre82599, Offloads::VLAN_STRIP | Offloads::HASH, 1));
        let key = port.control.scaling().unwrap().key;
        let mut batch = port.batch(size);
        for lap in 0..20u32 {
            for index in 0..size as u32 {
                let tag = (index % 2 == 0).then_some((lap * 64 + index) as u16);
                assert!(port.device.inject(&Flow { tag, ..flow(false, 17, lap * 64 + index) }.frame(&[])));
            }
            assert_eq!(port.receive[0].receive(&mut batch).unwrap(), size);
            for (index, frame) in (0u32..).zip(batch.frames()) {
                let flow = flow(false, 17, lap * 64 + index);
                assert_eq!(frame.vlan(), (index % 2 == 0).then_some((lap * 64 + index) as u16));
                assert_eq!(frame.hash(), Some(toeplitz(&key, &flow)));
                assert_eq!(frame.data()[..42], flow.frame(&[])[..42]);
            }
            batch.clear();
        }
        let received = port.control.statistics().unwrap().received();
        assert_eq!((received.packets, received.errors), (20 * size as u64, 0));
        drop(batch);
        port.close();
    }
}

#[test]
fn a_queue_that_tells_starves_and_recovers_as_any_other() {
    let mut setup = setup(Personality::Fibre82599, Offloads::HASH, 1);
    setup.pool.buffers = 96;
    let mut port = open(setup);
    let mut held = Vec::new();
    let mut next = 0;
    loop {
        assert!(port.device.inject(&frame(next, 60)));
        let mut batch = port.batch(1);
        if port.receive[0].receive(&mut batch).unwrap() == 0 {
            break;
        }
        held.push(batch);
        next += 1;
    }
    assert!(port.control.statistics().unwrap().received().starved > 0 && held.len() >= 32);
    drop(held);
    let mut batch = port.batch(1);
    assert_eq!(port.receive[0].receive(&mut batch).unwrap(), 1);
    assert_eq!(number(batch.frame(0).unwrap().data()), next);
    drop(batch);
    port.close();
}
