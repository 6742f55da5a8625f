//! The C side, and ours through the same door.

use core::ffi::{c_char, c_int};

use ringway_flow::{Layout, Metadata};

use super::case::Case;
use crate::Target;

const WORDS: usize = Target::WORDS;
/// `sizeof(struct dp_packet)` of the target, checked at the first call.
const PACKET: usize = if cfg!(ringway_layout = "V3_1") { 560 } else { 568 };

/// `struct ringway_case` of `c/oracle.c`.
#[repr(C)]
pub(super) struct RawCase {
    bytes: *const u8,
    metadata: *const u8,
    junk: u64,
    size: u32,
    slack: u32,
    packet_type: u32,
    vlan_limit: u32,
    has_hash: u32,
    rss_hash: u32,
    offloads: u32,
    basis: u32,
    checksum_start: u16,
    checksum_offset: u16,
}

impl RawCase {
    /// A view of a case, which must outlive it; `slack` bytes of 0xff lie between the packet and the guard page.
    pub(super) fn new(case: &Case, slack: u32) -> Self {
        RawCase {
            bytes: case.bytes.as_ptr(),
            metadata: case.metadata.as_ptr(),
            junk: case.junk,
            size: case.bytes.len() as u32,
            slack,
            packet_type: case.packet_type,
            vlan_limit: case.vlan_limit,
            has_hash: u32::from(case.nic_hash.is_some()),
            rss_hash: case.nic_hash.unwrap_or(0),
            offloads: case.offloads,
            basis: case.basis,
            checksum_start: case.checksum.0,
            checksum_offset: case.checksum.1,
        }
    }
}

/// `struct ringway_side` of `c/oracle.c`: all that either side may write.
#[derive(Clone, PartialEq, Eq)]
#[repr(C)]
pub(super) struct Side {
    pub(super) map: [u64; 2],
    pub(super) values: [u64; WORDS],
    pub(super) packet: [u8; PACKET],
    pub(super) miniflow_hash: u32,
    pub(super) flow_hash: u32,
    pub(super) rss_hash: u32,
    padding: u32,
}

impl Side {
    pub(super) const EMPTY: Side = Side {
        map: [0; 2],
        values: [0; WORDS],
        packet: [0; PACKET],
        miniflow_hash: 0,
        flow_hash: 0,
        rss_hash: 0,
        padding: 0,
    };
}

/// Which implementation runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub(super) enum Which {
    /// Open vSwitch's C with its general hash.
    C = 0,
    /// Ours.
    Ours = 1,
    /// Open vSwitch's C with CRC32C.
    Crc = 2,
    /// Neither: what the measuring loop itself costs.
    Nothing = 3,
}

unsafe extern "C" {
    fn ringway_oracle_side_size() -> usize;
    fn ringway_oracle_flow_words() -> usize;
    fn ringway_oracle_version() -> c_int;
    fn ringway_oracle_run(case: *const RawCase, which: c_int, side: *mut Side);
    fn ringway_oracle_hashes(words: *const u64, basis: u32, out: *mut [u32; 8]);
    fn ringway_oracle_text(words: *const u64, ofctl: *mut c_char, dpctl: *mut c_char, room: usize);
    fn ringway_oracle_repeat(
        cases: *const RawCase,
        n_cases: usize,
        order: *const u32,
        n_order: usize,
        times: usize,
        which: c_int,
    );
}

/// Version of the Open vSwitch that this was built against: 400 for 4.0, 305 for 3.5.
#[must_use]
pub fn target_version() -> u32 {
    // SAFETY: takes nothing and returns a constant.
    let version = unsafe { ringway_oracle_version() };
    u32::try_from(version).unwrap_or(0)
}

/// Whether the two halves mean the same by their structures; ask before comparing.
#[must_use]
pub fn sizes_agree() -> bool {
    // SAFETY: both take nothing and return a constant.
    let (side, words) = unsafe { (ringway_oracle_side_size(), ringway_oracle_flow_words()) };
    side == size_of::<Side>() && words == WORDS
}

/// The metadata as the crate's own type.
pub(super) fn metadata(bytes: &[u8; 512]) -> Metadata {
    const { assert!(size_of::<Metadata>() == 512) };
    // SAFETY: 512 bytes are readable, and Metadata is made of integers, for which any bits will do.
    unsafe { bytes.as_ptr().cast::<Metadata>().read_unaligned() }
}

/// Runs one side. The caller has seen `sizes_agree()`.
pub(super) fn run(case: &Case, slack: u32, which: Which, side: &mut Side) {
    let raw = RawCase::new(case, slack);
    // SAFETY: `raw` points into `case`, which outlives the call; its metadata is 512 bytes, as struct
    // pkt_metadata is; `side` has the size that C writes (sizes_agree).
    unsafe { ringway_oracle_run(&raw, which as c_int, side) }
}

/// The C's further hashes of a flow.
pub(super) fn hashes(words: &[u64; WORDS], basis: u32) -> [u32; 8] {
    let mut out = [0; 8];
    // SAFETY: `words` is a whole struct flow, `out` has eight places.
    unsafe { ringway_oracle_hashes(words.as_ptr(), basis, &mut out) };
    out
}

/// The flow as the C prints it, for ovs-ofctl and for ovs-dpctl.
pub(super) fn texts(words: &[u64; WORDS]) -> [String; 2] {
    let mut ofctl = vec![0u8; 8192];
    let mut dpctl = vec![0u8; 8192];
    // SAFETY: `words` is a whole struct flow; both buffers have the room that is passed.
    unsafe {
        ringway_oracle_text(words.as_ptr(), ofctl.as_mut_ptr().cast(), dpctl.as_mut_ptr().cast(), 8192);
    }
    [ofctl, dpctl].map(|text| {
        let end = text.iter().position(|&byte| byte == 0).unwrap_or(text.len());
        String::from_utf8_lossy(&text[..end]).into_owned()
    })
}

/// Extracts `cases` in `order`, `times` over.
pub(super) fn repeat(cases: &[Case], order: &[u32], times: usize, which: Which) {
    let raw: Vec<RawCase> = cases.iter().map(|case| RawCase::new(case, 0)).collect();
    if order.iter().any(|&index| index as usize >= raw.len())
        || cases.iter().any(|case| case.bytes.len() > 2048)
    {
        return;
    }
    // SAFETY: the raw cases point into `cases`, which outlive the call; each packet fits in the 2048 bytes that C
    // copies it to and each index is in range, as just checked.
    unsafe {
        ringway_oracle_repeat(raw.as_ptr(), raw.len(), order.as_ptr(), order.len(), times, which as c_int);
    }
}
