//! The files by which a binding survives a reboot: a udev rule for each function, a limits file for each user.
//!
//! Contract: texts and places only; writing them is a step like any other. The rule finds its function by address and
//! ids, so that another card in the same slot is left alone, and the group's node by the function in it, as groups are
//! numbered anew at each boot. It works whether the function's own driver comes first (from an initramfs)
//! or not. The limits file holds for sessions that PAM's pam_limits sets up.
//!
//! Sources: udev(7), limits.conf(5).

use std::path::{Path, PathBuf};

use crate::address::Address;
use crate::sysfs::{FunctionInfo, Sysfs, User};

use super::record::Record;

/// Where the administrator's udev rules lie.
pub(crate) const RULES: &str = "/etc/udev/rules.d";
/// Where limits files lie.
pub(crate) const LIMITS: &str = "/etc/security/limits.d";
/// Where udev's own rules lie, on one distribution or another: the sign that it is there.
pub(crate) const UDEV: [&str; 2] = ["/usr/lib/udev/rules.d", "/lib/udev/rules.d"];

/// Before 80-drivers.rules, which loads the driver that the function's ids ask for.
const RULE_PREFIX: &str = "70-ringway-";
const RULE_SUFFIX: &str = ".rules";
const LIMITS_PREFIX: &str = "90-ringway-";
const LIMITS_SUFFIX: &str = ".conf";
const RECORD_MARK: &str = "#: ";

/// Where a function's rule lies.
pub(crate) fn rule_path(address: Address) -> PathBuf {
    Path::new(RULES).join(format!("{RULE_PREFIX}{address}{RULE_SUFFIX}"))
}

/// A function's rule.
pub(crate) fn rule(function: &FunctionInfo, record: &Record) -> String {
    let FunctionInfo { address, vendor, device, .. } = function;
    let mut text = format!(
        "# Written by `ringway bind --persist`; `ringway unbind --persist {address}` removes it.\n\
         # What was there before:\n"
    );
    for line in record.lines() {
        text.push_str(RECORD_MARK);
        text.push_str(&line);
        text.push('\n');
    }
    text.push_str(&format!(
        "ACTION==\"add\", SUBSYSTEM==\"pci\", KERNEL==\"{address}\", ATTR{{vendor}}==\"{vendor:#06x}\", \
         ATTR{{device}}==\"{device:#06x}\", ATTR{{driver_override}}=\"vfio-pci\", \
         RUN{{builtin}}+=\"kmod load vfio-pci\", RUN{{builtin}}+=\"kmod load vfio_iommu_type1\", \
         RUN+=\"/bin/sh -c '[ ! -e /sys/bus/pci/drivers/vfio-pci/%k ] || exit 0; \
         [ ! -e /sys/bus/pci/devices/%k/driver ] || echo %k >/sys/bus/pci/devices/%k/driver/unbind; \
         echo %k >/sys/bus/pci/drivers/vfio-pci/bind'\"\n"
    ));
    if let Some(user) = record.user {
        text.push_str(&format!(
            "ACTION!=\"remove\", SUBSYSTEM==\"vfio\", TEST==\"/sys/kernel/iommu_groups/%k/devices/{address}\", \
             OWNER=\"{user}\", MODE=\"0600\"\n"
        ));
    }
    text
}

/// What a function's rule remembers, if it has one.
pub(crate) fn record(sysfs: &Sysfs, address: Address) -> Option<Record> {
    let text = sysfs.read_optional(rule_path(address))?;
    Some(Record::from_lines(text.lines().filter_map(|line| line.strip_prefix(RECORD_MARK))))
}

/// The functions that have a rule.
pub(crate) fn ruled(sysfs: &Sysfs) -> Vec<Address> {
    let names = sysfs.list(RULES);
    let address = |name: &String| name.strip_prefix(RULE_PREFIX)?.strip_suffix(RULE_SUFFIX)?.parse().ok();
    names.iter().filter_map(address).collect()
}

/// Where a user's limits file lies.
pub(crate) fn limits_path(user: u32) -> PathBuf {
    Path::new(LIMITS).join(format!("{LIMITS_PREFIX}{user}{LIMITS_SUFFIX}"))
}

/// A user's limits file.
pub(crate) fn limits(user: &User, memlock: Option<u64>) -> String {
    format!(
        "# Written by `ringway bind --persist`; the last `ringway unbind --persist` for this user removes it.\n{}\n",
        limits_line(user, memlock)
    )
}

/// What a user's limits file is to allow: `memlock` bytes, and never less than an earlier binding wrote there, as that one
/// may need it still.
pub(crate) fn lasting(sysfs: &Sysfs, user: u32, memlock: Option<u64>) -> Option<u64> {
    let text = sysfs.read_optional(limits_path(user)).unwrap_or_default();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let earlier = lines.filter_map(|line| match line.rsplit_once(" - memlock ")?.1.trim() {
        "unlimited" => Some(None),
        number => Some(Some(number.parse::<u64>().ok()?.checked_mul(1024)?)),
    });
    earlier.fold(memlock, |limit, earlier| Some(limit?.max(earlier?)))
}

/// The users who have a limits file.
pub(crate) fn limited(sysfs: &Sysfs) -> Vec<u32> {
    let names = sysfs.list(LIMITS);
    let user = |name: &String| name.strip_prefix(LIMITS_PREFIX)?.strip_suffix(LIMITS_SUFFIX)?.parse().ok();
    names.iter().filter_map(user).collect()
}

/// The line of a limits file that lets a user lock `memlock` bytes.
pub(crate) fn limits_line(user: &User, memlock: Option<u64>) -> String {
    // A number is written as the range that ends with it.
    let who = user.name.clone().unwrap_or_else(|| format!(":{}", user.id));
    match memlock {
        Some(bytes) => format!("{who} - memlock {}", bytes.div_ceil(1024)),
        None => format!("{who} - memlock unlimited"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg_attr(miri, ignore = "it works on files")]
    fn a_rule_gives_back_what_it_was_made_to_remember() {
        let root = std::env::temp_dir().join(format!("ringway-rule-{}", std::process::id()));
        let sysfs = Sysfs::under(&root);
        let address: Address = "0000:03:00.0".parse().unwrap();
        let function = FunctionInfo {
            address,
            vendor: 0x8086,
            device: 0x10fb,
            class: 0x02_0000,
            driver: None,
            driver_override: None,
            iommu_group: Some(12),
            numa_node: None,
            interfaces: Vec::new(),
        };
        let before = Record { driver: Some("ixgbe".to_owned()), user: Some(1000), ..Record::default() };
        let path = sysfs.resolve(rule_path(address));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, rule(&function, &before)).unwrap();
        let (found, listed) = (record(&sysfs, address), ruled(&sysfs));
        std::fs::remove_dir_all(&root).unwrap();
        assert_eq!(found, Some(before));
        assert_eq!(listed, [address]);
    }

    #[test]
    fn a_limit_is_written_in_whole_kibibytes_and_never_below_what_was_asked() {
        let named = User { id: 1000, name: Some("ada".to_owned()) };
        let numbered = User { id: 1000, name: None };
        assert_eq!(limits_line(&named, Some(4097)), "ada - memlock 5");
        assert_eq!(limits_line(&numbered, None), ":1000 - memlock unlimited");
    }
}
