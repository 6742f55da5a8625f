//! Which packets come, where they come, and how often a program is told: hashes, filters, addresses, interrupts.
#![allow(clippy::unwrap_used, reason = "helpers of tests: what can't go on has failed")]

mod common;

use common::internet::{KINDS, Kind};
use common::{Rig, batch_of, frame, number, rings, without};
use ringway_flow::Toeplitz;
use ringway_model::virtio::{Features, Options};
use ringway_packet::Batch;
use ringway_port::{HashTypes, MacAddress, Offloads, Opened, PortOptions, Scaling, VERIFICATION_KEY};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::collections::BTreeSet;
use std::os::fd::OwnedFd;
use std::time::Duration;

const PAIRS: u16 = 4;

fn several(missing: u64) -> Options {
    Options { queue_pairs: PAIRS, ..without(missing) }
}

fn pairs(offloads: Offloads) -> PortOptions {
    PortOptions { receive_queues: PAIRS, transmit_queues: PAIRS, offloads, ..rings(64, 64) }
}

/// What `ringway-flow`'s Toeplitz gives for a packet: ports counted or not.
fn expected(kind: Kind, packet: &[u8], key: &[u8], ports: bool) -> u32 {
    let network = kind.network();
    let addresses = if kind.ipv6 { network + 8..network + 40 } else { network + 12..network + 20 };
    let mut input = packet[addresses].to_vec();
    if ports {
        input.extend(&packet[kind.transport()..kind.transport() + 4]);
    }
    Toeplitz::new(key.try_into().unwrap()).hash(&input)
}

/// Injects a packet: the queue that it came to, and its hash.
fn arrival(rig: &mut Rig, port: &mut Opened, packet: &[u8]) -> (usize, Option<u32>) {
    assert!(rig.device.inject(packet));
    let mut batch = Batch::new(&rig.pool, 4);
    let queue = port.receive.iter_mut().position(|queue| queue.receive(&mut batch).unwrap() == 1);
    (queue.unwrap(), batch.frame(0).unwrap().hash())
}

#[test]
fn the_hash_comes_with_the_packet_and_equals_the_parser_s() {
    for missing in [0, Features::RSS] {
        let mut rig = Rig::new(without(missing), 1024);
        let mut port = rig.open(&PortOptions { offloads: Offloads::HASH, ..rings(64, 64) });
        for kind in KINDS {
            for source in 0..50 {
                let packet = kind.packet(source, 60);
                let hash = expected(kind, &packet, &VERIFICATION_KEY, true);
                assert_eq!(arrival(&mut rig, &mut port, &packet), (0, Some(hash)), "{kind:?}");
            }
        }
        assert_eq!(arrival(&mut rig, &mut port, &frame(1, 60)), (0, None), "nothing to hash");
        // The longer header goes before what is sent, too.
        let mut batch = batch_of(&rig.pool, [frame(7, 60)]);
        assert_eq!(port.transmit[0].transmit(&mut batch).unwrap(), 1);
        rig.run();
        assert_eq!(number(&rig.device.take_sent().unwrap()), 7);
        drop((port, batch));
        rig.is_clean();
    }
}

#[test]
fn a_long_packet_has_its_hash_too() {
    let mut rig = Rig::new(Options { mtu: 9_000, ..Options::default() }, 1024);
    let mut port = rig.open(&PortOptions { offloads: Offloads::HASH, maximum_frame: 9_018, ..rings(64, 64) });
    let packet = KINDS[0].packet(5, 6_000);
    let hash = expected(KINDS[0], &packet, &VERIFICATION_KEY, true);
    for _ in 0..100 {
        assert_eq!(arrival(&mut rig, &mut port, &packet), (0, Some(hash)));
    }
    drop(port);
    rig.is_clean();
}

#[test]
fn flows_are_spread_by_the_driver_s_own_table_where_the_device_can() {
    let mut rig = Rig::new(several(0), 1024);
    let mut port = rig.open(&pairs(Offloads::NONE));
    let scaling = port.control.scaling().unwrap();
    assert_eq!((scaling.key.len(), scaling.table.len(), scaling.types), (40, 128, HashTypes::ALL));
    let mut seen = [0; PAIRS as usize];
    for source in 0..400 {
        let packet = KINDS[0].packet(source, 60);
        let entry = expected(KINDS[0], &packet, &scaling.key, true) as usize % 128;
        let (queue, hash) = arrival(&mut rig, &mut port, &packet);
        assert_eq!((queue, hash), (scaling.table[entry].into(), None));
        seen[queue] += 1;
    }
    assert!(seen.iter().all(|&count| count > 60), "{seen:?}");
    assert_eq!(rig.device.monitor().active_pairs(), PAIRS);
    drop(port);
    rig.is_clean();
}

