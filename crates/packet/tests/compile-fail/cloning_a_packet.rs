//! A packet is owned once.

fn twice(packet: ringway_packet::Packet) -> (ringway_packet::Packet, ringway_packet::Packet) {
    (packet.clone(), packet)
}

fn main() {}
