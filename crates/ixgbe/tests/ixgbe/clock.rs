//! The device's clock.

use crate::support::{Port, Setup, open};
use ringway_model::ixgbe::{LinkSpeed, Options, Personality};
use std::time::{Duration, Instant};

fn with(personality: Personality, speed: LinkSpeed) -> Port {
    open(Setup { model: Options { personality, speed, ..Options::default() }, ..Setup::default() })
}

/// Looks at the clock until so much time has passed outside, and holds that against what the clock shows.
fn passes(port: &mut Port, time: Duration) {
    let outside = Instant::now();
    let first = port.control.clock().unwrap();
    let inside = Instant::now();
    let mut last = first;
    // Between the first reading's end and the last one's begin.
    let mut least = Duration::ZERO;
    while least < time {
        std::thread::yield_now();
        least = inside.elapsed();
        let now = port.control.clock().unwrap();
        assert!(now >= last, "it never goes back");
        last = now;
    }
    // Both bounds hold however long the test is held up anywhere.
    let most = outside.elapsed();
    let shown = Duration::from_nanos(last - first);
    let slack = Duration::from_micros(50);
    assert!(least <= shown + slack && shown <= most + slack, "{least:?} to {most:?} passed, {shown:?} shown");
}

#[test]
fn time_passes_as_it_does_outside_at_every_speed() {
    for personality in [Personality::Fibre82599, Personality::X540, Personality::X550] {
        for speed in [LinkSpeed::TenGigabit, LinkSpeed::Gigabit] {
            let mut port = with(personality, speed);
            assert!(port.control.capabilities().clock);
            port.control.link().unwrap(); // which says how fast it ticks
            passes(&mut port, Duration::from_millis(20));
            port.close();
        }
    }
}

#[test]
fn a_clock_that_is_set_goes_on_from_there() {
    for personality in [Personality::Fibre82599, Personality::X540, Personality::X550] {
        let mut port = with(personality, LinkSpeed::TenGigabit);
        for set in [1_700_000_000_000_000_000, 5, u64::MAX / 2] {
            port.control.set_clock(set).unwrap();
            let now = port.control.clock().unwrap();
            assert!(now >= set && now - set < 60_000_000_000, "{personality:?} {set} {now}");
            passes(&mut port, Duration::from_millis(2));
        }
        port.close();
    }
}

#[test]
fn a_counter_that_wraps_makes_no_jump() {
    // SYSTIML and SYSTIMH (section 8.2.3.26.11): close to the end, then behind it.
    for (personality, shift) in [(Personality::Fibre82599, 21), (Personality::X540, 28)] {
        let mut port = with(personality, LinkSpeed::TenGigabit);
        let mut say = |count: u64| {
            port.watch.record().forced = [(0x8c0c, count as u32), (0x8c10, (count >> 32) as u32)].into();
            port.control.clock().unwrap()
        };
        let before = say(u64::MAX - (999 << shift));
        assert_eq!(say(1 << shift) - before, 1000);
        assert_eq!(say(3 << shift) - before, 1002);
        port.watch.record().forced.clear();
        port.close();
    }
}

/// A message of the time protocol, over Ethernet or UDP: kind 0 is Sync, an event; 11 is Announce, none.
fn message(over_udp: bool, kind: u8) -> Vec<u8> {
    let mut message = vec![kind, 2, 0, 44];
    message.resize(44, 0);
    if over_udp {
        let flow = crate::packets::flow(false, 17, 1);
        return crate::packets::Flow { ports: (319, 319), ..flow }.frame(&message);
    }
    let mut frame = crate::support::OWN.to_vec();
    frame.extend([2, 0, 0, 0, 0, 1, 0x88, 0xf7]);
    frame.extend(message);
    frame.resize(60, 0);
    frame
}