#[test]
fn key_table_and_kinds_are_chosen_at_the_start_and_changed_while_packets_come() {
    let mut rig = Rig::new(several(0), 1024);
    let key: Vec<u8> = (0..40).map(|index| index * 5 + 3).collect();
    let first = Scaling {
        key: key.clone(),
        table: vec![2; 128],
        types: HashTypes { ipv4: true, ipv6: true, ..HashTypes::default() },
    };
    let options = PortOptions { scaling: Some(first.clone()), ..pairs(Offloads::HASH) };
    let mut port = rig.open(&options);
    assert_eq!(port.control.scaling().unwrap(), first);
    for kind in KINDS {
        let packet = kind.packet(1, 60);
        let hash = expected(kind, &packet, &key, false);
        assert_eq!(arrival(&mut rig, &mut port, &packet), (2, Some(hash)), "addresses alone");
    }
    let second = Scaling {
        table: (0..128).map(|entry| 3 - entry % 2).collect(),
        types: HashTypes { tcp_ipv4: true, ..HashTypes::default() },
        ..first.clone()
    };
    port.control.set_scaling(&second).unwrap();
    assert_eq!(port.control.scaling().unwrap(), second);
    let packet = KINDS[0].packet(9, 60);
    let hash = expected(KINDS[0], &packet, &key, true);
    let queue = 3 - hash as usize % 2;
    assert_eq!(arrival(&mut rig, &mut port, &packet), (queue, Some(hash)));
    assert_eq!(arrival(&mut rig, &mut port, &KINDS[1].packet(9, 60)), (0, None), "what isn't hashed");

    for wrong in [
        Scaling { key: vec![1; 39], ..second.clone() },
        Scaling { table: vec![0; 64], ..second.clone() },
        Scaling { table: vec![PAIRS; 128], ..second.clone() },
    ] {
        let error = port.control.set_scaling(&wrong).unwrap_err().to_string();
        assert!(error.contains("emulated:0"), "{error}");
        assert_eq!(port.control.scaling().unwrap(), second, "nothing has changed");
        let options = PortOptions { scaling: Some(wrong), ..pairs(Offloads::NONE) };
        drop(port);
        assert!(rig.try_open(&options).is_err());
        port = rig.open(&PortOptions { scaling: Some(second.clone()), ..options });
    }
    drop(port);
    rig.is_clean();
}

#[test]
fn a_device_without_receive_side_scaling_says_so() {
    let mut rig = Rig::new(several(Features::RSS), 1024);
    let mut port = rig.open(&pairs(Offloads::NONE));
    let scaling = Scaling { key: vec![0; 40], table: vec![0; 128], types: HashTypes::ALL };
    for error in [port.control.scaling().unwrap_err(), port.control.set_scaling(&scaling).unwrap_err()] {
        let error = error.to_string();
        assert!(error.contains("emulated:0") && error.contains("receive side scaling"), "{error}");
    }
    drop(port);
    let options = PortOptions { scaling: Some(scaling), ..pairs(Offloads::NONE) };
    let error = rig.try_open(&options).unwrap_err().to_string();
    assert!(error.contains("VIRTIO_NET_F_RSS") && error.contains("rss=on"), "{error}");
    rig.is_clean();
}

fn to(address: [u8; 6], vlan: Option<u16>) -> Vec<u8> {
    let mut frame = frame(1, 60);
    frame[..6].copy_from_slice(&address);
    if let Some(vlan) = vlan {
        frame.splice(12..12, [0x81, 0, (vlan >> 8) as u8, vlan as u8]);
    }
    frame
}

fn comes(rig: &mut Rig, port: &mut Opened, frame: &[u8]) -> bool {
    assert!(rig.device.inject(frame));
    let mut batch = Batch::new(&rig.pool, 4);
    port.receive[0].receive(&mut batch).unwrap() == 1
}

const OWN: [u8; 6] = [2, 0, 0, 0, 0, 1];

