//! What others take for the same: published, or measured by their authors' own programs.
//!
//! "papers" are the counters in "User Space Network Drivers" (Emmerich and others, 2019) and "The Case for Writing Network
//! Drivers in High-Level Programming Languages" (Emmerich, Ellmann and others, 2019), on an Intel Xeon. "rerun" is unmodified
//! ixy, ixy.rs and DPDK 22.11's ixgbe driver against a software 82599 in the same process, two ports, both directions,
//! 64-byte frames, rings of 512, on two cores of a Zen 4 virtual machine, instructions by callgrind.

/// One driver's figures; those that are not known are missing.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer {
    pub(super) name: &'static str,
    /// Instructions per forwarded packet at batch sizes.
    pub(super) instructions: &'static [(usize, f64)],
    /// Mpps at batch sizes, both ports together.
    pub(super) mpps: &'static [(usize, f64)],
}

/// The rerun.
pub(super) const PEERS: [Peer; 4] = [
    Peer {
        name: "DPDK vector (touches no byte)",
        instructions: &[(32, 116.0)],
        mpps: &[(8, 62.0), (32, 72.0), (128, 88.0), (256, 75.0)],
    },
    Peer {
        name: "ixy (C)",
        instructions: &[(8, 149.0), (32, 133.0), (128, 131.0), (256, 130.0)],
        mpps: &[(8, 36.0), (32, 42.0), (128, 41.0), (256, 42.0)],
    },
    Peer { name: "DPDK scalar", instructions: &[(32, 182.0)], mpps: &[(32, 46.0), (128, 54.0)] },
    Peer {
        name: "ixy.rs",
        instructions: &[(8, 235.0), (32, 208.0), (128, 209.0), (256, 207.0)],
        mpps: &[(8, 26.0), (32, 30.0), (128, 29.0), (256, 38.0)],
    },
];

/// The papers' counters: driver, batch, instructions, cycles.
pub(super) const PAPERS: [(&str, usize, f64, f64); 4] = [
    ("ixy (C)", 8, 139.0, 108.0),
    ("ixy (C)", 32, 127.0, 94.0),
    ("ixy.rs", 8, 232.0, 120.0),
    ("ixy.rs", 32, 209.0, 100.0),
];
