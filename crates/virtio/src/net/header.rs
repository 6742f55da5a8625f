//! The header before every packet (virtio 1.2, section 5.1.6).
//!
//! ```text
//!   0      1         2        4         6           8            10           12
//!  ┌──────┬─────────┬────────┬─────────┬───────────┬────────────┬────────────┐
//!  │flags │gso_type │hdr_len │gso_size │csum_start │csum_offset │num_buffers │
//!  └──────┴─────────┴────────┴─────────┴───────────┴────────────┴────────────┘
//! ```
//!
//! With virtio 1.x it always has 12 bytes. As long as no offload is agreed on, all of it is zero on the way out, and
//! `num_buffers` is all that counts on the way in.

/// Its length in bytes.
pub(crate) const LENGTH: u32 = 12;

/// In how many buffers a received packet is.
#[inline(always)]
pub(crate) fn num_buffers(header: &[u8]) -> u16 {
    match header {
        [.., low, high] => u16::from_le_bytes([*low, *high]),
        _ => 0,
    }
}
