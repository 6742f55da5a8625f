//! `ringway ports`: what this user can open, and why not the rest.

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::Case;
use crate::lab::configuration::{BYPASSING, Configuration, FIRST, FOREIGN, NOT_A_NIC, SECOND};
use crate::lab::forwarder;
use crate::lab::machine::Machine;

pub(super) const CASES: &[Case] = &[Case {
    name: "ports",
    shows: "the ports list says what the user can open, and why not the rest",
    configuration: Configuration::Iommu39,
    run: ports,
}];

#[derive(Debug, Deserialize)]
struct Listing {
    ports: Vec<Port>,
}

#[derive(Debug, Deserialize)]
struct Port {
    name: String,
    usable: bool,
    reason: Option<String>,
}

fn ports(machine: &mut Machine) -> Result<()> {
    forwarder::bind(machine, &[FIRST])?;
    let plain = forwarder::run(machine, "ringway ports")?;
    let json = forwarder::run(machine, "ringway ports --json")?;
    forwarder::unbind(machine, &[FIRST])?;
    plain.cleanly()?;
    let listing: Listing = serde_json::from_str(&json.cleanly()?.output)
        .with_context(|| format!("expected JSON, saw:\n{}", json.output))?;
    for (address, usable, words) in [
        (FIRST, true, &[] as &[&str]),
        (SECOND, false, &["virtio-pci"]),
        (FOREIGN, false, &["8086:10d3"]),
        (BYPASSING, false, &["IOMMU"]),
    ] {
        let Some(port) = listing.ports.iter().find(|port| port.name == address) else {
            bail!("expected {address} in the list, saw {:?}", listing.ports);
        };
        let reason = port.reason.as_deref().unwrap_or_default();
        let told = words.is_empty() || words.iter().any(|word| reason.contains(word));
        if port.usable != usable || !told || (!usable && reason.is_empty()) {
            bail!("expected usable = {usable} with a reason like {words:?}, saw {port:?}");
        }
        if !plain.output.contains(address) {
            bail!("expected {address} in the list for people, saw:\n{}", plain.output);
        }
    }
    if listing.ports.iter().any(|port| port.name == NOT_A_NIC) {
        bail!("expected no device that isn't a NIC in the list, saw {NOT_A_NIC}");
    }
    Ok(())
}
