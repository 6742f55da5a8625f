//! What can't work is refused with an error that names the thing and the way out.

use anyhow::{Result, bail};

use super::Case;
use crate::lab::configuration::{
    BYPASSING, Configuration, FIRST, FOREIGN, GROUPED, LEGACY, NOT_A_NIC, NOTHING, SECOND,
};
use crate::lab::forwarder::{self, Ended};
use crate::lab::image::USER;
use crate::lab::machine::Machine;

/// Declares a case on the machine with all the odd devices.
const fn case(name: &'static str, shows: &'static str, run: fn(&mut Machine) -> Result<()>) -> Case {
    Case { name, shows, configuration: Configuration::Iommu39, run }
}

pub(super) const CASES: &[Case] = &[
    case("refuses-no-such-address", "an address with nothing there", no_such_address),
    case("refuses-not-a-nic", "a device that is no network card", not_a_nic),
    case("refuses-unknown-device", "a NIC without a driver here; told what would work", unknown_device),
    case("refuses-not-bound", "a NIC that the kernel's driver holds", not_bound),
    case("refuses-no-rights", "a group that the user may not open", no_rights),
    case("refuses-group-not-viable", "a group with a device that isn't bound; named", group_not_viable),
    case("refuses-low-memlock", "a limit on locked memory that is too low; both numbers", low_memlock),
    case("refuses-bypassing-device", "a device without ACCESS_PLATFORM", bypassing),
    case("refuses-legacy-device", "a virtio device of the old kind", legacy),
    Case {
        name: "refuses-no-iommu",
        shows: "a machine without an IOMMU",
        configuration: Configuration::NoIommu,
        run: no_iommu,
    },
];

/// Any of these says how a NIC is given to a user.
const BIND: &[&str] = &["ringway bind", "cargo xtask bind"];

fn forward(machine: &mut Machine, first: &str, second: &str) -> Result<Ended> {
    forwarder::run(machine, &format!("ringway forward {first} {second}"))
}

/// What can't be opened isn't bound in the first place, for the same reasons.
fn refuses_to_bind(machine: &mut Machine, address: &str, words: &[&str]) -> Result<()> {
    let answer = machine.run(&format!("ringway bind {address} --user {USER}"))?;
    let told = words.iter().chain([&address]).all(|word| answer.output.contains(word));
    if answer.status == 0 || !told {
        bail!("expected `ringway bind` to refuse {address} and to name {words:?}, saw {answer:?}");
    }
    Ok(())
}

fn no_such_address(machine: &mut Machine) -> Result<()> {
    forward(machine, NOTHING, FIRST)?.refused_with(&[
        &[NOTHING],
        &["no such", "No such", "not found", "there is no"],
        &["ringway status", "ringway ports"],
    ])
}

fn not_a_nic(machine: &mut Machine) -> Result<()> {
    forward(machine, NOT_A_NIC, FIRST)?.refused_with(&[&[NOT_A_NIC], &["network"], &["ringway ports"]])
}

fn unknown_device(machine: &mut Machine) -> Result<()> {
    forwarder::bind(machine, &[FOREIGN])?;
    let ended = forward(machine, FOREIGN, FIRST)?;
    machine.check(&format!("unbind {FOREIGN}"))?;
    ended.refused_with(&[&[FOREIGN], &["8086:10d3"], &["virtio", "1af4:1041"]])
}

fn not_bound(machine: &mut Machine) -> Result<()> {
    forward(machine, FIRST, SECOND)?.refused_with(&[&[FIRST], &["virtio-pci"], BIND])
}

fn no_rights(machine: &mut Machine) -> Result<()> {
    forwarder::bind(machine, &[FIRST, SECOND])?;
    let group = machine.check(&format!("group_of {FIRST}"))?;
    machine.check(&format!("chown root /dev/vfio/{0} && chmod 600 /dev/vfio/{0}", group.trim()))?;
    let ended = forward(machine, FIRST, SECOND)?;
    forwarder::unbind(machine, &[FIRST, SECOND])?;
    let node = format!("/dev/vfio/{}", group.trim());
    ended.refused_with(&[&[&node], &["ermission", "rights"], &["ringway bind", "cargo xtask bind", "chown"]])
}

