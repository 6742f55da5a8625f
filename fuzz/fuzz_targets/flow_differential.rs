//! Our extraction against Open vSwitch's C, bit for bit, with metadata taken from the input.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ringway_flow_ovs::differential::{Case, compare};

fuzz_target!(|input: &[u8]| {
    let Some((&[control, extra], rest)) = input.split_first_chunk::<2>() else { return };
    // The packet follows as much metadata as the second byte says, at an offset that it says too.
    let (metadata, packet) = rest.split_at(usize::from(extra & 0x1f).min(rest.len()));
    let mut case = Case::of_bytes(packet.to_vec());
    let at = usize::from(extra >> 5) * 64;
    for (place, &byte) in case.metadata.iter_mut().skip(at).zip(metadata) {
        *place = byte;
    }
    // A C bool: 0 or 1.
    case.metadata[17] &= 1;
    case.vlan_limit = u32::from(control & 3).min(2);
    case.nic_hash = (control & 4 != 0).then_some(7);
    case.offloads = u32::from(control) << 8;
    if let Err(difference) = compare(&case) {
        panic!("{difference}");
    }
});
