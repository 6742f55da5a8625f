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
    assert_eq!((port.counter("QPRDC"), port.counter("MPC")), (600 - 511, 0));
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
        port.control.check().unwrap();
        port.watch.record().forced.clear();
        assert_eq!(port.counter("GPRC"), lap * 0xffff_fff0);
        assert_eq!(port.counter("GORC"), lap * 0xf_ffff_ff00);
        assert_eq!(port.counter("QPRDC"), lap * 5);
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
        ("QPRDC", 0x1430),
    ];
    let mut port = open(Setup::default());
    let known = port.control.statistics().unwrap().device;
    assert_eq!(known.len(), places.len());
    for (index, (name, register)) in places.into_iter().enumerate() {
        let count = 1000 + index as u32;
        port.watch.record().forced = [(register, count)].into();
        port.control.check().unwrap();
        port.watch.record().forced.clear();
        assert_eq!(port.counter(name), u64::from(count), "{name}");
    }
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
