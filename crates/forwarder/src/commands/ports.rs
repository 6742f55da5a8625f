//! `ringway ports`: what this user can open, and why not the rest.

use super::{features, print, print_json};
use crate::Error;
use crate::output::table::Table;
use crate::ports::drivers::SUPPORTED;
use clap::Args;
use ringway_pci::kernel::HostKernel;
use ringway_pci::status::{FunctionStatus, status};
use serde::Serialize;
use std::process::ExitCode;

pub(crate) const EXAMPLES: &str = "\
Examples:
  ringway ports
  ringway ports --features
  ringway ports --json | jq '.ports[] | select(.usable) | .name'";

/// The options of `ringway ports`.
#[derive(Args, Clone, Copy, Debug)]
pub struct PortsOptions {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// Print what each driver can do with its devices, and why not the rest, as a table in Markdown
    #[arg(long, conflicts_with = "json")]
    features: bool,
}

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Listing {
    ports: Vec<Listed>,
}

/// One port, or kind of port.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Listed {
    /// What to call it on the command line.
    name: String,
    /// The driver that takes it, if there is one.
    driver: Option<&'static str>,
    /// Whether this user can open it now.
    usable: bool,
    /// Why not, and the way out.
    reason: Option<String>,
    /// What it is.
    description: String,
}

/// Lists the ports.
///
/// # Errors
/// When the machine's devices can't be read, or the list can't be written.
pub fn run(options: &PortsOptions) -> Result<ExitCode, Error> {
    if options.features {
        print(&features::table()?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let functions = status(&HostKernel::new(), SUPPORTED)?;
    let listing = Listing { ports: functions.iter().map(listed).chain([emulated()]).collect() };
    if options.json {
        print_json(&listing)?
    } else {
        print(&text(&listing))?
    }
    Ok(ExitCode::SUCCESS)
}

fn listed(function: &FunctionStatus) -> Listed {
    let info = &function.function;
    let names = [function.vendor_name.as_deref(), function.device_name.as_deref()];
    let names: Vec<&str> = names.into_iter().flatten().collect();
    let ids = format!("{:04x}:{:04x}", info.vendor, info.device);
    Listed {
        name: info.address.to_string(),
        driver: function.ringway_driver,
        usable: function.usable,
        reason: function.obstacle.clone(),
        description: if names.is_empty() { ids } else { format!("{} ({ids})", names.join(" ")) },
    }
}

fn emulated() -> Listed {
    Listed {
        name: "emulated:0".to_owned(),
        driver: Some("ixgbe"),
        usable: true,
        reason: None,
        description: "an 82599 in software, with a source of packets; emulated:1, … are more of them"
            .to_owned(),
    }
}

fn text(listing: &Listing) -> String {
    let mut table = Table::left(&["port", "driver", "usable", "what it is"]);
    for port in &listing.ports {
        table.row(vec![
            port.name.clone(),
            port.driver.unwrap_or("none").to_owned(),
            if port.usable { "yes" } else { "no" }.to_owned(),
            port.description.clone(),
        ]);
    }
    let mut text = table.render();
    for port in &listing.ports {
        if let Some(reason) = &port.reason {
            // Most reasons name the function themselves.
            let name =
                if reason.starts_with(&port.name) { String::new() } else { format!("{}: ", port.name) };
            text.push_str(&format!("{name}{reason}\n"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_port_that_cannot_be_used_is_followed_by_the_reason() {
        let refused = Listed {
            name: "0000:03:00.0".to_owned(),
            driver: None,
            usable: false,
            reason: Some("ixgbe has it: sudo ringway bind 0000:03:00.0".to_owned()),
            description: "8086:10fb".to_owned(),
        };
        let text = text(&Listing { ports: vec![refused, emulated()] });
        assert!(text.contains("0000:03:00.0  none    no      8086:10fb\n"), "{text}");
        assert!(text.ends_with("\n0000:03:00.0: ixgbe has it: sudo ringway bind 0000:03:00.0\n"), "{text}");
    }
}
