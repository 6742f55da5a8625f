//! `status`: the network functions of the machine, in a table.

use std::process::ExitCode;

use ringway_pci::kernel::Kernel;
use ringway_pci::status::{FunctionStatus, status};

use super::{Context, Failure, say};

/// Arguments of `status`.
#[derive(Debug, Default, clap::Args)]
pub struct Arguments {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Arguments {
    pub(super) fn run(&self, kernel: &dyn Kernel, context: &Context) -> Result<ExitCode, Failure> {
        let functions = status(kernel, context.supported)?;
        if self.json {
            say(serde_json::to_string_pretty(&functions)?)?;
        } else if functions.is_empty() {
            say("no network function on the PCI bus of this machine")?;
        } else {
            say(context.said(&report(&functions)))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

const HEADINGS: [&str; 9] =
    ["ADDRESS", "ID", "DRIVER", "GROUP", "NODE", "INTERFACE", "LINK", "USABLE", "NAME"];

/// The table, and below it what a row has no room for.
fn report(functions: &[FunctionStatus]) -> String {
    let mut lines = table(functions);
    let remarks: Vec<String> = functions.iter().flat_map(remarks).collect();
    if !remarks.is_empty() {
        lines.push(String::new());
        lines.extend(remarks);
    }
    lines.join("\n")
}

fn table(functions: &[FunctionStatus]) -> Vec<String> {
    let mut rows = vec![HEADINGS.map(str::to_owned)];
    rows.extend(functions.iter().map(row));
    let mut widths = [0; HEADINGS.len()];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let line = |row: &[String; HEADINGS.len()]| {
        let cells: Vec<String> =
            row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        cells.join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

fn row(found: &FunctionStatus) -> [String; HEADINGS.len()] {
    let function = &found.function;
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let list = |texts: Vec<String>| if texts.is_empty() { "-".to_owned() } else { texts.join("; ") };
    let name = match (&found.vendor_name, &found.device_name) {
        (Some(vendor), Some(device)) => format!("{vendor} {device}"),
        (Some(vendor), None) => vendor.clone(),
        _ => "-".to_owned(),
    };
    [
        function.address.to_string(),
        format!("{:04x}:{:04x}", function.vendor, function.device),
        or_dash(function.driver.clone()),
        or_dash(function.iommu_group.map(|group| group.to_string())),
        or_dash(function.numa_node.map(|node| node.to_string())),
        list(found.network.iter().map(|interface| interface.name.clone()).collect()),
        list(found.network.iter().map(|interface| interface.link()).collect()),
        if found.usable { "yes" } else { "no" }.to_owned(),
        name,
    ]
}

/// Why a function isn't usable, and who shares its group.
fn remarks(found: &FunctionStatus) -> Vec<String> {
    let address = found.function.address;
    let mut remarks = Vec::new();
    if let Some(obstacle) = &found.obstacle {
        // Most obstacles begin with the address themselves.
        let named = obstacle.starts_with(&address.to_string());
        remarks.push(if named { obstacle.clone() } else { format!("{address}: {obstacle}") });
    }
    if let (Some(group), false) = (found.function.iommu_group, found.group_members.is_empty()) {
        let members: Vec<String> = found.group_members.iter().map(ToString::to_string).collect();
        remarks.push(format!("{address}: shares IOMMU group {group} with {}", members.join(", ")));
    }
    remarks
}

#[cfg(test)]
mod tests {
    use ringway_pci::sysfs::{FunctionInfo, Interface, Member};

    use super::*;

    fn found(address: &str) -> FunctionStatus {
        FunctionStatus {
            function: FunctionInfo {
                address: address.parse().unwrap(),
                vendor: 0x8086,
                device: 0x10fb,
                class: 0x02_0000,
                driver: Some("ixgbe".to_owned()),
                driver_override: None,
                iommu_group: Some(12),
                numa_node: None,
                interfaces: vec!["eth0".to_owned()],
            },
            vendor_name: None,
            device_name: None,
            group_members: Vec::new(),
            network: vec![Interface {
                name: "eth0".to_owned(),
                up: true,
                carrier: Some(true),
                speed: Some(10_000),
                addresses: Vec::new(),
                default_route: false,
                upper: Vec::new(),
            }],
            ringway_driver: None,
            obstacle: Some("ixgbe has it: sudo ringway bind 0000:03:00.0".to_owned()),
            usable: false,
        }
    }

    #[test]
    fn a_table_has_a_row_for_each_function_and_a_reason_for_each_that_is_not_usable() {
        let mut usable = found("0000:03:00.1");
        usable.function.driver = Some("vfio-pci".to_owned());
        usable.network.clear();
        (usable.obstacle, usable.usable) = (None, true);
        usable.vendor_name = Some("Intel Corporation".to_owned());
        usable.device_name = Some("82599ES".to_owned());
        usable.group_members = vec![Member {
            address: "0000:00:1c.0".parse().unwrap(),
            driver: Some("pcieport".to_owned()),
            blocks: false,
        }];
        assert_eq!(
            report(&[found("0000:03:00.0"), usable]),
            "\
ADDRESS       ID         DRIVER    GROUP  NODE  INTERFACE  LINK              USABLE  NAME
0000:03:00.0  8086:10fb  ixgbe     12     -     eth0       up, 10000 Mbit/s  no      -
0000:03:00.1  8086:10fb  vfio-pci  12     -     -          -                 yes     Intel Corporation 82599ES

0000:03:00.0: ixgbe has it: sudo ringway bind 0000:03:00.0
0000:03:00.1: shares IOMMU group 12 with 0000:00:1c.0 (driver pcieport)"
        );
    }
}
