//! The IOMMU really confines: a device that is told to reach an address that isn't mapped is stopped, and the
//! kernel logs the fault.

use anyhow::{Result, bail};

use super::Case;
use crate::lab::configuration::{Configuration, FIRST};
use crate::lab::forwarder;
use crate::lab::machine::Machine;

pub(super) const CASES: &[Case] = &[
    Case {
        name: "confinement-39",
        shows: "a 39-bit IOMMU stops the device at an address that isn't mapped, and the kernel logs it",
        configuration: Configuration::Iommu39,
        run: confinement,
    },
    Case {
        name: "confinement-48",
        shows: "the same with a 48-bit IOMMU",
        configuration: Configuration::Iommu48,
        run: confinement,
    },
];

fn confinement(machine: &mut Machine) -> Result<()> {
    if machine.run("command -v iommu-confinement")?.status != 0 {
        bail!("the program iommu-confinement isn't in the guest: no crate of the workspace has that example");
    }
    forwarder::bind(machine, &[FIRST])?;
    let before = faults(machine)?;
    let ended = forwarder::run(machine, &format!("iommu-confinement {FIRST}"))?;
    let after = faults(machine)?;
    forwarder::unbind(machine, &[FIRST])?;
    ended.cleanly()?;
    if after.len() <= before.len() {
        bail!("expected the kernel to log a DMA fault, saw none; the program said:\n{}", ended.last_words());
    }
    let device = FIRST.trim_start_matches("0000:");
    let told = after.iter().skip(before.len()).any(|line| line.contains(device));
    if !told {
        bail!("expected a DMA fault of {device}, saw:\n{}", after.join("\n"));
    }
    Ok(())
}

/// The faults in the kernel's log: "DMAR: [DMA Write NO_PASID] Request device [01:00.0] fault addr 0x… ".
fn faults(machine: &mut Machine) -> Result<Vec<String>> {
    let text = machine.check("dmesg | grep -E 'DMAR.*(fault addr|DMA (Read|Write))' || true")?;
    Ok(text.lines().map(str::to_owned).collect())
}
