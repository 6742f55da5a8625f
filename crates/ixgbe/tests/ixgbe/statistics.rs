//! What the device and the queues count.

use crate::support::{Answer, OWN, Port, Setup, frame, open};

fn to(destination: [u8; 6], length: usize) -> Vec<u8> {
    let mut frame = frame(0, length);
    frame[..6].copy_from_slice(&destination);
    frame
}

fn expect(port: &mut Port, expected: &[(&str, u64)]) {
    let statistics = port.control.statistics().unwrap();
    for &(name, count) in &statistics.device {
        let wanted = expected.iter().find(|(known, _)| *known == name).map_or(0, |(_, count)| *count);
        assert_eq!(count, wanted, "{name}");
    }
    for (name, _) in expected {
        assert!(statistics.device.iter().any(|(known, _)| known == name), "{name} is counted");
    }
}

#[test]
fn received_frames_are_counted_by_kind() {
    let mut port = open(Setup::default());
    port.control.set_all_multicast(true).unwrap();
    for destination in [OWN, OWN, [0x01, 0, 0x5e, 0, 0, 1], [0xff; 6]] {
        assert!(port.device.inject(&to(destination, 100)));
        assert!(port.take().is_some());
    }
    assert!(port.device.inject(&to([2, 9, 9, 9, 9, 9], 100)));
    assert_eq!(port.take(), None);
    assert!(port.device.inject(&to(OWN, 1600)));
    assert_eq!(port.take(), None);
    expect(
        &mut port,
        &[
            ("GPRC", 4),
            ("GORC", 4 * 104),
            ("MPRC", 1),
            ("BPRC", 1),
            ("TPR", 6),
            ("TOR", 5 * 104 + 1604),
            ("ROC", 1),
            ("PRC127", 5),
            ("RXDGPC", 4),
            ("RXDGBC", 4 * 104),
            ("QPRC[0]", 4),
            ("QBRC[0]", 4 * 104),
        ],
    );
    let received = port.control.statistics().unwrap().received();
    assert_eq!((received.packets, received.bytes, received.errors), (4, 400, 0));
    port.close();
}

#[test]
fn sent_frames_are_counted_by_kind() {
    let mut port = open(Setup::default());
    port.send(&[to(OWN, 60), to([0x33, 0x33, 0, 0, 0, 1], 200), to([0xff; 6], 1000), to(OWN, 1514)]);
    expect(
        &mut port,
        &[
            ("GPTC", 4),
            ("GOTC", 64 + 204 + 1004 + 1518),
            ("MPTC", 1),
            ("BPTC", 1),
            ("TPT", 4),
            ("PTC64", 1),
            ("PTC255", 1),
            ("PTC1023", 1),
            ("PTC1522", 1),
            ("TXDGPC", 4),
            ("TXDGBC", 64 + 204 + 1004 + 1518),
            ("QPTC[0]", 4),
            ("QBTC[0]", 64 + 204 + 1004 + 1518),
        ],
    );
    let sent = port.control.statistics().unwrap().sent();
    assert_eq!((sent.packets, sent.bytes), (4, 60 + 200 + 1000 + 1514));
    port.close();
}

/// A wire that doesn't wait: what finds no room is lost, and counted.
#[derive(Debug)]
struct Impatient(u32);

impl ringway_model::wire::Wire for Impatient {
    fn receive(&mut self, place: &mut [u8]) -> Option<usize> {
        self.0 = self.0.checked_sub(1)?;
        let frame = frame(1, 60);
        place[..60].copy_from_slice(&frame);
        Some(60)
    }
    fn send(&mut self, _frame: &[u8]) {}
    fn waits(&self) -> bool {
        false
    }
}

#[test]
fn frames_that_find_no_room_are_counted_where_they_are_lost() {
    let mut port = open(Setup::default());
    port.device.attach(Box::new(Impatient(600)));
    while port.device.step() > 0 {}
    assert_eq!((port.counter("QPRDC[0]"), port.counter("MPC")), (600 - 511, 0));
    assert_eq!(port.counter("GPRC"), 511);
    let mut batch = port.batch(256);
    for expected in [256, 255, 0] {
        assert_eq!(port.receive[0].receive(&mut batch).unwrap(), expected);
        batch.clear();
    }
    drop(batch);
    port.close();
}

