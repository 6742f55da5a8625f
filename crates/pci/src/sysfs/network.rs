//! What the kernel does with a network interface: up, addresses, routes, what is stacked on it.
//!
//! Contract: facts only, readable without root. Addresses come from the kernel through [`crate::kernel::Kernel`], as
//! sysfs doesn't have them.
//!
//! Limit: interfaces of another network namespace can't be seen from this one.
//!
//! Not here: whether such an interface may be taken away (see `bind`).

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::Sysfs;

/// Interface flag IFF_UP (linux/if.h).
pub(crate) const FLAG_UP: u32 = 0x1;
/// Route flags RTF_UP and RTF_REJECT (linux/route.h).
const ROUTE_UP: u32 = 0x1;
const ROUTE_REJECT: u32 = 0x200;

/// One network interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Whether it was set up (`ip link set … up`).
    pub up: bool,
    /// Whether there is a link; `None` while the interface is down, when the kernel doesn't say.
    pub carrier: Option<bool>,
    /// The link's speed in Mbit/s, where the driver says.
    pub speed: Option<u32>,
    /// Its IP addresses.
    pub addresses: Vec<IpAddr>,
    /// Whether a default route, of IPv4 or IPv6, goes out by it.
    pub default_route: bool,
    /// Interfaces that stand on it: a bridge or a bond that it belongs to, its VLANs.
    pub upper: Vec<String>,
}

impl Interface {
    /// The link in a word or two, as a table shows it.
    pub fn link(&self) -> String {
        match (self.up, self.carrier, self.speed) {
            (false, ..) => "down".to_owned(),
            (true, Some(true), Some(speed)) => format!("up, {speed} Mbit/s"),
            (true, Some(true), None) => "up".to_owned(),
            (true, ..) => "no link".to_owned(),
        }
    }
}

/// An interface's folder in sysfs.
pub(crate) fn interface_path(name: &str) -> PathBuf {
    Path::new("/sys/class/net").join(name)
}

impl Sysfs {
    /// The facts on one interface; `addresses` are those of all interfaces of the machine.
    pub fn interface(&self, name: &str, addresses: &[(String, IpAddr)]) -> Interface {
        let path = interface_path(name);
        let mut upper = self.list(&path);
        upper.retain(|entry| entry.starts_with("upper_"));
        let mut upper: Vec<String> =
            upper.iter().map(|entry| entry.trim_start_matches("upper_").to_owned()).collect();
        if let Some(master) = self.link_name(path.join("master"))
            && !upper.contains(&master)
        {
            upper.push(master);
        }
        Interface {
            name: name.to_owned(),
            up: self.interface_flags(name).is_some_and(|flags| flags & FLAG_UP != 0),
            carrier: self.read_optional(path.join("carrier")).map(|carrier| carrier == "1"),
            // -1 where the driver doesn't know; 4294967295 in older kernels.
            speed: self
                .read_optional(path.join("speed"))
                .and_then(|speed| speed.parse().ok())
                .filter(|speed| *speed > 0 && *speed < u32::MAX),
            addresses: addresses
                .iter()
                .filter(|(owner, _)| owner == name)
                .map(|(_, address)| *address)
                .collect(),
            default_route: self.default_routes().iter().any(|owner| owner == name),
            upper,
        }
    }

    /// An interface's flags (IFF_UP and so on).
    pub(crate) fn interface_flags(&self, name: &str) -> Option<u32> {
        let text = self.read_optional(interface_path(name).join("flags"))?;
        u32::from_str_radix(text.strip_prefix("0x")?, 16).ok()
    }

    /// The interfaces by which a default route goes out.
    fn default_routes(&self) -> Vec<String> {
        let mut owners = Vec::new();
        // Iface Destination Gateway Flags RefCnt Use Metric Mask …
        for line in self.read_optional("/proc/net/route").unwrap_or_default().lines() {
            let fields: Vec<&str> = line.split_whitespace().collect();
            if let [name, "00000000", _, flags, _, _, _, "00000000", ..] = fields.as_slice()
                && usable_route(flags)
            {
                owners.push((*name).to_owned());
            }
        }
        // Destination, its prefix length, source, its prefix length, next hop, metric, references, uses, flags, Iface
        for line in self.read_optional("/proc/net/ipv6_route").unwrap_or_default().lines() {
            let fields: Vec<&str> = line.split_whitespace().collect();
            if let [destination, "00", _, _, _, _, _, _, flags, name] = fields.as_slice()
                && destination.bytes().all(|digit| digit == b'0')
                && usable_route(flags)
            {
                owners.push((*name).to_owned());
            }
        }
        owners
    }
}

/// Whether a route with these flags leads anywhere.
fn usable_route(flags: &str) -> bool {
    u32::from_str_radix(flags, 16).is_ok_and(|flags| flags & ROUTE_UP != 0 && flags & ROUTE_REJECT == 0)
}
