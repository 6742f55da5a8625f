//! `ringway doctor`: each failure provoked once. It comes with exit status 1 and with what mends it; that is done, word for
//! word where it is a command, and doctor no longer fails there.

use anyhow::{Result, bail};

use super::Case;
use crate::lab::configuration::{Configuration, DEBIAN_GROUPED, FIRST};
use crate::lab::image::USER;
use crate::lab::machine::{Machine, Next};

/// Declares a case on the small Debian machine, on which a user has sudo.
const fn case(name: &'static str, shows: &'static str, run: fn(&mut Machine) -> Result<()>) -> Case {
    Case { name, shows, configuration: Configuration::Debian, run }
}

pub(super) const CASES: &[Case] = &[
    Case {
        name: "doctor-no-iommu",
        shows: "a virtual machine without an IOMMU, and the QEMU options that would give it one",
        configuration: Configuration::NoIommu,
        run: no_iommu,
    },
    Case {
        name: "doctor-iommu-off",
        shows: "an IOMMU that is switched off at boot; without that word it is on",
        configuration: Configuration::Iommu48,
        run: iommu_off,
    },
    case("doctor-no-vfio-pci", "vfio-pci missing: no module, no list of modules, no modules", no_vfio_pci),
    case(
        "doctor-low-memlock",
        "a limit on locked memory that is too low; its command raises it",
        low_memlock,
    ),
    case(
        "doctor-group-not-viable",
        "half of a group given back; its command takes the whole",
        group_not_viable,
    ),
    case("doctor-no-rights", "a NIC that is root's; its command makes it the user's", no_rights),
];

/// As the user: what doctor says, its remedy for the check $1, and, if $2 is "run", what it says of the check after the
/// remedy was carried out word for word in this shell.
const SESSION: &str = r#"
cat > /tmp/session.sh << 'END OF SESSION'
examine() {
    said=$(ringway doctor)
    status=$?
    echo "$1-status $status"
    echo "$1-line $(printf '%s\n' "$said" | grep "^.... *$check  ")"
    mend=$(printf '%s\n' "$said" | grep -A1 "^FAIL  $check  " | sed -n 's/^ *-> //p')
    echo "$1-mend $mend"
}
check=$1
[ -z "$3" ] || ulimit -l "$3"
examine before
[ "$2" = run ] || exit 0
eval "$mend" || echo "the remedy failed: $?"
examine after
END OF SESSION
"#;

/// What a session found.
#[derive(Debug)]
struct Found {
    said: String,
}

impl Found {
    fn of(machine: &mut Machine, check: &str, run: bool, limit: &str) -> Result<Self> {
        let run = if run { "run" } else { "look" };
        let script = format!("{SESSION}/usr/bin/su {USER} -c 'sh /tmp/session.sh \"{check}\" {run} {limit}'");
        Ok(Self { said: machine.check(&script)? })
    }

    fn word(&self, name: &str) -> &str {
        self.said.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim()
    }

    /// Demands the failure, with exit status 1, the finding and the remedy.
    fn fails(&self, finding: &str, mend: &str) -> Result<&Self> {
        let line = self.word("before-line ");
        if self.word("before-status ") != "1"
            || !line.starts_with("FAIL")
            || !line.contains(finding)
            || !self.word("before-mend ").contains(mend)
        {
            bail!("expected status 1, \"{finding}\" and the remedy \"{mend}\", saw:\n{}", self.said);
        }
        Ok(self)
    }

    /// Demands that the failure is gone, once the remedy was carried out.
    fn mended(&self) -> Result<&Self> {
        if self.said.contains("the remedy failed") || !self.word("after-line ").starts_with("ok") {
            bail!("expected doctor to be content after its own remedy, saw:\n{}", self.said);
        }
        Ok(self)
    }

    /// Demands that nothing at all fails any more.
    fn ready(&self) -> Result<()> {
        if self.word("after-status ") != "0" {
            bail!("expected Ringway to be able to run after the remedy, saw:\n{}", self.said);
        }
        Ok(())
    }
}

/// Demands of a plain run that it fails at a check.
fn fails_plainly(machine: &mut Machine, check: &str, words: &[&str]) -> Result<()> {
    let answer = machine.run("as_user ringway doctor")?;
    let failed = answer.output.lines().any(|line| line.starts_with(&format!("FAIL  {check}  ")));
    if answer.status != 1 || !failed || !words.iter().all(|word| answer.output.contains(word)) {
        bail!("expected status 1, {check} to fail and {words:?}, saw {}:\n{}", answer.status, answer.output);
    }
    Ok(())
}

/// Demands of a plain run that it is content with a check.
fn passes_plainly(machine: &mut Machine, check: &str) -> Result<()> {
    let said = machine.run("as_user ringway doctor")?.output;
    if !said.lines().any(|line| line.starts_with(&format!("ok    {check}  "))) {
        bail!("expected doctor to be content with {check}, saw:\n{said}");
    }
    Ok(())
}

