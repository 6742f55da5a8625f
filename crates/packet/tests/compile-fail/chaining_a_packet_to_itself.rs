//! A chain has an end.

fn ring(mut packet: ringway_packet::Packet) {
    let mut frame = packet.frame_mut();
    let _ = frame.chain(packet);
    frame.len();
}

fn main() {}
