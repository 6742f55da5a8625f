//! Whether this machine, for this user, is fit for Ringway: one finding a check, each with the command that mends it.
//!
//! Contract: looks only, needs no root, and never fails itself: what can't be read is a finding. A *failure* keeps Ringway
//! from driving any NIC; a *warning* may keep it from driving some, or costs safety; a *hint* costs speed.
//!
//! Not here: printing, exit codes.

mod hints;
mod iommu;
mod memory;
mod vfio;

pub(crate) use iommu::no_iommu;

use serde::Serialize;

use crate::kernel::Kernel;
use crate::status::Supported;

/// What Ringway is to do here.
#[derive(Debug, Clone, Copy)]
pub struct Needs<'a> {
    /// How many bytes of memory devices are to reach: the packet pools and rings.
    pub memory: u64,
    /// The functions that have a driver.
    pub supported: &'a [Supported],
}

/// How a check came out. The order is from good to bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As it should be.
    Good,
    /// Works, and could be faster.
    Hint,
    /// Works, but not for all functions, or not safely.
    Warning,
    /// Ringway can't drive a NIC.
    Failure,
}

/// One check and what it found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What was looked at.
    pub name: &'static str,
    /// How it came out.
    pub verdict: Verdict,
    /// What was found.
    pub finding: String,
    /// The command that mends it, or what to do where no command can.
    pub mend: Option<String>,
}

impl Check {
    fn good(name: &'static str, finding: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Good, finding: finding.into(), mend: None }
    }

    fn bad(
        name: &'static str,
        verdict: Verdict,
        finding: impl Into<String>,
        mend: impl Into<String>,
    ) -> Self {
        Self { name, verdict, finding: finding.into(), mend: Some(mend.into()) }
    }
}

/// All checks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Diagnosis {
    /// Whether Ringway could run: no check failed.
    pub ready: bool,
    /// The checks, in the order in which one mends them.
    pub checks: Vec<Check>,
}

/// Examines the machine.
pub fn examine(kernel: &dyn Kernel, needs: &Needs<'_>) -> Diagnosis {
    let mut checks =
        vec![iommu::iommu(kernel.sysfs()), iommu::interrupt_remapping(kernel), vfio::driver(kernel)];
    checks.push(vfio::groups(kernel, needs));
    checks.push(vfio::rights(kernel, needs));
    checks.push(memory::memlock(kernel, needs));
    checks.push(memory::huge_pages(kernel, needs));
    checks.push(hints::lockdown(kernel));
    checks.push(hints::secure_boot(kernel));
    checks.push(hints::hypervisor(kernel));
    checks.push(hints::isolation(kernel));
    checks.push(hints::governor(kernel));
    Diagnosis { ready: checks.iter().all(|check| check.verdict != Verdict::Failure), checks }
}