fn no_iommu(machine: &mut Machine) -> Result<()> {
    // The lab's other guests are given just these, and their doctor is content.
    fails_plainly(
        machine,
        "IOMMU",
        &[
            "this virtual machine has none",
            "-device intel-iommu,intremap=on,caching-mode=on",
            "intel_iommu=on",
        ],
    )
}

fn iommu_off(machine: &mut Machine) -> Result<()> {
    let off = "intel_iommu=off";
    machine.reboot(&Next { arguments: vec![off.to_owned()], files: Vec::new() })?;
    fails_plainly(machine, "IOMMU", &["switched off by 'intel_iommu=off'", "remove intel_iommu=off from"])?;
    let refused = machine.run(&format!("ringway bind {FIRST}"))?;
    if refused.status != 1
        || !refused.output.contains(FIRST)
        || !refused.output.contains("remove intel_iommu=off from")
    {
        bail!("expected `bind` to refuse {FIRST} with the same remedy, saw {refused:?}");
    }
    machine.reboot(&Next::default())?;
    passes_plainly(machine, "IOMMU")
}

fn no_vfio_pci(machine: &mut Machine) -> Result<()> {
    const CHECK: &str = "vfio-pci";
    machine.check("if lsmod | grep -q ^vfio_pci; then modprobe -r vfio-pci; fi; ! test -e /sys/bus/pci/drivers/vfio-pci")?;
    let folder = "/lib/modules/$(uname -r)";

    // No such module.
    machine.check(&format!("mkdir /tmp/away && mv {folder}/kernel/vfio_pci.ko /tmp/away/ && depmod -a"))?;
    let found = Found::of(machine, CHECK, false, "");
    let refused = machine.run(&format!("ringway bind {FIRST} --user {USER}"));
    machine.check(&format!("mv /tmp/away/vfio_pci.ko {folder}/kernel/ && depmod -a && rmdir /tmp/away"))?;
    found?.fails("neither the driver nor a module of it", "sudo apt install linux-image-amd64")?;
    let refused = refused?;
    if refused.status != 1
        || !["vfio-pci", "ringway doctor", "Nothing had been changed"]
            .iter()
            .all(|word| refused.output.contains(word))
    {
        bail!("expected `bind` to fail for want of vfio-pci and point to doctor, saw {refused:?}");
    }
    passes_plainly(machine, CHECK)?;

    // No list of modules: its command makes one.
    machine.check(&format!("rm {folder}/modules.*"))?;
    let found = Found::of(machine, CHECK, true, "")?;
    found.fails("there is no list of modules", "sudo depmod -a")?.mended()?;

    // No modules of this kernel, as after an upgrade.
    machine.check(&format!("mv {folder} /lib/modules/away"))?;
    let found = Found::of(machine, CHECK, false, "");
    machine.check(&format!("mv /lib/modules/away {folder}"))?;
    found?.fails("no modules of the running kernel", "reboot")?;
    passes_plainly(machine, CHECK)
}

fn low_memlock(machine: &mut Machine) -> Result<()> {
    machine.check(&format!("ringway bind {FIRST} --user {USER}"))?;
    let found = Found::of(machine, "locked memory", true, "64");
    machine.check(&format!("ringway unbind {FIRST}"))?;
    let found = found?;
    found.fails("64 KiB allowed (65536 bytes)", "sudo prlimit --pid $$ --memlock=")?.mended()?.ready()
}

fn group_not_viable(machine: &mut Machine) -> Result<()> {
    let [stays, goes] = DEBIAN_GROUPED;
    machine.check(&format!("ringway bind {stays} --group --user {USER}"))?;
    let told = machine.check(&format!("ringway unbind {goes}"))?;
    let found = Found::of(machine, "IOMMU groups", true, "");
    let after = machine
        .check(&format!("driver_of {stays}; driver_of {goes}; ringway unbind {stays} {goes} > /dev/null"))?;
    if !told.contains(&format!("{stays} stays on vfio-pci but can't be opened")) {
        bail!("expected `unbind` to tell that {stays} can't be opened any more, saw:\n{told}");
    }
    let found = found?;
    found
        .fails(
            &format!("of {stays} also has {goes} (driver virtio-pci)"),
            &format!("sudo ringway bind {stays} --group"),
        )?
        .mended()?
        .ready()?;
    if after != "vfio-pci\nvfio-pci\n" {
        bail!("expected the remedy to take the whole group, saw {after:?}");
    }
    Ok(())
}

fn no_rights(machine: &mut Machine) -> Result<()> {
    machine.check(&format!("ringway bind {FIRST}"))?;
    let node = machine.check(&format!("echo /dev/vfio/$(group_of {FIRST})"))?;
    let found = Found::of(machine, "rights on /dev/vfio", true, "");
    machine.check(&format!("ringway unbind {FIRST}"))?;
    let finding = format!("{FIRST}: no rights: {} belongs to root", node.trim());
    let found = found?;
    found.fails(&finding, &format!("sudo ringway bind {FIRST} --user {USER}"))?.mended()?.ready()?;
    // Nothing is bound: that is a failure too, and which NIC to take is the user's choice.
    fails_plainly(
        machine,
        "rights on /dev/vfio",
        &["no network function is bound", "sudo ringway bind ADDRESS"],
    )
}
