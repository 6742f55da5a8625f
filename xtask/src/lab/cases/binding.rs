//! `ringway bind` and `ringway unbind`, as root, for an ordinary user.

use std::time::Duration;

use anyhow::{Result, bail};

use super::Case;
use crate::lab::configuration::{BESIDE, Configuration, FIRST, GROUPED, SECOND};
use crate::lab::forwarder;
use crate::lab::image::USER;
use crate::lab::machine::Machine;
use crate::lab::traffic::ping;

pub(super) const CASES: &[Case] = &[
    Case {
        name: "bind-forward-unbind",
        shows: "bound by `ringway bind`, forwarded as the user, unbound, and the kernel's driver works",
        configuration: Configuration::Iommu48,
        run: bind_forward_unbind,
    },
    Case {
        name: "bind-a-group",
        shows: "`ringway bind --group` takes the second device of the group too, and unbind gives both back",
        configuration: Configuration::Iommu39,
        run: bind_a_group,
    },
    Case {
        name: "bind-refuses-an-address",
        shows: "an interface that is up with an address is refused by name",
        configuration: Configuration::Iommu39,
        run: refuses_an_address,
    },
    Case {
        name: "bind-refuses-the-route",
        shows: "an interface that carries the default route is refused by name, and taken with --force",
        configuration: Configuration::Iommu39,
        run: refuses_the_default_route,
    },
    Case {
        name: "status-usable",
        shows: "`ringway status`: an 82599 and a virtio NIC become usable by `bind`, for that user",
        configuration: Configuration::EmulatedIommu,
        run: status_usable,
    },
];

fn refuses_the_default_route(machine: &mut Machine) -> Result<()> {
    let interface = machine.check(&format!("interface_of {FIRST}"))?;
    let interface = interface.trim();
    // A route needs no address on the interface.
    machine.check(&format!("ip link set {interface} up && ip route add default dev {interface}"))?;
    let refused = machine.run(&format!("ringway bind {FIRST} {SECOND} --user {USER}"))?;
    let state = machine.check(&format!("driver_of {FIRST}; driver_of {SECOND}; ip route show default"))?;
    let forced =
        machine.run(&format!("ringway bind {FIRST} --user {USER} --force && ringway unbind {FIRST}"))?;
    for word in
        [FIRST, interface, "carries the default route", &format!("ip link set {interface} down"), "--force"]
    {
        if refused.status != 1 || !refused.output.contains(word) {
            bail!("expected {interface} to be refused for its default route, with {word:?}, saw {refused:?}");
        }
    }
    if state != format!("virtio-pci\nvirtio-pci\ndefault dev {interface} scope link \n") {
        bail!("expected nothing to change, saw {state:?}");
    }
    if forced.status != 0 {
        bail!("expected --force to take it, saw {forced:?}");
    }
    // Up alone is no reason to refuse: nothing of the machine's is on it.
    machine.check(&format!(
        "ip link set $(interface_of {FIRST}) up && ringway bind {FIRST} --user {USER} && ringway unbind {FIRST}"
    ))?;
    Ok(())
}

/// The line of `ringway status` on a function, as the user sees it, split into words.
fn status_of(machine: &mut Machine, address: &str) -> Result<Vec<String>> {
    let said = machine.check("as_user ringway status")?;
    let line = said.lines().find(|line| line.starts_with(&format!("{address}  ")));
    let Some(line) = line else { bail!("expected a line on {address}, saw:\n{said}") };
    Ok(line.split_whitespace().map(str::to_owned).collect())
}

