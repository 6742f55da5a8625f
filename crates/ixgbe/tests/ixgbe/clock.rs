//! The device's clock.

use crate::support::{Port, Setup, open};
use ringway_model::ixgbe::{LinkSpeed, Options, Personality};
use std::time::{Duration, Instant};

fn with(personality: Personality, speed: LinkSpeed) -> Port {
    open(Setup { model: Options { personality, speed, ..Options::default() }, ..Setup::default() })
}

/// Looks at the clock until so much time has passed by it, and holds that against the time outside.
fn passes(port: &mut Port, time: Duration) {
    let outside = Instant::now();
    let first = port.control.clock().unwrap();
    let inside = Instant::now();
    let mut last = first;
    while last - first < time.as_nanos() as u64 {
        std::thread::yield_now();
        let now = port.control.clock().unwrap();
        assert!(now >= last, "it never goes back");
        last = now;
    }
    // The reading lies between two moments outside, however long the test was held up.
    let shown = Duration::from_nanos(last - first);
    let slack = Duration::from_micros(50);
    assert!(shown <= outside.elapsed() + slack && inside.elapsed() + slack >= time, "{shown:?}");
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
