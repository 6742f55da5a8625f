//! What a device wrote before a packet is read before the packet is dropped.

fn prefix<'a>(round: &'a mut ringway_packet::Receiving<'_>) -> &'a [u8] {
    let bytes = round.last_prefix();
    round.drop_last();
    bytes
}

fn main() {}
