//! How much memory this process may lock, and whether a mapping fits in.
//!
//! Contract: the same sum as the kernel's type 1 driver: pages locked now (`VmLck`, in which `mlock(2)` and all of a
//! process's VFIO mappings are counted alike) plus the pages to map, against RLIMIT_MEMLOCK in whole pages. A process
//! with CAP_IPC_LOCK is not counted. Asked before a mapping is made, so that a refusal has numbers in it instead of
//! a bare "out of memory" and a line in `dmesg`; what the kernel then says is final all the same.
//!
//! Source: Linux, `drivers/vfio/vfio_iommu_type1.c`, `vfio_pin_pages_remote` and `vfio_lock_acct`.

use crate::Error;
use crate::sysfs::Sysfs;
use rustix::process::{Resource, getrlimit};

/// CAP_IPC_LOCK's number (linux/capability.h).
const CAPABILITY_IPC_LOCK: u32 = 14;

/// What counts when memory is to be locked, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Allowance {
    /// Locked now, by whatever means.
    pub(super) locked: u64,
    /// What may be locked; `None` without limit.
    pub(super) soft: Option<u64>,
    /// How far the process may raise that by itself; `None` without limit.
    pub(super) hard: Option<u64>,
    /// Whether the process is not bound by it.
    pub(super) exempt: bool,
}

impl Allowance {
    /// This process's. `mapped` is what the caller itself knows to be locked, for a machine without `/proc`.
    pub(super) fn of_this_process(mapped: u64) -> Self {
        let limit = getrlimit(Resource::Memlock);
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        Self {
            locked: locked(&status).unwrap_or(mapped),
            soft: limit.current,
            hard: limit.maximum,
            exempt: exempt(&status),
        }
    }

    /// The error for `needed` bytes more, if they are too many.
    pub(super) fn refusal(&self, needed: u64) -> Option<Error> {
        let page = rustix::param::page_size() as u64;
        let limit = self.soft? / page;
        let wanted = (self.locked / page).saturating_add(needed.div_ceil(page));
        if self.exempt || wanted <= limit { None } else { Some(self.error(needed)) }
    }

    /// The error for `needed` bytes more, with what would help.
    pub(super) fn error(&self, needed: u64) -> Error {
        let total = kib(self.locked.saturating_add(needed));
        let remedy = match self.hard {
            hard if hard.is_none_or(|hard| kib(hard) >= total) => {
                format!("run `ulimit -l {total}` in this shell first: the hard limit allows it")
            }
            hard => {
                let allowed = hard.map_or(0, kib);
                let user = user_for_limits();
                format!(
                    "the hard limit is {allowed} KiB, so it takes root: `sudo ringway bind` raises it for the shell that \
                     calls it, `prlimit --pid $$ --memlock={}` does so by hand, and a line `{user} - memlock {total}` in a \
                     file in /etc/security/limits.d (LimitMEMLOCK= for a service) for every login",
                    total.saturating_mul(1024),
                )
            }
        };
        Error::MemlockTooLow {
            needed: kib(needed),
            locked: kib(self.locked),
            limit: self
                .soft
                .map_or_else(|| "without limit".to_owned(), |soft| format!("{} KiB", soft / 1024)),
            remedy,
        }
    }
}

/// This user as limits.conf(5) names one: by login name, or as a range of numbers.
fn user_for_limits() -> String {
    let id = rustix::process::geteuid().as_raw();
    let user = Sysfs::host().local_user(&id.to_string());
    user.and_then(|user| user.name).unwrap_or_else(|| format!("{id}:{id}"))
}

/// Bytes in KiB, rounded up: the unit of `ulimit -l`.
fn kib(bytes: u64) -> u64 {
    bytes.div_ceil(1024)
}

/// `VmLck` of a `/proc/PID/status`, in bytes.
fn locked(status: &str) -> Option<u64> {
    let field = status.lines().find_map(|line| line.strip_prefix("VmLck:"))?;
    field.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// Whether CAP_IPC_LOCK is in force. In a user namespace it shows although the kernel doesn't honour it; then the
/// kernel's own refusal remains.
fn exempt(status: &str) -> bool {
    let field = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    field
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .is_some_and(|mask| mask & (1 << CAPABILITY_IPC_LOCK) != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn allowance(locked: u64, soft: Option<u64>, hard: Option<u64>) -> Allowance {
        Allowance { locked, soft, hard, exempt: false }
    }

    #[test]
    fn what_fits_exactly_is_allowed_and_one_page_more_is_not() {
        let page = rustix::param::page_size() as u64;
        let allowance = allowance(2 * MIB, Some(8 * MIB), Some(8 * MIB));
        assert!(allowance.refusal(6 * MIB).is_none());
        assert!(allowance.refusal(6 * MIB + 1).is_some());
        assert!(allowance.refusal(6 * MIB + page).is_some());
        assert!(allowance.refusal(u64::MAX).is_some());
    }

    #[test]
    fn a_limit_that_is_no_whole_page_counts_as_the_pages_in_it() {
        let page = rustix::param::page_size() as u64;
        let allowance = allowance(0, Some(2 * page - 1), None);
        assert!(allowance.refusal(page).is_none());
        assert!(allowance.refusal(page + 1).is_some());
    }

    #[test]
    fn without_a_limit_or_with_the_capability_everything_is_allowed() {
        assert!(allowance(MIB, None, None).refusal(u64::MAX).is_none());
        let exempt = Allowance { exempt: true, ..allowance(MIB, Some(0), Some(0)) };
        assert!(exempt.refusal(u64::MAX).is_none());
    }

    #[test]
    #[cfg_attr(miri, ignore = "it asks the kernel")]
    fn the_message_has_both_numbers_and_the_way_out_that_works() {
        let by_itself =
            allowance(2 * MIB, Some(8 * MIB), Some(64 * MIB)).refusal(32 * MIB).unwrap().to_string();
        for part in ["32768 KiB", "2048 KiB", "8192 KiB", "`ulimit -l 34816`"] {
            assert!(by_itself.contains(part), "{part}: {by_itself}");
        }
        assert!(!by_itself.contains("root"), "{by_itself}");
        let with_root = allowance(0, Some(8 * MIB), Some(8 * MIB)).refusal(32 * MIB).unwrap().to_string();
        for part in ["sudo ringway bind", "hard limit is 8192 KiB", "memlock=33554432", "limits.d"] {
            assert!(with_root.contains(part), "{part}: {with_root}");
        }
    }

    #[test]
    fn the_kernels_own_account_is_read() {
        let status = "Name:\tx\nVmLck:\t    4096 kB\nVmPin:\t       0 kB\nCapEff:\t0000000000004000\n";
        assert_eq!(locked(status), Some(4 * MIB));
        assert!(exempt(status));
        for status in ["", "VmLck:\n", "VmLck:\t-1 kB\n", "VmLck:\t18446744073709551615 kB\n", "CapEff:\t\n"]
        {
            assert_eq!(locked(status), None, "{status:?}");
            assert!(!exempt(status), "{status:?}");
        }
        assert!(!exempt("CapEff:\t0000000000003fff\n"));
    }

    #[test]
    #[cfg_attr(miri, ignore = "it asks the kernel")]
    fn this_process_has_an_account() {
        let allowance = Allowance::of_this_process(0);
        assert!(allowance.soft.is_none_or(|soft| allowance.hard.is_none_or(|hard| soft <= hard)));
    }
}