fn group_not_viable(machine: &mut Machine) -> Result<()> {
    let [bound, other] = GROUPED;
    refuses_to_bind(machine, bound, &[other, "virtio-pci", "--group"])?;
    forwarder::bind_by_hand(machine, &[bound, SECOND])?;
    let ended = forward(machine, bound, SECOND)?;
    forwarder::unbind_by_hand(machine, &[bound, SECOND])?;
    ended.refused_with(&[&[bound], &[other], &["virtio-pci"], &["viable", "group"], &["--group", other]])?;
    ended.refused_with(&[BIND])
}

fn low_memlock(machine: &mut Machine) -> Result<()> {
    forwarder::bind(machine, &[FIRST, SECOND])?;
    // In KiB: far below what any pool needs.
    let ended = forwarder::run(machine, &format!("limited 64 ringway forward {FIRST} {SECOND}"))?;
    forwarder::unbind(machine, &[FIRST, SECOND])?;
    ended.refused_with(&[
        &["64 KiB", "65536", "64.0 KiB"],
        &["locked", "memlock"],
        &["ulimit -l", "limits.d", "limits.conf"],
    ])?;
    let quantities = quantities(&ended.errors);
    if quantities < 2 {
        bail!(
            "expected both the limit and what is needed, saw {quantities} of them:\n{}",
            ended.last_words()
        );
    }
    Ok(())
}

/// How many numbers with a unit of memory a text has.
fn quantities(text: &str) -> usize {
    let words: Vec<&str> = text.split_whitespace().collect();
    let unit = |word: &str| {
        ["KiB", "MiB", "GiB", "bytes", "kB", "MB"].contains(&word.trim_end_matches([',', ';', '.', ':', ')']))
    };
    words
        .windows(2)
        .filter(|pair| {
            matches!(pair, [number, word] if unit(word) && number.contains(|letter: char| letter.is_ascii_digit()))
        })
        .count()
}

fn bypassing(machine: &mut Machine) -> Result<()> {
    refuses_to_bind(machine, BYPASSING, &["ACCESS_PLATFORM", "iommu_platform=on"])?;
    forwarder::bind_by_hand(machine, &[BYPASSING, SECOND])?;
    let ended = forward(machine, BYPASSING, SECOND)?;
    forwarder::unbind_by_hand(machine, &[BYPASSING, SECOND])?;
    ended.refused_with(&[&[BYPASSING], &["ACCESS_PLATFORM"], &["IOMMU"], &["iommu_platform=on"]])
}

fn legacy(machine: &mut Machine) -> Result<()> {
    refuses_to_bind(machine, LEGACY, &["legacy", "disable-legacy=on"])?;
    forwarder::bind_by_hand(machine, &[LEGACY, SECOND])?;
    let ended = forward(machine, LEGACY, SECOND)?;
    forwarder::unbind_by_hand(machine, &[LEGACY, SECOND])?;
    ended.refused_with(&[
        &[LEGACY],
        &["legacy", "transitional", "VERSION_1"],
        &["disable-legacy=on", "disable-modern=off"],
    ])
}

fn no_iommu(machine: &mut Machine) -> Result<()> {
    forward(machine, FIRST, SECOND)?.refused_with(&[&[FIRST], &["IOMMU"], &["intel_iommu=on", "amd_iommu"]])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_numbers_with_a_unit() {
        assert_eq!(quantities("the limit is 64 KiB, 8.5 MiB are needed (ulimit -l 9000)"), 2);
        assert_eq!(quantities("the limit is 64 KiB too low"), 1);
        assert_eq!(quantities("no KiB at all"), 0);
    }
}
