//! Frames of all kinds, spoilt, through forwarder, capture and flows: the counts add up.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ringway_hostile::packets;

fuzz_target!(|script: &[u8]| {
    if let Err(violation) = packets::play(script) {
        panic!("{violation}");
    }
});
