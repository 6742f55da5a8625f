//! NUMA nodes: where ports, packet memory and threads are, and a word of warning when they are apart.
//!
//! Contract: looks only. A machine that doesn't say has one node as far as this module goes.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Something that has a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    /// What it is, for a person: `port 0000:03:00.0`.
    pub what: String,
    /// The node, where known.
    pub node: Option<u32>,
}

/// The node of a processor.
pub fn node_of_core(core: usize) -> Option<u32> {
    node_of_core_in(Path::new("/sys/devices/system/cpu"), core)
}

fn node_of_core_in(cpus: &Path, core: usize) -> Option<u32> {
    let entries = fs::read_dir(cpus.join(format!("cpu{core}"))).ok()?;
    entries
        .filter_map(Result::ok)
        .find_map(|entry| entry.file_name().to_str()?.strip_prefix("node")?.parse().ok())
}

/// How many nodes the machine has.
pub fn nodes() -> usize {
    let Ok(entries) = fs::read_dir("/sys/devices/system/node") else { return 1 };
    let is_node = |name: &str| name.strip_prefix("node").is_some_and(|number| number.parse::<u32>().is_ok());
    entries
        .filter_map(Result::ok)
        .filter(|entry| entry.file_name().to_str().is_some_and(is_node))
        .count()
        .max(1)
}

/// The node that most of the memory that this process gave to devices lies on.
pub fn node_of_packet_memory() -> Option<u32> {
    // Every such region is a memory file of this name (crate `ringway-dma`).
    busiest_node(&fs::read_to_string("/proc/self/numa_maps").ok()?, "/memfd:ringway")
}

/// Adds up `N<node>=<pages>` times the page size over the lines that name `file` (proc(5), `numa_maps`).
fn busiest_node(maps: &str, file: &str) -> Option<u32> {
    let mut kibibytes: BTreeMap<u32, u64> = BTreeMap::new();
    for line in maps.lines().filter(|line| line.contains(file)) {
        let fields = || line.split_ascii_whitespace().filter_map(|field| field.split_once('='));
        let size = fields()
            .find(|(name, _)| *name == "kernelpagesize_kB")
            .and_then(|(_, size)| size.parse::<u64>().ok())
            .unwrap_or(4);
        for (name, pages) in fields() {
            let node = name.strip_prefix('N').and_then(|node| node.parse().ok());
            if let (Some(node), Ok(pages)) = (node, pages.parse::<u64>()) {
                let sum = kibibytes.entry(node).or_default();
                *sum = sum.saturating_add(pages.saturating_mul(size));
            }
        }
    }
    kibibytes.into_iter().max_by_key(|&(_, size)| size).map(|(node, _)| node)
}

/// A warning if not all of `things` are on one node; what has no known node is left out.
pub fn warning(things: &[Placed]) -> Option<String> {
    let mut by_node: BTreeMap<u32, Vec<&str>> = BTreeMap::new();
    for thing in things {
        if let Some(node) = thing.node {
            by_node.entry(node).or_default().push(&thing.what);
        }
    }
    if by_node.len() < 2 {
        return None;
    }
    let places: Vec<String> =
        by_node.iter().map(|(node, what)| format!("{} on node {node}", what.join(", "))).collect();
    Some(format!(
        "NUMA: {}; packets cross between the nodes, which costs time: use ports of one node, and --cores of the same \
         (lscpu lists them)",
        places.join("; ")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn placed(what: &str, node: Option<u32>) -> Placed {
        Placed { what: what.to_owned(), node }
    }

    #[test]
    fn things_on_different_nodes_are_named_and_unknown_places_say_nothing() {
        let apart = [
            placed("port a", Some(0)),
            placed("port b", Some(1)),
            placed("worker-0", Some(0)),
            placed("x", None),
        ];
        let warning_text = warning(&apart).unwrap();
        assert!(warning_text.contains("port a, worker-0 on node 0; port b on node 1"), "{warning_text}");
        assert_eq!(warning(&[placed("port a", Some(1)), placed("memory", Some(1)), placed("x", None)]), None);
        assert_eq!(warning(&[]), None);
    }

    #[test]
    fn packet_memory_is_where_most_of_its_bytes_are() {
        let maps = "7f0000000000 prefer:1 file=/memfd:ringway\\040(deleted) huge dirty=4 N1=4 kernelpagesize_kB=2048\n\
                    7f0010000000 default file=/memfd:ringway\\040(deleted) dirty=40 N0=40 kernelpagesize_kB=4\n\
                    7f0020000000 default heap anon=99999 N0=99999 kernelpagesize_kB=4\n";
        assert_eq!(busiest_node(maps, "/memfd:ringway"), Some(1));
        assert_eq!(busiest_node(maps, "/memfd:other"), None);
        assert_eq!(busiest_node("", "/memfd:ringway"), None);
    }

    #[test]
    fn a_processors_node_is_found_in_its_directory() {
        let tree = std::env::temp_dir().join(format!("ringway-numa-{}", std::process::id()));
        fs::create_dir_all(tree.join("cpu3/node2")).unwrap();
        fs::create_dir_all(tree.join("cpu4/cache")).unwrap();
        assert_eq!(node_of_core_in(&tree, 3), Some(2));
        assert_eq!(node_of_core_in(&tree, 4), None);
        assert_eq!(node_of_core_in(&tree, 5), None);
        fs::remove_dir_all(&tree).unwrap();
    }
}
