//! Which frames are received.

use crate::support::{OWN, Setup, open};
use ringway_port::MacAddress;

fn to(destination: [u8; 6]) -> Vec<u8> {
    let mut frame = vec![0; 60];
    frame[..6].copy_from_slice(&destination);
    frame
}

const OTHER: [u8; 6] = [2, 0, 0, 0, 0, 9];
const GROUP: [u8; 6] = [0x01, 0, 0x5e, 1, 2, 3];
const BROADCAST: [u8; 6] = [0xff; 6];

/// Which of own, other, group and broadcast arrive.
fn arrive(port: &mut crate::support::Port) -> [bool; 4] {
    [OWN, OTHER, GROUP, BROADCAST].map(|destination| {
        assert!(port.device.inject(&to(destination)));
        port.take().is_some()
    })
}

#[test]
fn a_port_receives_its_own_frames_and_broadcasts_until_told_otherwise() {
    let mut port = open(Setup::default());
    assert_eq!(port.control.information().mac, MacAddress(OWN));
    assert!(!port.control.is_promiscuous());
    assert_eq!(arrive(&mut port), [true, false, false, true]);
    port.control.set_promiscuous(true).unwrap();
    assert!(port.control.is_promiscuous());
    assert_eq!(arrive(&mut port), [true; 4]);
    port.control.set_promiscuous(false).unwrap();
    assert_eq!(arrive(&mut port), [true, false, false, true]);
    port.control.set_all_multicast(true).unwrap();
    assert_eq!(arrive(&mut port), [true, false, true, true]);
    // Each switch keeps to itself.
    port.control.set_promiscuous(true).unwrap();
    port.control.set_promiscuous(false).unwrap();
    assert_eq!(arrive(&mut port), [true, false, true, true]);
    port.control.set_all_multicast(false).unwrap();
    assert_eq!(arrive(&mut port), [true, false, false, true]);
    port.close();
}

#[test]
fn further_addresses_are_received_until_they_are_removed() {
    let mut port = open(Setup::default());
    port.control.add_address(MacAddress(OTHER)).unwrap();
    port.control.add_address(MacAddress(OTHER)).unwrap(); // once is enough
    assert_eq!(arrive(&mut port), [true, true, false, true]);
    port.control.remove_address(MacAddress(OTHER)).unwrap();
    assert_eq!(arrive(&mut port), [true, false, false, true]);
    let error = port.control.remove_address(MacAddress(OTHER)).unwrap_err().to_string();
    assert!(error.contains("emulated:0") && error.contains("02:00:00:00:00:09"), "{error}");
    port.close();
}

#[test]
fn the_table_of_addresses_holds_127_more_and_says_when_it_is_full() {
    let mut port = open(Setup::default());
    let address = |number: u8| [2, 1, 0, 0, 0, number];
    for number in 0..127 {
        port.control.add_address(MacAddress(address(number))).unwrap();
    }
    let error = port.control.add_address(MacAddress(address(127))).unwrap_err().to_string();
    assert!(error.contains("emulated:0") && error.contains("127"), "{error}");
    for number in [0, 13, 14, 15, 16, 63, 126] {
        assert!(port.device.inject(&to(address(number))));
        assert!(port.take().is_some(), "{number}");
    }
    assert!(port.device.inject(&to(address(127))));
    assert_eq!(port.take(), None);
    // A place that is free again is used again.
    port.control.remove_address(MacAddress(address(20))).unwrap();
    port.control.add_address(MacAddress(address(127))).unwrap();
    assert!(port.device.inject(&to(address(127))));
    assert!(port.take().is_some());
    port.close();
}

#[test]
fn an_address_that_is_no_stations_is_refused() {
    let mut port = open(Setup::default());
    for wrong in [GROUP, BROADCAST, [0; 6]] {
        let error = port.control.add_address(MacAddress(wrong)).unwrap_err().to_string();
        assert!(
            error.contains(&MacAddress(wrong).to_string()) && error.contains("single stations"),
            "{error}"
        );
    }
    port.close();
}

#[test]
fn a_port_takes_another_address_and_leaves_its_own() {
    let mut port = open(Setup::default());
    port.control.set_address(MacAddress(OTHER)).unwrap();
    assert_eq!(port.control.information().mac, MacAddress(OTHER));
    assert_eq!(arrive(&mut port), [false, true, false, true]);
    for wrong in [GROUP, BROADCAST, [0; 6]] {
        assert!(port.control.set_address(MacAddress(wrong)).is_err());
    }
    assert_eq!(arrive(&mut port), [false, true, false, true]);
    port.close();
}