fn status_usable(machine: &mut Machine) -> Result<()> {
    const IDS: [(&str, &str); 2] = [(FIRST, "8086:10fb"), (BESIDE, "1af4:1041")];
    // With no name list in the guest, the last two columns are whether it is usable, and no name.
    let usable = |words: &[String]| words.iter().rev().nth(1).cloned().unwrap_or_default();
    for (address, id) in IDS {
        let before = status_of(machine, address)?;
        machine.check(&format!("ringway bind {address} --user {USER}"))?;
        let bound = status_of(machine, address)?;
        machine.check(&format!("chown root /dev/vfio/$(group_of {address})"))?;
        let others = status_of(machine, address)?;
        machine.check(&format!("ringway unbind {address}"))?;
        if !bound.contains(&id.to_owned()) || !bound.contains(&"vfio-pci".to_owned()) {
            bail!("expected {address} to be told as {id} with vfio-pci, saw {bound:?}");
        }
        let seen = [&before, &bound, &others].map(|words| usable(words));
        if seen != ["no", "yes", "no"] {
            bail!(
                "expected {address} to be usable while it is bound for this user and then alone, saw {seen:?}"
            );
        }
    }
    Ok(())
}

fn bind_forward_unbind(machine: &mut Machine) -> Result<()> {
    machine.check(&format!("ringway bind {FIRST} {SECOND} --user {USER}"))?;
    forwarder::start(machine, &format!("ringway forward {FIRST} {SECOND}"))?;
    let (a, b) = (machine.wire(0)?, machine.wire(1)?);
    ping::until_answered(a, b, Duration::from_secs(30))?;
    ping::without_loss(a, b, 20, 56)?;
    let refused = machine.run(&format!("ringway unbind {FIRST}"))?;
    if refused.status != 1 || !refused.output.contains(&format!("{FIRST} is in use by process")) {
        bail!(
            "expected `unbind` to refuse {FIRST} while a program has it open, and to name it, saw {refused:?}"
        );
    }
    forwarder::end(machine, "INT")?.cleanly()?;
    machine.check(&format!("ringway unbind {FIRST} {SECOND}"))?;
    // It waits for the interfaces itself, so there is nothing to wait for here.
    machine.check(&format!("has_interface {FIRST} && has_interface {SECOND}"))?;
    machine.check(&format!("bridge_of lab0 {FIRST} {SECOND}"))?;
    let (a, b) = (machine.wire(0)?, machine.wire(1)?);
    ping::until_answered(a, b, Duration::from_secs(30))?;
    machine.check("ip link del lab0")?;
    Ok(())
}

fn bind_a_group(machine: &mut Machine) -> Result<()> {
    let [named, other] = GROUPED;
    machine.check(&format!("ringway bind {named} --group --user {USER}"))?;
    let drivers = machine.check(&format!("driver_of {named}; driver_of {other}"))?;
    let opened = machine.run(&format!("as_user sh -c \"exec 3<> /dev/vfio/$(group_of {other})\""))?;
    machine.check(&format!("ringway unbind {named} {other}"))?;
    if drivers != "vfio-pci\nvfio-pci\n" || opened.status != 0 {
        bail!("expected both bound to vfio-pci and the group open to the user, saw {drivers:?} {opened:?}");
    }
    let drivers = machine.check(&format!("driver_of {named}; driver_of {other}"))?;
    if drivers != "virtio-pci\nvirtio-pci\n" {
        bail!("expected both back with virtio-pci, saw {drivers:?}");
    }
    Ok(())
}

fn refuses_an_address(machine: &mut Machine) -> Result<()> {
    let interface = machine.check(&format!("interface_of {FIRST}"))?;
    let interface = interface.trim();
    machine.check(&format!("ip addr add 192.0.2.1/24 dev {interface} && ip link set {interface} up"))?;
    let refused = machine.run(&format!("ringway bind {FIRST} --user {USER}"))?;
    let driver = machine.check(&format!("driver_of {FIRST}"))?;
    let forced =
        machine.run(&format!("ringway bind {FIRST} --user {USER} --force && ringway unbind {FIRST}"))?;
    if refused.status == 0 || !refused.output.contains(interface) || !refused.output.contains("--force") {
        bail!("expected {interface} to be refused by name, with --force as the way out, saw {refused:?}");
    }
    if driver.trim() != "virtio-pci" {
        bail!("expected nothing to change, saw {FIRST} with {driver}");
    }
    if forced.status != 0 {
        bail!("expected --force to take it, saw {forced:?}");
    }
    Ok(())
}
