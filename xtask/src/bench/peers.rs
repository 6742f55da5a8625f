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

/// The papers' counters, a packet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Counted {
    pub(super) name: &'static str,
    pub(super) batch: usize,
    pub(super) cycles: f64,
    pub(super) instructions: f64,
    pub(super) loads: f64,
    pub(super) stores: f64,
    pub(super) branches: f64,
    pub(super) wrong: f64,
}

/// From ixy-languages' "Why is Rust slightly slower than C?": an Intel Xeon E3-1230 v3, loads and stores in micro-operations.
pub(super) const PAPERS: [Counted; 4] = [
    Counted {
        name: "ixy (C)",
        batch: 8,
        cycles: 108.0,
        instructions: 139.0,
        loads: 34.4,
        stores: 24.4,
        branches: 19.0,
        wrong: 0.02,
    },
    Counted {
        name: "ixy (C)",
        batch: 32,
        cycles: 94.0,
        instructions: 127.0,
        loads: 30.1,
        stores: 21.8,
        branches: 18.0,
        wrong: 0.05,
    },
    Counted {
        name: "ixy.rs",
        batch: 8,
        cycles: 120.0,
        instructions: 232.0,
        loads: 84.2,
        stores: 43.0,
        branches: 27.0,
        wrong: 0.06,
    },
    Counted {
        name: "ixy.rs",
        batch: 32,
        cycles: 100.0,
        instructions: 209.0,
        loads: 77.0,
        stores: 37.4,
        branches: 24.0,
        wrong: 0.08,
    },
];
