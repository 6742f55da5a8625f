//! "Does the IOMMU cost performance?": the same forwarding with packet memory in 4 KiB, 2 MiB and 1 GiB pages, over pools that
//! outgrow the IOMMU's cache of translations.
//!
//! A pool is used round and round, so the device goes through all of it; with small pages each buffer is a translation of its
//! own. If the rate falls with 4 KiB pages and large pools, and doesn't with 1 GiB pages, it is the IOMMU that costs.

use std::path::Path;

use anyhow::Result;
use ringway::PortName;

use super::super::tables::Table;
use super::Bench;

/// Page sizes, and where the kernel says how many are free.
const PAGES: [(&str, Option<&str>); 3] =
    [("4KiB", None), ("2MiB", Some("hugepages-2048kB")), ("1GiB", Some("hugepages-1048576kB"))];
/// Bytes of a buffer.
const BUFFER: u64 = 2048;

pub(super) fn run(bench: &Bench<'_>, pools: &[u32]) -> Result<()> {
    println!("Does the IOMMU cost performance?\n");
    for port in bench.ports {
        println!("{}", translation(&port));
    }
    let columns = bench.columns("pages, buffers");
    let mut table = Table::new(&columns);
    for (page, folder) in PAGES {
        for &pool in pools {
            let bytes = u64::from(pool) * BUFFER;
            if let Some(folder) = folder
                && free(folder) * size(folder) < bytes
            {
                println!(
                    "no {page} pages for {pool} buffers: reserve them as root, \
                     echo {} > /sys/kernel/mm/hugepages/{folder}/nr_hugepages",
                    bytes.div_ceil(size(folder))
                );
                continue;
            }
            let options = ["--largest-page", page, "--pool", &pool.to_string()].map(str::to_owned);
            let run = bench.forward(&options)?;
            table.row(super::cells(format!("{page}, {pool}"), &run));
        }
    }
    println!("\n{}", table.text());
    println!(
        "Passed through: a program that drives a card through VFIO always has translated addresses, whatever the kernel's \
         default domain is (`iommu=pt`, or `echo identity > /sys/kernel/iommu_groups/N/type` while the group has no driver), \
         and Ringway refuses to go without. What those settings change is what the kernel's own driver gets: compare it with \
         both, with `cargo xtask unbind` and a packet generator. For Ringway, 1 GiB pages come closest: one translation for \
         all of a pool."
    );
    Ok(())
}

/// What translates for a port, in words.
fn translation(port: &PortName) -> String {
    let PortName::Pci(address) = port else {
        return format!(
            "{port}: no IOMMU; a table in software stands for it, and page sizes make no difference to it"
        );
    };
    let group = Path::new("/sys/bus/pci/devices").join(address.to_string()).join("iommu_group");
    match std::fs::read_to_string(group.join("type")) {
        Ok(kind) => format!("{address}: IOMMU on, default domain {}", kind.trim()),
        Err(_) if group.exists() => format!("{address}: IOMMU on"),
        Err(_) => format!("{address}: no IOMMU"),
    }
}

fn number(folder: &str, name: &str) -> u64 {
    let path = Path::new("/sys/kernel/mm/hugepages").join(folder).join(name);
    std::fs::read_to_string(path).ok().and_then(|text| text.trim().parse().ok()).unwrap_or_default()
}

fn free(folder: &str) -> u64 {
    number(folder, "free_hugepages")
}

/// The size of a page, from its folder's name.
fn size(folder: &str) -> u64 {
    let kib = folder.trim_start_matches("hugepages-").trim_end_matches("kB").parse::<u64>();
    kib.unwrap_or(1).max(1) * 1024
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_folders_name_says_how_large_its_pages_are() {
        assert_eq!(super::size("hugepages-2048kB"), 2 << 20);
        assert_eq!(super::size("hugepages-1048576kB"), 1 << 30);
    }
}
