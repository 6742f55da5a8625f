//! The guest itself: its IOMMU, its groups, and handing a NIC to an ordinary user.

use anyhow::{Result, bail};

use super::Case;
use crate::lab::configuration::{
    BYPASSING, Configuration, FIRST, FOREIGN, GROUPED, LEGACY, NOT_A_NIC, PLAIN, SECOND,
};
use crate::lab::forwarder;
use crate::lab::machine::Machine;

pub(super) const CASES: &[Case] = &[
    Case {
        name: "guest-boots-with-iommu-39",
        shows: "the kernel uses a 39-bit IOMMU",
        configuration: Configuration::Iommu39,
        run: boots_with_iommu,
    },
    Case {
        name: "guest-boots-with-iommu-48",
        shows: "the kernel uses a 48-bit IOMMU",
        configuration: Configuration::Iommu48,
        run: boots_with_iommu,
    },
    Case {
        name: "guest-boots-without-iommu",
        shows: "the kernel has no IOMMU and no groups",
        configuration: Configuration::NoIommu,
        run: boots_without_iommu,
    },
    Case {
        name: "groups",
        shows: "devices on ports of their own have groups of their own; those behind a bridge share one",
        configuration: Configuration::Iommu39,
        run: groups,
    },
    Case {
        name: "user-has-no-capability",
        shows: "the ordinary user of the guest has no capability and can gain none",
        configuration: Configuration::Iommu39,
        run: user_has_no_capability,
    },
    Case {
        name: "odd-devices",
        shows: "the devices of the refusal cases are what they are meant to be, and vfio-pci takes each of them",
        configuration: Configuration::Iommu39,
        run: odd_devices,
    },
    Case {
        name: "binding-for-a-user",
        shows: "vfio-pci takes a NIC, the user can open its group, and the kernel's driver gets it back",
        configuration: Configuration::Iommu39,
        run: binding_for_a_user,
    },
];

/// The register CAP of the DMA remapping unit: MGAW, the address width less one, is bits 21:16 (Intel VT-d
/// specification, 11.4.2).
fn boots_with_iommu(machine: &mut Machine) -> Result<()> {
    let Some(bits) = machine.configuration.address_bits() else { bail!("this guest has no IOMMU") };
    let groups = machine.check("ls /sys/kernel/iommu_groups | wc -l")?;
    if groups.trim().parse::<u32>()? == 0 {
        bail!("expected IOMMU groups, saw none");
    }
    let capability = machine.check("cat /sys/class/iommu/dmar0/intel-iommu/cap")?;
    let width = ((u64::from_str_radix(capability.trim(), 16)? >> 16) & 0x3f) + 1;
    if width != u64::from(bits) {
        bail!("expected an IOMMU of {bits} bits, saw {width} (capability register {})", capability.trim());
    }
    machine.check("dmesg | grep -q 'DMAR: Intel(R) Virtualization Technology for Directed I/O'")?;
    Ok(())
}

fn boots_without_iommu(machine: &mut Machine) -> Result<()> {
    let groups = machine.check("ls /sys/kernel/iommu_groups 2> /dev/null | wc -l")?;
    if groups.trim() != "0" {
        bail!("expected no IOMMU groups, saw {}", groups.trim());
    }
    Ok(())
}

fn groups(machine: &mut Machine) -> Result<()> {
    let mut group_of = |address: &str| machine.check(&format!("group_of {address}"));
    let (first, second) = (group_of(FIRST)?, group_of(SECOND)?);
    let (third, fourth) = (group_of(GROUPED[0])?, group_of(GROUPED[1])?);
    if first == second || third != fourth {
        bail!(
            "expected different groups at first and one group behind the bridge, saw {first} {second} {third} {fourth}"
        );
    }
    Ok(())
}

fn user_has_no_capability(machine: &mut Machine) -> Result<()> {
    let seen = machine
        .check("as_user sh -c 'id -u; grep -E \"^(Cap(Inh|Prm|Eff|Amb)|NoNewPrivs)\" /proc/self/status'")?;
    let expected = "1000\nCapInh:\t0000000000000000\nCapPrm:\t0000000000000000\nCapEff:\t0000000000000000\n\
                    CapAmb:\t0000000000000000\nNoNewPrivs:\t1\n";
    if seen != expected {
        bail!("expected {expected:?}, saw {seen:?}");
    }
    Ok(())
}

fn odd_devices(machine: &mut Machine) -> Result<()> {
    // The modern virtio ids are 0x1040 and the device's type: 1 is a NIC, 4 gives entropy.
    for (address, expected, class) in [
        (BYPASSING, "1af4:1041", "0x020000"),
        (FOREIGN, "8086:10d3", "0x020000"),
        (LEGACY, "1af4:1000", "0x020000"),
        (NOT_A_NIC, "1af4:1044", "0x"),
        (PLAIN, "1af4:1041", "0x020000"),
        (GROUPED[0], "1af4:1041", "0x020000"),
        (GROUPED[1], "1af4:1041", "0x020000"),
    ] {
        let seen = machine.check(&format!(
            "cd /sys/bus/pci/devices/{address} && sed 's/0x//' vendor device | tr '\\n' ':'; cat class"
        ))?;
        if !seen.starts_with(expected) || !seen.contains(class) {
            bail!("expected {expected} of class {class} at {address}, saw {seen}");
        }
        forwarder::bind_by_hand(machine, &[address])?;
        forwarder::unbind_by_hand(machine, &[address])?;
    }
    // Bit 33 of the features that the device offers, as the kernel took them: ACCESS_PLATFORM.
    let mut bit = |address: &str| {
        machine.check(&format!("await 20 test -e /sys/bus/pci/devices/{address}/virtio*/features; cut -c34 /sys/bus/pci/devices/{address}/virtio*/features"))
    };
    let (wired, bypassing) = (bit(FIRST)?, bit(BYPASSING)?);
    if wired.trim() != "1" || bypassing.trim() != "0" {
        bail!("expected ACCESS_PLATFORM at {FIRST} and not at {BYPASSING}, saw {wired}{bypassing}");
    }
    Ok(())
}

fn binding_for_a_user(machine: &mut Machine) -> Result<()> {
    forwarder::bind(machine, &[FIRST])?;
    machine.check(&format!("as_user sh -c \"exec 3<> /dev/vfio/$(group_of {FIRST})\""))?;
    machine.check("as_user sh -c 'exec 3<> /dev/vfio/vfio'")?;
    forwarder::unbind(machine, &[FIRST])?;
    let seen = machine.check(&format!("driver_of {FIRST}"))?;
    // The function's own driver is virtio-pci; virtio_net sits on the device that it makes.
    if seen.trim() != "virtio-pci" {
        bail!("expected the driver virtio-pci after giving the NIC back, saw {seen:?}");
    }
    Ok(())
}
