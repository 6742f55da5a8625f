//! How many packet buffers a run needs, and how much memory that is.

use crate::Error;
use crate::cli::{BATCH, RING_SIZE, RingOptions};
use ringway_dma::BufferSize;
use ringway_packet::MAGAZINE;

/// Buffers that a queue's own cache may hold beyond a batch: two magazines that it keeps, and one in use
/// (crate `ringway-packet`).
const CACHED: u32 = 3 * MAGAZINE as u32;

/// The size of the pool for so many ports, each of which receives and sends: what was asked for, or what rings, batches
/// and caches can hold at once, so that no queue ever waits for another's buffers.
pub(super) fn buffers(ports: usize, rings: &RingOptions, batch: u16) -> Result<u32, Error> {
    buffers_of_queues(ports, 1, rings, batch)
}

/// The same for ports with several queues.
pub(super) fn buffers_of_queues(
    ports: usize,
    queues: u16,
    rings: &RingOptions,
    batch: u16,
) -> Result<u32, Error> {
    // A program doesn't have 2^32 ports: a pool that large is refused when it is made.
    let ports = u32::try_from(ports).unwrap_or(u32::MAX).saturating_mul(queues.into());
    let (receive, transmit) = (rings.receive(), rings.transmit());
    let batch = u32::from(batch);
    // A batch is in the program's hands, another may wait in each cache.
    let least = ports.saturating_mul(receive + batch);
    match rings.pool {
        Some(given) if given < least => {
            Err(Error::PoolTooSmall { given, rings: ports.saturating_mul(receive), least })
        }
        Some(given) => Ok(given),
        None => Ok(enough(ports, receive, transmit, batch)),
    }
}

/// Buffers that never run out: all that rings, batches and caches can hold at once.
fn enough(ports: u32, receive: u32, transmit: u32, batch: u32) -> u32 {
    let held = ports.saturating_mul(receive + transmit + batch + 2 * (batch + CACHED));
    held.checked_next_multiple_of(MAGAZINE as u32).unwrap_or(held)
}

/// How much memory a run between two ports with the default options maps for its devices, in bytes: the pool and the
/// rings, in whole huge pages. It is what has to be allowed to be locked.
pub fn default_memory() -> u64 {
    const PORTS: u32 = 2;
    const HUGE_PAGE: u64 = 2 << 20;
    /// The most that a descriptor takes, with its share of what else a ring has: virtio's split ring has 26 bytes.
    const DESCRIPTOR: u64 = 32;
    let buffers = u64::from(enough(PORTS, RING_SIZE, RING_SIZE, u32::from(BATCH)));
    let pool = buffers * u64::from(BufferSize::default().bytes());
    let rings = u64::from(2 * PORTS * RING_SIZE) * DESCRIPTOR;
    // A pool that fills most of its last huge page takes it whole; rings are too small for one.
    pool.next_multiple_of(HUGE_PAGE) + rings.next_multiple_of(HUGE_PAGE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Command, CommandLine};
    use clap::Parser;

    fn buffers_for(arguments: &[&str]) -> Result<u32, Error> {
        let all = ["ringway", "forward", "emulated:0", "emulated:1"].iter().chain(arguments);
        match CommandLine::try_parse_from(all).unwrap().command {
            Some(Command::Forward(options)) => buffers(2, &options.rings, options.batch),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn memory_is_what_rings_and_batches_need_and_not_much_more() {
        let default = buffers_for(&[]).unwrap();
        assert!((2048..=3072).contains(&default), "{default}");
        assert!(buffers_for(&["--ring-size", "64", "--batch", "8"]).unwrap() < 1024);
        assert!(buffers_for(&["--ring-size", "32768", "--batch", "256"]).unwrap() > 4 * 32768);
    }

    #[test]
    fn a_pool_that_rings_would_empty_is_refused_with_what_would_do() {
        assert_eq!(buffers_for(&["--pool", "2000"]).unwrap(), 2000);
        let error = buffers_for(&["--pool", "1000"]).unwrap_err().to_string();
        for part in ["--pool 1000", "1024", "at least 1088", "--ring-size"] {
            assert!(error.contains(part), "{error}");
        }
    }
}
