//! Random metadata: mostly none, sometimes all of it.

use ringway_flow::{METADATA_OFFSETS, TUNNEL_OFFSETS};

use super::random::Random;

const RECIRCULATION: usize = METADATA_OFFSETS[0];
const DATAPATH_HASH: usize = METADATA_OFFSETS[1];
const PRIORITY: usize = METADATA_OFFSETS[2];
const MARK: usize = METADATA_OFFSETS[3];
const CT_STATE: usize = METADATA_OFFSETS[4];
const CT_TUPLE_IS_IPV6: usize = METADATA_OFFSETS[5];
const CT_ZONE: usize = METADATA_OFFSETS[6];
const CT_MARK: usize = METADATA_OFFSETS[7];
const CT_LABEL: usize = METADATA_OFFSETS[8];
const IN_PORT: usize = METADATA_OFFSETS[9];
const CT_TUPLE: usize = METADATA_OFFSETS[10];
const TUNNEL: usize = METADATA_OFFSETS[11];
/// Flags of the tunnel.
const TUNNEL_FLAGS: usize = TUNNEL + 48;
const TUNNEL_PRESENT: usize = TUNNEL + TUNNEL_OFFSETS[0];

/// Protocols that a connection's original direction can have, and some that it can't.
const PROTOCOLS: [u8; 9] = [0, 1, 2, 6, 17, 58, 58, 132, 200];

pub(super) fn set_in_port(metadata: &mut [u8; 512], port: u32) {
    metadata[IN_PORT..IN_PORT + 4].copy_from_slice(&port.to_ne_bytes());
}

/// Fills in some of the metadata.
pub(super) fn fill(random: &mut Random, metadata: &mut [u8; 512]) {
    if random.once_in(2) {
        return;
    }
    // What isn't there may hold anything: each part is looked at only if its condition says so.
    random.fill(&mut metadata[..]);
    let mut number = |at: usize, size: usize, keep: bool, random: &mut Random| {
        if keep {
            random.fill(&mut metadata[at..at + size]);
        } else {
            metadata[at..at + size].fill(0);
        }
    };
    for (at, size, times) in [
        (RECIRCULATION, 4, 2),
        (DATAPATH_HASH, 4, 2),
        (PRIORITY, 4, 4),
        (MARK, 4, 4),
        (CT_ZONE, 2, 2),
        (CT_MARK, 4, 2),
        (CT_LABEL, 8, 2),
        (CT_LABEL + 8, 8, 2),
        (CT_STATE, 1, 2),
    ] {
        let keep = random.once_in(times);
        number(at, size, keep, random);
    }
    // A C bool: 0 or 1.
    metadata[CT_TUPLE_IS_IPV6] = random.byte() & 1;
    let protocol = random.pick(&PROTOCOLS, 0);
    let at = if metadata[CT_TUPLE_IS_IPV6] == 1 { CT_TUPLE + 36 } else { CT_TUPLE + 12 };
    metadata[at] = protocol;
    set_in_port(metadata, random.word() as u32 & 0xff);
    tunnel(random, metadata);
}

fn tunnel(random: &mut Random, metadata: &mut [u8; 512]) {
    // IPv4, IPv6, both or no destination.
    match random.below(6) {
        0 => metadata[TUNNEL..TUNNEL + 4].fill(0),
        1 => metadata[TUNNEL + 4..TUNNEL + 20].fill(0),
        2 => {}
        _ => metadata[TUNNEL..TUNNEL + 20].fill(0),
    }
    let flags = random.word() as u16 & 0x1f;
    metadata[TUNNEL_FLAGS..TUNNEL_FLAGS + 2].copy_from_slice(&flags.to_ne_bytes());
    if random.once_in(2) {
        metadata[TUNNEL_PRESENT..TUNNEL_PRESENT + 8].fill(0);
        if random.once_in(2) {
            metadata[TUNNEL_PRESENT] = random.byte();
        }
    }
}
