//! A hostile virtio-net against its driver; `ringway-hostile` says what a script may do and what must hold.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ringway_hostile::hostile_virtio;

fuzz_target!(|script: &[u8]| {
    if let Err(violation) = hostile_virtio(script) {
        panic!("{violation}");
    }
});