/// Counters that clear when they are read are added up: 32-bit ones wrap after minutes, 36-bit ones after a minute.
#[test]
fn sums_go_on_where_the_devices_counters_wrap() {
    let mut port = open(Setup::default());
    for lap in 1..=3u64 {
        // As if this much had been counted since the last reading.
        for (register, value) in [(0x4074, 0xffff_fff0), (0x4088, 0xffff_ff00), (0x408c, 0xf), (0x1430, 5)] {
            port.watch.record().forced.insert(register, value);
        }
        port.control.statistics().unwrap();
        port.watch.record().forced.clear();
        assert_eq!(port.counter("GPRC"), lap * 0xffff_fff0);
        assert_eq!(port.counter("GORC"), lap * 0xf_ffff_ff00);
        assert_eq!(port.counter("QPRDC[0]"), lap * 5);
    }
    port.close();
}

#[test]
fn a_device_that_goes_while_its_counters_are_read_adds_nothing() {
    let mut port = open(Setup::default());
    assert!(port.device.inject(&to(OWN, 60)));
    let before = port.control.statistics().unwrap().device;
    let start = port.watch.record().accesses;
    assert_eq!(port.control.statistics().unwrap().device, before);
    let accesses = port.watch.record().accesses - start;
    for step in 1..=accesses {
        let now = port.watch.record().accesses;
        port.watch.record().turn = Some((now + step, Answer::Ones));
        assert_eq!(port.control.statistics().unwrap().device, before, "gone at access {step} of {accesses}");
        let mut record = port.watch.record();
        (record.turn, record.answer) = (None, Answer::Model);
    }
    port.close();
}

#[test]
fn each_counter_is_read_at_its_place_in_the_datasheet() {
    // Section 8.2.3.23.
    let places = [
        ("CRCERRS", 0x4000),
        ("ILLERRC", 0x4004),
        ("ERRBC", 0x4008),
        ("MPC", 0x3fa0),
        ("MLFC", 0x4034),
        ("MRFC", 0x4038),
        ("RLEC", 0x4040),
        ("PRC64", 0x405c),
        ("PRC127", 0x4060),
        ("PRC255", 0x4064),
        ("PRC511", 0x4068),
        ("PRC1023", 0x406c),
        ("PRC1522", 0x4070),
        ("GPRC", 0x4074),
        ("BPRC", 0x4078),
        ("MPRC", 0x407c),
        ("GPTC", 0x4080),
        ("GORC", 0x4088),
        ("GOTC", 0x4090),
        ("RUC", 0x40a4),
        ("RFC", 0x40a8),
        ("ROC", 0x40ac),
        ("RJC", 0x40b0),
        ("TOR", 0x40c0),
        ("TPR", 0x40d0),
        ("TPT", 0x40d4),
        ("PTC64", 0x40d8),
        ("PTC127", 0x40dc),
        ("PTC255", 0x40e0),
        ("PTC511", 0x40e4),
        ("PTC1023", 0x40e8),
        ("PTC1522", 0x40ec),
        ("MPTC", 0x40f0),
        ("BPTC", 0x40f4),
        ("XEC", 0x4120),
        ("MSPDC", 0x4010),
        ("LXONTXC", 0x3f60),
        ("LXOFFTXC", 0x3f68),
        ("LXONRXCNT", 0x41a4),
        ("LXOFFRXCNT", 0x41a8),
        ("RXNFGPC", 0x41b0),
        ("RXNFGBC", 0x41b4),
        ("RXDGPC", 0x2f50),
        ("RXDGBC", 0x2f54),
        ("RXDDPC", 0x2f5c),
        ("RXDDBC", 0x2f60),
        ("RXLPBKPC", 0x2f68),
        ("RXLPBKBC", 0x2f6c),
        ("RXDLPBKPC", 0x2f74),
        ("RXDLPBKBC", 0x2f78),
        ("TXDGPC", 0x87a0),
        ("TXDGBC", 0x87a4),
        ("MNGPRC", 0x40b4),
        ("MNGPDC", 0x40b8),
        ("MNGPTC", 0xcf90),
        ("FDIRMATCH", 0xee58),
        ("FDIRMISS", 0xee5c),
    ];
    let queues = (0..16u64).flat_map(|queue| {
        [
            (format!("QPRC[{queue}]"), 0x1030 + queue * 0x40),
            (format!("QBRC[{queue}]"), 0x1034 + queue * 0x40),
            (format!("QPRDC[{queue}]"), 0x1430 + queue * 0x40),
            (format!("QPTC[{queue}]"), 0x8680 + queue * 4),
            (format!("QBTC[{queue}]"), 0x8700 + queue * 8),
        ]
    });
    let places: Vec<(String, u64)> =
        places.into_iter().map(|(name, register)| (name.to_owned(), register)).chain(queues).collect();
    let mut port = open(Setup::default());
    let known = port.control.statistics().unwrap().device;
    assert_eq!(known.len(), places.len() + 4, "and two registers of two counters each");
    for (index, (name, register)) in places.into_iter().enumerate() {
        let count = 1000 + index as u32;
        port.watch.record().forced = [(register, count)].into();
        port.control.statistics().unwrap();
        port.watch.record().forced.clear();
        assert_eq!(port.counter(&name), u64::from(count), "{name}");
    }
    port.watch.record().forced = [(0xee50, 7 << 16 | 9), (0xee54, 3 << 8 | 4)].into();
    port.control.statistics().unwrap();
    port.watch.record().forced.clear();
    let counts = ["FDIRUSTAT.Add", "FDIRUSTAT.Remove", "FDIRFSTAT.Add", "FDIRFSTAT.Remove"];
    assert_eq!(counts.map(|name| port.counter(name)), [9, 7, 4, 3]);
    port.close();
}

