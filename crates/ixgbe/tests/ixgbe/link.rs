//! The link, the SFP+ module, the lights.

use crate::support::{Setup, device, frame, open};
use ringway_model::ixgbe::{LinkSpeed, Options, Personality};
use ringway_port::Link;

fn model(personality: Personality) -> Setup {
    Setup { model: Options { personality, ..Options::default() }, ..Setup::default() }
}

#[test]
fn every_member_of_the_family_comes_up_and_passes_frames() {
    for (personality, name) in [
        (Personality::Fibre82599, "82599ES"),
        (Personality::Backplane82599, "82599 KX4"),
        (Personality::X540, "X540"),
        (Personality::X550, "X550"),
    ] {
        for (speed, megabits) in [(LinkSpeed::TenGigabit, 10_000), (LinkSpeed::Gigabit, 1000)] {
            let mut setup = model(personality);
            setup.model.speed = speed;
            let mut port = open(setup);
            assert!(port.control.information().model.contains(name), "{:?}", port.control.information());
            assert_eq!(port.control.link().unwrap(), Link::Up { speed: Some(megabits) });
            assert!(port.device.inject(&frame(1, 60)));
            assert_eq!(port.take(), Some(frame(1, 60)));
            assert_eq!(port.send(&[frame(2, 60)]), [frame(2, 60)]);
            port.close();
        }
    }
}

#[test]
fn the_slower_speeds_of_an_x550_are_told_apart() {
    let mut port = open(model(Personality::X550));
    for (links, speed) in [
        (0x7000_0080, Some(10_000)),
        (0x7800_0080, Some(2500)),
        (0x6000_0080, Some(1000)),
        (0x5800_0080, Some(5000)),
        (0x5000_0080, Some(100)),
        (0x4000_0080, None),
    ] {
        port.watch.record().forced.insert(0x42a4, links);
        assert_eq!(port.control.link().unwrap(), Link::Up { speed }, "{links:#x}");
    }
    port.watch.record().forced.clear();
    port.close();
}

#[test]
fn a_link_that_goes_comes_back_and_frames_pass_again() {
    for personality in [Personality::Fibre82599, Personality::Backplane82599, Personality::X540] {
        let mut port = open(model(personality));
        for lap in 0..3 {
            assert!(port.control.link().unwrap().is_up());
            assert_eq!(port.send(&[frame(lap, 60)]), [frame(lap, 60)]);
            port.device.set_link(false);
            let Link::Down { reason } = port.control.link().unwrap() else { panic!("it is down") };
            assert!(!reason.is_empty());
            assert!(!port.device.inject(&frame(lap, 60)));
            // What is sent now waits in the ring.
            let mut batch = port.batch(1);
            batch.push(port.pool.packet_from(&frame(100, 60)).unwrap()).unwrap();
            assert_eq!(port.transmit[0].transmit(&mut batch).unwrap(), 1);
            port.device.step();
            assert_eq!(port.device.take_sent(), None);
            port.device.set_link(true);
            while port.device.step() > 0 {}
            assert_eq!(port.device.take_sent(), Some(frame(100, 60)));
            assert!(port.device.inject(&frame(lap, 60)));
            assert_eq!(port.take(), Some(frame(lap, 60)));
        }
        port.close();
    }
}

#[test]
fn a_link_that_flaps_loses_no_buffer_and_no_frame_that_the_device_took() {
    let mut port = open(model(Personality::Backplane82599));
    let (mut taken, mut received, mut given, mut sent) = (0, 0, 0, 0);
    for flap in 0..500u64 {
        port.device.set_link(flap % 2 == 1);
        assert_eq!(port.control.link().unwrap().is_up(), flap % 2 == 1);
        for number in 0..flap % 7 {
            taken += u64::from(port.device.inject(&frame(number, 60)));
            let mut batch = port.batch(1);
            batch.push(port.pool.packet_from(&frame(number, 60)).unwrap()).unwrap();
            given += port.transmit[0].transmit(&mut batch).unwrap();
            port.device.step();
        }
        sent += std::iter::from_fn(|| port.device.take_sent()).count();
        received += std::iter::from_fn(|| port.take()).count() as u64;
    }
    while port.device.step() > 0 {}
    sent += std::iter::from_fn(|| port.device.take_sent()).count();
    assert!(taken > 500 && given > 1000, "{taken} taken, {given} given");
    assert_eq!((received, sent), (taken, given));
    assert_eq!(port.control.statistics().unwrap().received().packets, taken);
    port.close();
}

