//! What outlives a login or a reboot: `ringway bind --persist`, and the limit on locked memory of the shell that ran sudo.

use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::Case;
use crate::lab::configuration::{Configuration, FIRST, SECOND, THIRD};
use crate::lab::forwarder;
use crate::lab::image::USER;
use crate::lab::machine::{Machine, Next};
use crate::lab::traffic::ping;

pub(super) const CASES: &[Case] = &[
    Case {
        name: "bind-persist",
        shows: "`ringway bind --persist` holds after a reboot, for these NICs alone, until `unbind --persist`",
        configuration: Configuration::Debian,
        run: persists,
    },
    Case {
        name: "bind-persist-before-drivers",
        shows: "the same where udev loads the drivers; the limits file goes with the user's last NIC",
        configuration: Configuration::Debian,
        run: persists_before_drivers,
    },
    Case {
        name: "bind-persist-needs-udev",
        shows: "`--persist` on a machine without udev is refused, and nothing is changed",
        configuration: Configuration::Iommu48,
        run: needs_udev,
    },
    Case {
        name: "bind-raises-memlock",
        shows: "the limit on locked memory is raised for the shell that ran sudo, which is named, and for no other",
        configuration: Configuration::Debian,
        run: raises_memlock,
    },
    Case {
        name: "bind-through-sudo",
        shows: "`cargo xtask bind` and `unbind`, called by the user, ask sudo for root by themselves",
        configuration: Configuration::Debian,
        run: through_sudo,
    },
];

const LIMIT: Duration = Duration::from_secs(60);
/// What `--persist` writes.
const WRITTEN: &str = "/etc/udev/rules.d/70-ringway-* /etc/security/limits.d/90-ringway-*";

/// The NICs' own drivers are there before udev, as from a distribution's initramfs.
fn persists(machine: &mut Machine) -> Result<()> {
    let kept = bind(machine)?;
    machine.reboot(&Next { files: kept.clone(), arguments: Vec::new() })?;
    is_bound(machine)?;
    limit_holds(machine, &kept)?;
    machine.check("as_user ringway doctor")?;
    forwarder::start(machine, &format!("ringway forward {FIRST} {SECOND}"))?;
    let (a, b) = (machine.wire(0)?, machine.wire(1)?);
    ping::until_answered(a, b, LIMIT)?;
    ping::without_loss(a, b, 20, 56)?;
    forwarder::end(machine, "INT")?.cleanly()?;
    machine.check("ringway unbind --persist")?;
    is_forgotten(machine)?;
    machine.check(&format!("bridge_of lab0 {FIRST} {SECOND}"))?;
    let (a, b) = (machine.wire(0)?, machine.wire(1)?);
    ping::until_answered(a, b, LIMIT)?;
    machine.check("ip link del lab0").map(|_| ())
}

/// All drivers are left to udev, and one NIC is given back after the other.
fn persists_before_drivers(machine: &mut Machine) -> Result<()> {
    let kept = bind(machine)?;
    machine.reboot(&Next { files: kept, arguments: vec!["lab.drivers=udev".to_owned()] })?;
    is_bound(machine)?;
    machine.check(&format!("ringway unbind {FIRST} --persist"))?;
    let left = written(machine)?;
    // The limits file stays while another NIC of this user's does.
    if left.contains(FIRST) || !left.contains(SECOND) || !left.contains("90-ringway-1000.conf") {
        bail!("expected the rule of {SECOND} and the limits file to be left, saw:\n{left}");
    }
    machine.check(&format!("ringway unbind {SECOND} --persist"))?;
    is_forgotten(machine)
}

/// Binds two of three NICs for good, and returns the files that this wrote: what the machine's disk would keep.
fn bind(machine: &mut Machine) -> Result<Vec<(String, Vec<u8>)>> {
    let before = drivers(machine)?;
    if before != ["virtio-pci"; 3] {
        bail!("expected all NICs with virtio-pci at first, saw {before:?}");
    }
    // Less than the lab's own limit, so that it shows that this one holds.
    machine.check(&format!("ringway bind {FIRST} {SECOND} --user {USER} --persist --memlock 128M"))?;
    let kept = kept(machine)?;
    if kept.len() != 3 {
        let paths: Vec<&String> = kept.iter().map(|(path, _)| path).collect();
        bail!("expected two rules and a limits file, saw {paths:?}");
    }
    Ok(kept)
}

