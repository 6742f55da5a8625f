//! The parser against expansion: the miniflow and the whole flow agree on every word and hash, and both print.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ringway_flow::{Crc32c, Layout, Metadata, Miniflow, Murmur, PacketType, V3_7, VlanLimit, extract};

fuzz_target!(|packet: &[u8]| {
    let mut flow = Miniflow::<V3_7>::new();
    let found = extract(packet, PacketType::ETHERNET, &Metadata::new(1), VlanLimit::TWO, &mut flow);
    let key = flow.expand();
    for index in 0..V3_7::WORDS {
        assert_eq!(flow.word(index), key.word(index));
    }
    assert_eq!(flow.words().count(), flow.values().len());
    assert_eq!(flow.hash_five_tuple::<Murmur>(7), key.hash_five_tuple::<Murmur>(7));
    assert_eq!(flow.hash_five_tuple::<Crc32c>(7), key.hash_five_tuple::<Crc32c>(7));
    let _ = (found.rss_hash::<Murmur>(packet), key.ofctl().to_string(), key.dpctl().to_string());
    let _ = (key.five_tuple(), key.hash_symmetric_l4(1), key.hash_symmetric_l3(1));
});
