//! What was handed on is not there any more.

fn chain(mut first: ringway_packet::Packet, second: ringway_packet::Packet) -> usize {
    let _ = first.frame_mut().chain(second);
    second.data().len()
}

fn main() {}