/// Demands that nothing is left of a lasting binding, and that the kernel has its interfaces again.
fn is_forgotten(machine: &mut Machine) -> Result<()> {
    let left = written(machine)?;
    if !left.is_empty() {
        bail!("expected `unbind --persist` to remove what `bind --persist` wrote, saw:\n{left}");
    }
    let after = drivers(machine)?;
    if after != ["virtio-pci"; 3] {
        bail!("expected all NICs with virtio-pci again, saw {after:?}");
    }
    machine.check(&format!("has_interface {FIRST} && has_interface {SECOND}")).map(|_| ())
}

/// The paths of what `--persist` wrote, as far as it is there.
fn written(machine: &mut Machine) -> Result<String> {
    machine.check(&format!("ls {WRITTEN} 2> /dev/null || true"))
}

fn drivers(machine: &mut Machine) -> Result<Vec<String>> {
    [FIRST, SECOND, THIRD]
        .iter()
        .map(|address| {
            let name = machine.check(&format!(
                "await 20 test -e /sys/bus/pci/devices/{address}/driver; driver_of {address}"
            ))?;
            Ok(name.trim().to_owned())
        })
        .collect()
}

/// The files that `--persist` wrote.
fn kept(machine: &mut Machine) -> Result<Vec<(String, Vec<u8>)>> {
    written(machine)?
        .lines()
        .map(|path| {
            let contents = machine.check(&format!("cat {path}"))?;
            Ok((path.trim_start_matches('/').to_owned(), contents.into_bytes()))
        })
        .collect()
}

/// Demands that the two NICs are on vfio-pci and the user's, and that the third is as ever.
fn is_bound(machine: &mut Machine) -> Result<()> {
    let found = drivers(machine)?;
    if found != ["vfio-pci", "vfio-pci", "virtio-pci"] {
        bail!(
            "expected {FIRST} and {SECOND} with vfio-pci and {THIRD} with virtio-pci after the reboot, saw {found:?}"
        );
    }
    for address in [FIRST, SECOND] {
        let script = format!(
            "node=/dev/vfio/$(group_of {address}); await 20 test -e $node; udevadm settle; stat -c '%U %a' $node; \
             as_user sh -c \"exec 3<> $node\" && echo opened"
        );
        let found = machine.check(&script)?;
        if found != format!("{USER} 600\nopened\n") {
            bail!(
                "expected the group of {address} to belong to {USER} with mode 600, and to open, saw {found:?}"
            );
        }
    }
    machine.check(&format!("await 20 has_interface {THIRD}")).map(|_| ())
}

/// Demands that a session of the user's has the limit that the file says: PAM applies it.
fn limit_holds(machine: &mut Machine, kept: &[(String, Vec<u8>)]) -> Result<()> {
    let text = kept
        .iter()
        .find(|(path, _)| path.starts_with("etc/security"))
        .context("no limits file was written")?;
    let text = String::from_utf8_lossy(&text.1);
    let said =
        text.lines().find_map(|line| line.strip_prefix(&format!("{USER} - memlock "))).unwrap_or_default();
    let found = machine.check(&format!("/usr/bin/su {USER} -c 'ulimit -l; ulimit -H -l'"))?;
    if found != format!("{said}\n{said}\n") || said != "131072" {
        bail!(
            "expected a session with the limit that the file says, 131072 KiB, saw {found:?} and the file:\n{text}"
        );
    }
    Ok(())
}

