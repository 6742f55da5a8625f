//! The parser alone: no panic on any bytes, packet type, VLAN limit; on both layouts; fast and general path agree.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ringway_hostile::flow;

fuzz_target!(|input: &[u8]| {
    if let Err(violation) = flow::parse(input) {
        panic!("{violation}");
    }
});
