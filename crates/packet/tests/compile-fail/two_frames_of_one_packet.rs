//! A frame has its packet to itself.

fn two(packet: &mut ringway_packet::Packet) -> usize {
    let first = packet.frame_mut();
    let second = packet.frame_mut();
    first.len() + second.len()
}

fn main() {}