#[test]
fn what_was_counted_before_the_port_was_opened_does_not_count() {
    let setup = Setup::default();
    let (space, pool, function, device, watch) = crate::support::device(&setup);
    // A reset leaves the counters of a real device alone, so forced values stand for the time before.
    watch.record().forced.insert(0x4074, 77);
    let opened = ringway_ixgbe::open(function, &pool, &setup.port).unwrap();
    watch.record().forced.clear();
    let mut port = Port::new(opened, device, watch, pool, space);
    assert_eq!(port.counter("GPRC"), 0);
    port.close();
}

#[test]
fn each_queue_counts_for_itself_and_those_beyond_sixteen_share() {
    use ringway_packet::PoolOptions;
    use ringway_port::{Filter, Matching, PortOptions, Target};
    let mut port = open(Setup {
        port: PortOptions {
            receive_queues: 40,
            transmit_queues: 20,
            receive_ring: 64,
            transmit_ring: 64,
            ..PortOptions::default()
        },
        pool: PoolOptions { buffers: 8192, ..PoolOptions::default() },
        ..Setup::default()
    });
    for queue in [0u16, 7, 15, 16, 23, 39] {
        let filter = Filter { matching: Matching::EtherType(0x88b5), target: Target::Queue(queue) };
        let id = port.control.add_filter(&filter).unwrap();
        let (set, before) = (queue % 16, port.control.statistics().unwrap());
        assert!(port.device.inject(&to(OWN, 200)));
        let after = port.control.statistics().unwrap();
        let name = format!("QPRC[{set}]");
        for ((name_before, before), (name_after, after)) in before.device.iter().zip(&after.device) {
            assert_eq!(name_before, name_after);
            if name_after.starts_with("QPRC") {
                assert_eq!(after - before, u64::from(*name_after == name), "{name_after}");
            }
        }
        port.control.remove_filter(id).unwrap();
    }
    for queue in [0usize, 15, 16, 19] {
        let name = format!("QPTC[{}]", queue % 16);
        let before = port.counter(&name);
        let mut batch = port.batch(1);
        batch.push(port.pool.packet_from(&to(OWN, 60)).unwrap()).unwrap();
        assert_eq!(port.transmit[queue].transmit(&mut batch).unwrap(), 1);
        while port.device.step() > 0 {}
        assert_eq!(port.counter(&name), before + 1);
    }
    port.close();
}

/// Each access is a way to the device and back, some microsecond on hardware and much more on an emulated card. What is due
/// and when is said by a test beside the counters.
#[test]
fn a_look_each_second_costs_next_to_nothing() {
    use ringway_port::{Offloads, PortOptions};
    for (offloads, most) in [(Offloads::NONE, 2), (Offloads::TIMESTAMP, 3)] {
        let mut port =
            open(Setup { port: PortOptions { offloads, ..PortOptions::default() }, ..Setup::default() });
        for _ in 0..20 {
            let before = port.watch.record().accesses;
            port.control.check().unwrap();
            let accesses = port.watch.record().accesses - before;
            assert!(accesses <= most, "{accesses} accesses");
        }
        port.close();
    }
}

/// FDIRFSTAT (section 8.2.3.23.77) has 8 bits for each kind.
#[test]
fn counters_of_filters_are_read_with_each_of_them() {
    use ringway_port::{Filter, FiveTuple, Matching, Target};
    let mut port = open(Setup::default());
    let tuple = FiveTuple { protocol: Some(17), ..FiveTuple::default() };
    for _ in 0..3 {
        port.watch.record().forced.insert(0xee54, 200 << 8 | 100);
        let filter = Filter { matching: Matching::Exact(tuple), target: Target::Drop };
        let id = port.control.add_filter(&filter).unwrap();
        port.control.remove_filter(id).unwrap();
        port.watch.record().forced.clear();
    }
    assert_eq!((port.counter("FDIRFSTAT.Add"), port.counter("FDIRFSTAT.Remove")), (600, 1200));
    port.close();
}