#[test]
fn only_vlans_that_were_chosen_are_received() {
    let mut rig = Rig::new(Options::default(), 1024);
    let mut port = rig.open(&PortOptions { offloads: Offloads::VLAN_FILTER, ..rings(64, 64) });
    assert!(comes(&mut rig, &mut port, &to(OWN, None)), "untagged");
    for vlan in [1, 100, 4095] {
        assert!(!comes(&mut rig, &mut port, &to(OWN, Some(vlan))));
        port.control.add_vlan(vlan).unwrap();
        assert!(comes(&mut rig, &mut port, &to(OWN, Some(vlan))));
        port.control.remove_vlan(vlan).unwrap();
        assert!(!comes(&mut rig, &mut port, &to(OWN, Some(vlan))));
    }
    for error in [port.control.add_vlan(4096).unwrap_err(), port.control.remove_vlan(5).unwrap_err()] {
        assert!(error.to_string().contains("emulated:0") && error.to_string().contains("VLAN"), "{error}");
    }
    drop(port);
    // Who doesn't ask for it gets all.
    let mut port = rig.open(&rings(64, 64));
    assert!(comes(&mut rig, &mut port, &to(OWN, Some(100))));
    let error = port.control.add_vlan(100).unwrap_err().to_string();
    assert!(error.contains("emulated:0") && error.contains("vlan-filter"), "{error}");
    drop(port);
    rig.is_clean();
}

#[test]
fn frames_for_further_addresses_are_received_until_they_are_removed() {
    let mut rig = Rig::new(Options::default(), 1024);
    let mut port = rig.open(&rings(64, 64));
    assert_eq!(port.control.capabilities().addresses, 64);
    let addresses: Vec<[u8; 6]> =
        (0..64u8).map(|index| [if index % 2 == 0 { 2 } else { 1 }, 0x5e, 0, 0, 7, index]).collect();
    for &address in &addresses {
        assert!(!comes(&mut rig, &mut port, &to(address, None)));
        port.control.add_address(MacAddress(address)).unwrap();
    }
    for &address in &addresses {
        assert!(comes(&mut rig, &mut port, &to(address, None)));
    }
    let error = port.control.add_address(MacAddress([2, 9, 9, 9, 9, 9])).unwrap_err().to_string();
    assert!(error.contains("02:09:09:09:09:09") && error.contains("64"), "{error}");
    for &address in &addresses {
        port.control.remove_address(MacAddress(address)).unwrap();
        assert!(!comes(&mut rig, &mut port, &to(address, None)));
    }
    assert!(port.control.remove_address(MacAddress([2, 9, 9, 9, 9, 9])).is_err());
    assert!(comes(&mut rig, &mut port, &to(OWN, None)));
    drop(port);
    rig.is_clean();
}

#[test]
fn the_port_s_own_address_is_changed() {
    let mut rig = Rig::new(Options::default(), 1024);
    let mut port = rig.open(&rings(64, 64));
    let new = [2, 7, 7, 7, 7, 7];
    port.control.set_address(MacAddress(new)).unwrap();
    assert_eq!(port.control.information().mac, MacAddress(new));
    assert!(comes(&mut rig, &mut port, &to(new, None)) && !comes(&mut rig, &mut port, &to(OWN, None)));
    assert!(port.control.set_address(MacAddress([1, 0, 0, 0, 0, 0])).is_err());
    drop(port);
    let mut rig = Rig::new(without(Features::CTRL_MAC_ADDR), 1024);
    let error = rig.open(&rings(64, 64)).control.set_address(MacAddress(new)).unwrap_err().to_string();
    assert!(error.contains("VIRTIO_NET_F_CTRL_MAC_ADDR"), "{error}");
}

#[test]
fn a_wish_for_an_announcement_is_told_once_and_answered() {
    let mut rig = Rig::new(Options::default(), 1024);
    let mut port = rig.open(&PortOptions { interrupts: true, ..rings(64, 64) });
    assert!(!port.control.take_announcement().unwrap());
    let changes = port.control.link_interrupt().unwrap().clone();
    assert!(rig.device.announce());
    assert!(is_readable(&changes));
    assert!(rig.device.monitor().awaits_announcement());
    assert!(port.control.take_announcement().unwrap());
    assert!(!rig.device.monitor().awaits_announcement());
    assert!(!port.control.take_announcement().unwrap());
    drop(port);
    rig.is_clean();
}