#[test]
fn the_module_is_identified_and_named_when_there_is_no_signal() {
    let mut setup = Setup::default();
    setup.model.link = false;
    let mut port = open(setup);
    let model = &port.control.information().model;
    assert_eq!(model, "82599ES SFP+ with 10GBASE-SR module RINGWAY EMULATED-SR");
    let reason = port.control.link().unwrap().to_string();
    assert!(reason.contains("no signal") && reason.contains("RINGWAY EMULATED-SR"), "{reason}");
    port.close();
}

#[test]
fn an_empty_cage_is_named_and_a_module_that_is_put_in_is_taken() {
    let mut setup = Setup::default();
    setup.model.module = false;
    let mut port = open(setup);
    assert_eq!(port.control.information().model, "82599ES SFP+");
    let reason = port.control.link().unwrap().to_string();
    assert!(reason.contains("no SFP+ module in the cage"), "{reason}");
    let monitor = port.device.monitor();
    monitor.set_link(false);
    monitor.set_module(true);
    let reason = port.control.link().unwrap().to_string();
    assert!(reason.contains("RINGWAY EMULATED-SR"), "{reason}");
    monitor.set_link(true);
    assert!(port.control.link().unwrap().is_up());
    monitor.set_module(false);
    let reason = port.control.link().unwrap().to_string();
    assert!(reason.contains("no SFP+ module in the cage"), "{reason}");
    port.close();
}

#[test]
fn a_module_that_does_not_answer_is_named_and_the_port_opens_all_the_same() {
    // Both wires look high for ever: nobody acknowledges. Or the data line is stuck low: everything is acknowledged, and
    // zero, and so is the sum.
    for wires in [0b1111, 0b0011] {
        let setup = Setup::default();
        let (space, pool, function, handle, watch) = device(&setup);
        watch.record().forced.insert(0x28, wires);
        let opened = ringway_ixgbe::open(function, &pool, &setup.port).unwrap();
        let mut port = crate::support::Port::new(opened, handle, watch, pool, space);
        port.device.set_link(false);
        let reason = port.control.link().unwrap().to_string();
        assert!(reason.contains("doesn't answer"), "{reason}");
        port.close();
    }
}

#[test]
fn the_modules_own_sequence_goes_to_the_analogue_core() {
    // The model's EEPROM has a sequence for optical modules, an empty one: nothing may be written for it.
    let port = open(Setup::default());
    assert!(port.watch.written(0x14f00).is_empty());
    port.close();
    // An EEPROM that answers each word with the same: a list at 0x0505, whose first entry is for optical modules of
    // the first port (5), with its sequence at 0x0505 as well: 5, 5, 5 … for ever. It has to end.
    let setup = Setup::default();
    let (_space, pool, function, handle, watch) = device(&setup);
    watch.record().forced.insert(0x10014, 0x0005_0002);
    let opened = ringway_ixgbe::open(function, &pool, &setup.port).unwrap();
    let written = watch.written(0x14f00);
    assert!(!written.is_empty() && written.len() < 1000 && written.iter().all(|&value| value == 5));
    drop((opened, handle));
}

#[test]
fn a_semaphore_that_a_dead_program_left_is_taken_over() {
    for (register, value) in [(0x10140, 1u32), (0x10160, 1 << 1), (0x10160, 1 << 6)] {
        let setup = Setup::default();
        let (space, pool, function, handle, watch) = device(&setup);
        watch.record().survives_reset = vec![(register, value)];
        let opened = ringway_ixgbe::open(function, &pool, &setup.port).unwrap();
        let port = crate::support::Port::new(opened, handle, watch, pool, space);
        assert!(port.control.information().model.contains("EMULATED-SR"), "{register:#x}");
        assert_eq!(port.watch.read(0x10160), 0, "and given back");
        assert_eq!(port.watch.read(0x10140) & 1, 0);
        port.close();
    }
}

#[test]
fn the_lights_blink_until_told_otherwise_and_show_what_they_showed() {
    let mut port = open(Setup::default());
    port.watch.write(0x200, 0x0004_0300);
    port.control.set_identify(true).unwrap();
    port.control.set_identify(true).unwrap();
    let lights = port.watch.read(0x200).to_le_bytes();
    assert!(lights.iter().all(|light| light & 0x8f == 0x8e), "{lights:x?}");
    port.control.set_identify(false).unwrap();
    assert_eq!(port.watch.read(0x200), 0x0004_0300);
    port.control.set_identify(false).unwrap();
    port.close();
}

#[test]
fn the_eeprom_says_its_version() {
    let port = open(Setup::default());
    let firmware = port.control.information().firmware.clone().unwrap();
    assert!(firmware.starts_with("eTrack 0x"), "{firmware}");
    port.close();
}
