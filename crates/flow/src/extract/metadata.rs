//! The words that come before the packet's own: tunnel, priority, input, connection.

use super::store::Store;
use crate::bytes::{pair, quarters};
use crate::layout::{At, Layout, MAX_PACKET_WORDS};
use crate::metadata::{Metadata, PacketType};
use crate::tunnel::Tunnel;

/// Pushes the metadata's words. Gives the map, the number of words, and which word of them is to get the original
/// protocol of the tracked connection, if there is one.
#[inline(never)]
pub(super) fn push<L: Layout>(
    values: &mut [u64; MAX_PACKET_WORDS],
    metadata: &Metadata,
    packet_type: PacketType,
) -> ([u64; 2], usize, Option<usize>) {
    let mut store = Store { room: values, map: [0; 2] };
    if metadata.tunnel.destination_bits() != 0 {
        push_tunnel::<L>(&mut store, &metadata.tunnel);
    }
    if metadata.priority_and_mark != 0 {
        store.push(At::<L>::PRIORITY, [metadata.priority_and_mark]);
    }
    store.push(At::<L>::INPUT, [pair(metadata.datapath_hash, metadata.in_port)]);
    let packet_type = packet_type.to_network_order();
    let mut connection = None;
    if metadata.ct_state == 0 {
        if metadata.recirculation != 0 {
            store.push(At::<L>::RECIRCULATION, [pair(metadata.recirculation, 0)]);
        }
        store.push(At::<L>::PACKET_TYPE, [pair(0, packet_type)]);
    } else {
        connection = Some(MAX_PACKET_WORDS.wrapping_sub(store.room.len()));
        let state = quarters(u16::from_ne_bytes([metadata.ct_state, 0]), metadata.ct_zone);
        store.push(At::<L>::RECIRCULATION, [pair(metadata.recirculation, state)]);
        store.push(At::<L>::PACKET_TYPE, [pair(metadata.ct_mark, packet_type)]);
        if metadata.ct_label != [0; 2] {
            store.push(At::<L>::CT_LABEL, metadata.ct_label);
        }
    }
    (store.map, MAX_PACKET_WORDS.wrapping_sub(store.room.len()), connection)
}

/// Pushes a tunnel: its fixed part, then the options in the form they have.
fn push_tunnel<L: Layout>(store: &mut Store<'_>, tunnel: &Tunnel) {
    store.push(At::<L>::TUNNEL, tunnel.fixed_words());
    if tunnel.has_raw_options() {
        if tunnel.raw_length() != 0 {
            store.push(At::<L>::TUNNEL_OPTIONS, [tunnel.presence()]);
            push_run(store, At::<L>::TUNNEL_OPTIONS + 2, tunnel.raw_words());
        }
    } else if tunnel.presence() != 0 {
        push_run(store, At::<L>::TUNNEL_OPTIONS, tunnel.option_words());
    }
}

/// Pushes as many words as there are, present from index `first` on.
fn push_run(store: &mut Store<'_>, first: usize, words: impl Iterator<Item = u64>) {
    let mut index = first;
    for word in words {
        store.write([word]);
        store.mark_variable(index);
        index = index.wrapping_add(1);
    }
}
