//! Bytes don't outlive their packet.

fn bytes(packet: ringway_packet::Packet) -> &'static [u8] {
    packet.data()
}

fn main() {}
