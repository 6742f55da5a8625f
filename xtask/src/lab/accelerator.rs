//! What runs the guest's processor: KVM where it proves itself by booting a guest within seconds, QEMU's own
//! emulation otherwise.
//!
//! `/dev/kvm` being there proves nothing: on some nested machines every guest hangs under it. The outcome is
//! remembered until the machine boots again or another QEMU comes.

use std::fs::{self, File};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::plan::Plan;

/// Long enough for a guest that starts at all.
const TRIAL: Duration = Duration::from_secs(10);

/// A way to run a processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Accelerator {
    /// The host's own processor.
    Kvm,
    /// Emulation.
    Tcg,
}

#[derive(Serialize, Deserialize)]
struct Record {
    machine: String,
    accelerator: Accelerator,
}

impl Accelerator {
    /// QEMU's arguments for it.
    pub fn arguments(self) -> [&'static str; 6] {
        match self {
            // Interrupt remapping needs the split interrupt controller under KVM.
            Self::Kvm => {
                ["-M", "q35,memory-backend=ram,kernel-irqchip=split", "-accel", "kvm", "-cpu", "host"]
            }
            Self::Tcg => ["-M", "q35,memory-backend=ram", "-accel", "tcg,thread=multi", "-cpu", "max"],
        }
    }

    /// The name for a person.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kvm => "KVM",
            Self::Tcg => "emulation (TCG)",
        }
    }
}

/// Settles which accelerator this machine gets, by a trial if it isn't known yet.
pub fn settle(plan: &Plan) -> Result<Accelerator> {
    if File::options().read(true).write(true).open("/dev/kvm").is_err() {
        return Ok(Accelerator::Tcg);
    }
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").context("cannot read the boot's id")?;
    let machine = format!("{} {} {}", boot.trim(), plan.qemu.version, plan.kernel.release);
    if let Ok(text) = fs::read(&plan.accelerator_record)
        && let Ok(record) = serde_json::from_slice::<Record>(&text)
        && record.machine == machine
    {
        return Ok(record.accelerator);
    }
    let start = Instant::now();
    let accelerator = if boots_under_kvm(plan)? { Accelerator::Kvm } else { Accelerator::Tcg };
    println!(
        "      tried KVM by booting a guest: {} ({})",
        if accelerator == Accelerator::Kvm { "it works" } else { "it doesn't work here, so emulation it is" },
        crate::tool::seconds(start.elapsed())
    );
    crate::cache::write_whole(
        &plan.accelerator_record,
        &serde_json::to_vec(&Record { machine, accelerator })?,
    )?;
    Ok(accelerator)
}

fn boots_under_kvm(plan: &Plan) -> Result<bool> {
    let console = plan.logs.join("kvm-trial.console");
    let log = File::create(plan.logs.join("kvm-trial.qemu"))?;
    let mut child = plan
        .qemu
        .command()
        .args(Accelerator::Kvm.arguments())
        .args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-m", "256M"])
        .args(["-object", "memory-backend-memfd,id=ram,size=256M,share=on"])
        .arg("-kernel")
        .arg(&plan.kernel.image)
        .arg("-initrd")
        .arg(&plan.image)
        .args(["-append", "console=ttyS0 quiet panic=-1 rdinit=/init lab.probe"])
        .arg("-serial")
        .arg(format!("file:{}", console.display()))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .context("cannot start QEMU")?;
    let end = Instant::now() + TRIAL;
    let mut alive = false;
    while !alive && Instant::now() < end && child.try_wait()?.is_none() {
        std::thread::sleep(Duration::from_millis(50));
        alive = fs::read_to_string(&console).is_ok_and(|text| text.contains("the probe lives"));
    }
    alive = alive || fs::read_to_string(&console).is_ok_and(|text| text.contains("the probe lives"));
    // It may have ended by itself already.
    let _ = child.kill();
    child.wait()?;
    Ok(alive)
}