fn needs_udev(machine: &mut Machine) -> Result<()> {
    let refused = machine.run(&format!("ringway bind {FIRST} --user {USER} --persist"))?;
    if refused.status != 1
        || !refused.output.contains("no udev")
        || !refused.output.contains("leave out --persist")
    {
        bail!("expected --persist to be refused for want of udev, saw {refused:?}");
    }
    let state = machine.check(&format!("driver_of {FIRST}; ls {WRITTEN} 2> /dev/null || true"))?;
    if state != "virtio-pci\n" {
        bail!("expected nothing to be changed, saw {state:?}");
    }
    Ok(())
}

/// Two shells of the user's, one in the other. The inner one runs sudo.
const SHELLS: &str = r#"
cat > /tmp/inner.sh << 'END OF INNER'
limit() { echo "$1 $2 $(sed -n 's/^Max locked memory *\([0-9]*\) *\([0-9]*\) .*/\1 \2/p' /proc/$2/limits)"; }
ulimit -l 64
limit inner-before $$
limit outer-before $PPID
sudo ringway bind "$1" || exit 1
limit inner-after $$
limit outer-after $PPID
sudo ringway bind "$1" --memlock 4K || exit 1
limit inner-again $$
END OF INNER
cat > /tmp/outer.sh << 'END OF OUTER'
sh /tmp/inner.sh "$1"
exit $?
END OF OUTER
"#;

fn raises_memlock(machine: &mut Machine) -> Result<()> {
    let said = machine.check(&format!("{SHELLS}/usr/bin/su {USER} -c 'sh /tmp/outer.sh {FIRST}'"))?;
    let owner = machine
        .check(&format!("stat -c %U /dev/vfio/$(group_of {FIRST}); ringway unbind {FIRST} > /dev/null"))?;
    let line = |name: &str| -> Result<(String, String)> {
        let rest = said.lines().find_map(|line| line.strip_prefix(name)?.trim().split_once(' '));
        let (process, limits) = rest.with_context(|| format!("expected a line {name}, saw:\n{said}"))?;
        Ok((process.to_owned(), limits.to_owned()))
    };
    let (inner, before) = line("inner-before")?;
    let (_, after) = line("inner-after")?;
    // 64 KiB, then the 1 GiB that `bind` raises to.
    if before != "65536 65536" || after != "1073741824 1073741824" {
        bail!("expected the shell's limit to be raised from 64 KiB to 1 GiB, saw:\n{said}");
    }
    if line("outer-before")? != line("outer-after")? {
        bail!("expected the outer shell to be left alone, saw:\n{said}");
    }
    let told = format!(
        "process {inner} (sh) of {USER}, and what it starts from now on, may lock 1 GiB (was 64 KiB)"
    );
    if !said.contains(&told) {
        bail!("expected {told:?}, saw:\n{said}");
    }
    if line("inner-again")?.1 != after || !said.contains("may lock 1 GiB already") {
        bail!("expected a limit never to be lowered, saw:\n{said}");
    }
    // Without --user, it is who ran sudo.
    if owner.trim() != USER {
        bail!("expected the group to belong to {USER}, who ran sudo, saw {owner:?}");
    }
    Ok(())
}

/// What cargo builds and runs: the program itself, as the user, with no right to anything.
fn through_sudo(machine: &mut Machine) -> Result<()> {
    let as_user = |command: &str| format!("/usr/bin/su {USER} -c '{command}'");
    let refused = machine.run(&as_user(&format!("ringway bind {FIRST}")))?;
    if refused.status == 0 || !refused.output.contains("needs root") {
        bail!("expected the user to need root for a binding, saw {}:\n{}", refused.status, refused.output);
    }
    let said = machine.check(&as_user(&format!("xtask bind {FIRST}")))?;
    let state =
        machine.check(&format!("driver_of {FIRST}; stat -c '%U %a' /dev/vfio/$(group_of {FIRST})"))?;
    if state.split_whitespace().collect::<Vec<_>>() != ["vfio-pci", USER, "600"] {
        bail!("expected {FIRST} on vfio-pci and its group with {USER}, saw {state:?} after:\n{said}");
    }
    machine.check(&as_user(&format!("xtask unbind {FIRST}")))?;
    machine.check(&format!("await 20 has_interface {FIRST}"))?;
    Ok(())
}
