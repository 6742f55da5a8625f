//! Processors: which may be used, and pinning a thread to one.

use rustix::io::Errno;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Why a thread can't be pinned.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The processor is not there, or this process may not use it.
    #[error("can't run on processor {core}: this process may use {allowed}; choose from these with --cores")]
    NotAllowed {
        /// The processor.
        core: usize,
        /// Those that may be used.
        allowed: String,
    },
    /// The kernel refused.
    #[error("can't run on processor {core}: {source}")]
    Refused {
        /// The processor.
        core: usize,
        /// What the kernel said.
        source: Errno,
    },
}

/// The processors that this thread may use.
pub fn allowed() -> Vec<usize> {
    match sched_getaffinity(None) {
        Ok(set) => (0..CpuSet::MAX_CPU).filter(|&core| set.is_set(core)).collect(),
        // A machine with more processors than a set holds: the kernel then decides when a thread is pinned.
        Err(_) => (0..CpuSet::MAX_CPU).collect(),
    }
}

/// Whether a thread could be pinned to `core`.
///
/// # Errors
/// When the processor is not one that this process may use.
pub fn check(core: usize) -> Result<(), Error> {
    let allowed = allowed();
    if allowed.contains(&core) { Ok(()) } else { Err(Error::NotAllowed { core, allowed: list(&allowed) }) }
}

/// Keeps the calling thread on `core`.
///
/// # Errors
/// When the processor is not there, or this process may not use it.
pub fn pin(core: usize) -> Result<(), Error> {
    check(core)?;
    let mut set = CpuSet::new();
    set.set(core);
    sched_setaffinity(None, &set).map_err(|source| Error::Refused { core, source })
}

/// Numbers as the kernel writes them: `0-3,8`.
fn list(numbers: &[usize]) -> String {
    let mut runs: Vec<(usize, usize)> = Vec::new();
    for &number in numbers {
        match runs.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(number) => *last = number,
            _ => runs.push((number, number)),
        }
    }
    let texts: Vec<String> = runs
        .into_iter()
        .map(|(first, last)| if first == last { first.to_string() } else { format!("{first}-{last}") })
        .collect();
    if texts.is_empty() { "none".to_owned() } else { texts.join(",") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_can_be_pinned_to_each_processor_that_it_may_use_and_to_no_other() {
        std::thread::spawn(|| {
            let before = allowed();
            for &core in &before {
                // Pinned to one, a thread may still be moved to another: each in a thread of its own.
                let pinned = std::thread::spawn(move || pin(core).map(|()| allowed())).join().unwrap();
                assert_eq!(pinned.unwrap(), [core]);
            }
            let missing = (0..=before.len()).find(|core| !before.contains(core)).unwrap();
            let error = pin(missing).unwrap_err();
            assert!(error.to_string().contains(&list(&before)), "{error}");
            assert!(pin(usize::MAX).is_err());
        })
        .join()
        .unwrap();
    }

    #[test]
    fn processors_are_listed_as_the_kernel_lists_them() {
        assert_eq!(list(&[0, 1, 2, 3, 8, 10, 11]), "0-3,8,10-11");
        assert_eq!(list(&[]), "none");
    }
}
