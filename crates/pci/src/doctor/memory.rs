//! Checks: may this user lock the memory that devices are to reach, and are there huge pages for it.
//!
//! Source: Linux, Documentation/admin-guide/mm/hugetlbpage.rst.

use crate::bind::size;
use crate::kernel::Kernel;
use crate::sysfs::Sysfs;

use super::vfio::Backend;
use super::{Check, Needs, Verdict};

/// The page sizes that Ringway asks for, as sysfs names them, with their size in bytes.
const HUGE: [(&str, u64); 2] = [("hugepages-1048576kB", 1 << 30), ("hugepages-2048kB", 1 << 21)];

/// Whether the limit on locked memory is enough for the pools.
pub(super) fn memlock(kernel: &dyn Kernel, needs: &Needs<'_>) -> Check {
    const NAME: &str = "locked memory";
    let sysfs = kernel.sysfs();
    let process = kernel.process_id();
    let counting = Backend::of(kernel).counting();
    let wanted = size(Some(needs.memory));
    if sysfs.exempt_from_memlock(process) {
        return Check::good(NAME, format!("{wanted} needed; no limit holds for this user (CAP_IPC_LOCK)"));
    }
    let Some(limit) = sysfs.memlock(process) else {
        let finding = format!("{wanted} needed; the limit can't be read (/proc/{process}/limits)");
        return Check::bad(NAME, Verdict::Warning, finding, "ulimit -l");
    };
    let has = size(limit.soft);
    if limit.allows(needs.memory) {
        return Check::good(NAME, format!("{wanted} needed, {has} allowed ({counting})"));
    }
    let finding = format!(
        "{wanted} needed ({} bytes), {has} allowed ({} bytes): mapping would fail ({counting})",
        needs.memory,
        limit.soft.unwrap_or(u64::MAX)
    );
    let mend = if limit.hard.is_none_or(|hard| hard >= needs.memory) {
        format!("ulimit -l {}", needs.memory.div_ceil(1024))
    } else {
        format!(
            "sudo prlimit --pid $$ --memlock={0}:{0}  # for this shell; for all sessions: sudo ringway bind ADDRESS --persist",
            needs.memory
        )
    };
    Check::bad(NAME, Verdict::Failure, finding, mend)
}

/// Huge pages reserved and free, on each NUMA node.
pub(super) fn huge_pages(kernel: &dyn Kernel, needs: &Needs<'_>) -> Check {
    const NAME: &str = "huge pages";
    let sysfs = kernel.sysfs();
    let mut pools = Vec::new();
    for node in sysfs.list("/sys/devices/system/node").iter().filter(|name| is_node(name)) {
        let folder = format!("/sys/devices/system/node/{node}/hugepages");
        pools.extend(HUGE.iter().filter_map(|(name, bytes)| Pool::read(sysfs, node, &folder, name, *bytes)));
    }
    if pools.is_empty() {
        // A kernel without NUMA.
        let folder = "/sys/kernel/mm/hugepages";
        pools.extend(HUGE.iter().filter_map(|(name, bytes)| Pool::read(sysfs, "all", folder, name, *bytes)));
    }
    let reserved: Vec<String> = pools
        .iter()
        .filter(|pool| pool.reserved > 0)
        .map(|pool| {
            format!(
                "{}: {} of {} pages of {} free",
                pool.node,
                pool.free,
                pool.reserved,
                size(Some(pool.bytes))
            )
        })
        .collect();
    let enough = |pool: &Pool| pool.free.checked_mul(pool.bytes).is_some_and(|free| free >= needs.memory);
    if pools.iter().any(enough) {
        return Check::good(NAME, reserved.join("; "));
    }
    let finding = if reserved.is_empty() {
        "none reserved: ordinary pages are used".to_owned()
    } else {
        format!("{}: too few for {}", reserved.join("; "), size(Some(needs.memory)))
    };
    let Some(pool) = pools.iter().find(|pool| pool.bytes == 1 << 21) else {
        let mend = "boot with hugepagesz=1G hugepages=1, or a kernel with CONFIG_HUGETLBFS";
        return Check::bad(NAME, Verdict::Hint, finding, mend);
    };
    let missing = needs.memory.div_ceil(pool.bytes).saturating_sub(pool.free);
    let mend = format!("echo {} | sudo tee {}", pool.reserved.saturating_add(missing), pool.setting);
    Check::bad(NAME, Verdict::Hint, finding, mend)
}

/// The huge pages of one size on one node.
struct Pool {
    node: String,
    bytes: u64,
    reserved: u64,
    free: u64,
    setting: String,
}

impl Pool {
    fn read(sysfs: &Sysfs, node: &str, folder: &str, name: &str, bytes: u64) -> Option<Self> {
        let number = |file: &str| sysfs.read_optional(format!("{folder}/{name}/{file}"))?.parse().ok();
        Some(Self {
            node: node.to_owned(),
            bytes,
            reserved: number("nr_hugepages")?,
            free: number("free_hugepages")?,
            setting: format!("{folder}/{name}/nr_hugepages"),
        })
    }
}

fn is_node(name: &str) -> bool {
    name.strip_prefix("node")
        .is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit()))
}