fn is_readable(counter: &OwnedFd) -> bool {
    let mut watched = [PollFd::new(counter, PollFlags::IN)];
    poll(&mut watched, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).unwrap() > 0
}

fn drain(counter: &OwnedFd) {
    let mut value = [0; 8];
    let _ = rustix::io::read(counter, &mut value);
}

#[test]
fn the_link_s_interrupt_comes_when_the_link_changes_and_packets_leave_it_alone() {
    let mut rig = Rig::new(several(0), 1024);
    let mut port = rig.open(&PortOptions { interrupts: true, ..pairs(Offloads::NONE) });
    let changes = port.control.link_interrupt().unwrap().clone();
    for up in [false, true, false, true] {
        assert!(!is_readable(&changes));
        rig.device.set_link(up);
        assert!(is_readable(&changes));
        drain(&changes);
        assert_eq!(port.control.link().unwrap().is_up(), up);
    }
    for receive in &mut port.receive {
        receive.enable_interrupt();
    }
    for source in 0..20 {
        assert!(rig.device.inject(&KINDS[0].packet(source, 60)));
    }
    assert!(!is_readable(&changes));
    drop(port);
    let port = rig.open(&pairs(Offloads::NONE));
    assert!(port.control.link_interrupt().is_none(), "nobody asked for interrupts");
    drop(port);
    rig.is_clean();
}

#[test]
fn interrupts_are_held_back_for_one_queue_and_not_for_others() {
    let mut rig = Rig::new(several(0), 1024);
    let mut port = rig.open(&PortOptions { interrupts: true, ..pairs(Offloads::NONE) });
    assert!(port.control.capabilities().moderation);
    port.control.set_moderation(1, Duration::from_secs(3600)).unwrap();
    assert_eq!(rig.device.monitor().moderation(2), Some(Duration::from_secs(3600)), "virtqueue 2 is queue 1");
    let table = Scaling { table: vec![1; 128], ..port.control.scaling().unwrap() };
    for (queue, held) in [(1u16, true), (2, false)] {
        port.control.set_scaling(&Scaling { table: vec![queue; 128], ..table.clone() }).unwrap();
        let receive = &mut port.receive[usize::from(queue)];
        let counter = receive.interrupt().unwrap().clone();
        let mut batch = Batch::new(&rig.pool, 8);
        for round in 0..3 {
            receive.enable_interrupt();
            assert!(rig.device.inject(&KINDS[0].packet(1, 60)));
            // The first comes at once; those after it wait for their hour.
            assert_eq!(is_readable(&counter), round == 0 || !held, "queue {queue}, round {round}");
            drain(&counter);
            assert_eq!(receive.receive(&mut batch).unwrap(), 1);
        }
    }
    port.control.set_moderation(1, Duration::ZERO).unwrap();
    rig.run();
    assert!(is_readable(port.receive[1].interrupt().unwrap()), "what was owed comes");
    assert!(port.control.set_moderation(PAIRS, Duration::ZERO).is_err(), "there is no such queue");
    assert!(port.control.set_moderation(0, Duration::from_secs(5_000)).is_err(), "too long");
    drop(port);
    rig.is_clean();
}

#[test]
fn moderation_without_a_word_for_one_queue_is_all_queues() {
    let mut rig = Rig::new(several(Features::VQ_NOTF_COAL), 1024);
    let mut port = rig.open(&PortOptions { interrupts: true, ..pairs(Offloads::NONE) });
    port.control.set_moderation(1, Duration::from_micros(70)).unwrap();
    let set: BTreeSet<_> = (0..8).map(|queue| rig.device.monitor().moderation(queue)).collect();
    assert_eq!(set, BTreeSet::from([Some(Duration::ZERO), Some(Duration::from_micros(70))]));
    drop(port);
    let mut port = rig.open(&pairs(Offloads::NONE));
    let error = port.control.set_moderation(0, Duration::ZERO).unwrap_err().to_string();
    assert!(error.contains("interrupts"), "{error}");
    drop(port);
    let mut rig = Rig::new(several(Features::VQ_NOTF_COAL | Features::NOTF_COAL), 1024);
    let mut port = rig.open(&PortOptions { interrupts: true, ..pairs(Offloads::NONE) });
    assert!(!port.control.capabilities().moderation);
    let error = port.control.set_moderation(0, Duration::ZERO).unwrap_err().to_string();
    assert!(error.contains("VIRTIO_NET_F_NOTF_COAL"), "{error}");
}
