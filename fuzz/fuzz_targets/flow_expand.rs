//! The parser against expansion: the miniflow and the whole flow agree on every word and hash, and both print.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ringway_hostile::flow;

fuzz_target!(|input: &[u8]| {
    if let Err(violation) = flow::expand(input) {
        panic!("{violation}");
    }
});