#[test]
fn events_of_the_time_protocol_come_with_their_time_and_nothing_else_does() {
    use ringway_port::{Offloads, PortOptions};
    for personality in [Personality::Fibre82599, Personality::X540, Personality::X550] {
        let mut port = open(Setup {
            model: Options { personality, ..Options::default() },
            port: PortOptions {
                offloads: Offloads::TIMESTAMP | Offloads::HASH,
                receive_queues: 2,
                ..PortOptions::default()
            },
            ..Setup::default()
        });
        port.control.set_clock(1_700_000_000_000_000_000).unwrap();
        let mut batch = port.batch(8);
        for (frame, stamped) in [
            (message(false, 0), true),
            (message(false, 11), false),
            (crate::support::frame(1, 60), false),
            (message(true, 1), true),
            (message(true, 11), false),
            (message(false, 3), true),
        ] {
            let before = port.control.clock().unwrap();
            assert!(port.device.inject(&frame));
            let after = port.control.clock().unwrap();
            let received: usize =
                port.receive.iter_mut().map(|queue| queue.receive(&mut batch).unwrap()).sum();
            assert_eq!(received, 1);
            let time = batch.frame(0).unwrap().timestamp();
            assert_eq!(time.is_some(), stamped, "{personality:?}");
            assert!(time.is_none_or(|time| (before..=after).contains(&time)), "{before} {time:?} {after}");
            batch.clear();
        }
        // One stamp waits at a time: the second packet has none, the third has again.
        for _ in 0..2 {
            assert!(port.device.inject(&message(false, 0)));
        }
        assert_eq!(port.receive[0].receive(&mut batch).unwrap(), 2);
        let stamped: Vec<bool> = batch.frames().map(|frame| frame.timestamp().is_some()).collect();
        assert_eq!(stamped, [true, false]);
        batch.clear();
        assert!(port.device.inject(&message(false, 0)));
        assert_eq!(port.receive[0].receive(&mut batch).unwrap(), 1);
        assert!(batch.frame(0).unwrap().timestamp().is_some());
        drop(batch);
        port.close();
    }
}

/// A wire that doesn't wait: as many plain frames as the ring holds, and a message that finds no room.
#[derive(Debug)]
struct Overflowing(u32);

impl ringway_model::wire::Wire for Overflowing {
    fn receive(&mut self, place: &mut [u8]) -> Option<usize> {
        let frame = match self.0 {
            0..63 => crate::support::frame(1, 60),
            63 => message(false, 0),
            _ => return None,
        };
        self.0 += 1;
        place[..60].copy_from_slice(&frame);
        Some(60)
    }
    fn send(&mut self, _frame: &[u8]) {}
    fn waits(&self) -> bool {
        false
    }
}

#[test]
fn the_stamp_of_a_lost_packet_does_not_keep_the_place_for_ever() {
    use ringway_port::{Offloads, PortOptions};
    for personality in [Personality::Fibre82599, Personality::X540, Personality::X550] {
        let mut port = open(Setup {
            model: Options { personality, ..Options::default() },
            port: PortOptions { offloads: Offloads::TIMESTAMP, receive_ring: 64, ..PortOptions::default() },
            ..Setup::default()
        });
        let mut batch = port.batch(64);
        let mut stamped = |port: &mut Port| {
            assert!(port.device.inject(&message(false, 0)));
            assert_eq!(port.receive[0].receive(&mut batch).unwrap(), 1);
            let stamped = batch.frame(0).unwrap().timestamp().is_some();
            batch.clear();
            stamped
        };
        assert!(stamped(&mut port));
        // A stamp that is collected between two looks stays, however many there are.
        for _ in 0..4 {
            port.control.check().unwrap();
            assert!(stamped(&mut port), "{personality:?}");
        }
        port.device.attach(Box::new(Overflowing(0)));
        while port.device.step() > 0 {}
        let mut rest = port.batch(64);
        assert_eq!(port.receive[0].receive(&mut rest).unwrap(), 63);
        assert!(rest.frames().all(|frame| frame.timestamp().is_none()));
        drop(rest);
        assert!(!stamped(&mut port), "the lost packet's stamp is in the way");
        port.control.check().unwrap();
        assert!(!stamped(&mut port), "one look can't tell a lost packet from one that is under way");
        port.control.check().unwrap();
        assert!(stamped(&mut port), "{personality:?}");
        drop(batch);
        port.close();
    }
}

#[test]
fn a_descriptor_that_speaks_of_a_stamp_which_is_not_there_gives_none() {
    use ringway_port::{Offloads, PortOptions};
    let port = PortOptions { offloads: Offloads::TIMESTAMP, ..PortOptions::default() };
    let mut port = open(Setup { port, ..Setup::default() });
    let mut batch = port.batch(1);
    assert!(port.device.inject(&message(false, 0)));
    // TSYNCRXCTL (section 8.2.3.26.1) without its valid bit.
    port.watch.record().forced.insert(0x5188, 5 << 1 | 1 << 4);
    assert_eq!(port.receive[0].receive(&mut batch).unwrap(), 1);
    assert_eq!(batch.frame(0).unwrap().timestamp(), None);
    drop(batch);
    port.close();
}

/// SYSTIMR (X550 datasheet, 8.2.4.27): where the others have no register.
#[test]
fn the_clocks_remainder_is_read_where_there_is_one() {
    for (personality, has) in
        [(Personality::Fibre82599, false), (Personality::X540, false), (Personality::X550, true)]
    {
        let mut port = with(personality, LinkSpeed::TenGigabit);
        port.control.set_clock(7).unwrap();
        port.control.clock().unwrap();
        assert_eq!(port.watch.record().read.contains(&0x8c58), has, "{personality:?}");
        port.close();
    }
}
