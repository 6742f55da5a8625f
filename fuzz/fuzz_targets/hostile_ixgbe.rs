//! A hostile 82599 against its driver; `ringway-hostile` says what a script may do and what must hold.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ringway_hostile::hostile_ixgbe;

fuzz_target!(|script: &[u8]| {
    if let Err(violation) = hostile_ixgbe(script) {
        panic!("{violation}");
    }
});
