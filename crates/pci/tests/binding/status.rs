//! What the status says of each function.

use ringway_pci::status::{FunctionStatus, Supported, status};

use crate::bind::{bind, for_ada};
use crate::fake::Fake;

pub const SUPPORTED: [Supported; 2] = [
    Supported { vendor: 0x8086, device: 0x10fb, driver: "ixgbe" },
    Supported { vendor: 0x1af4, device: 0x1041, driver: "virtio-net" },
];

fn of(fake: &Fake, address: &str) -> FunctionStatus {
    let all = status(fake, &SUPPORTED).unwrap();
    all.into_iter().find(|found| found.function.address.to_string() == address).unwrap()
}

fn obstacle(fake: &Fake, address: &str) -> String {
    of(fake, address).obstacle.unwrap_or_default()
}

#[test]
fn all_network_functions_are_listed_by_address_and_nothing_else() {
    let addresses: Vec<String> = status(&Fake::new(), &SUPPORTED)
        .unwrap()
        .iter()
        .map(|found| found.function.address.to_string())
        .collect();
    assert_eq!(addresses, ["0000:03:00.0", "0000:03:00.1", "0000:04:00.0", "0000:04:00.1", "0000:05:00.0"]);
}

#[test]
fn a_function_is_told_with_its_names_group_node_interface_and_link() {
    let fake = Fake::new();
    fake.put("usr/share/misc/pci.ids", "8086  Intel Corporation\n\t10fb  82599ES 10-Gigabit\n");
    fake.put("sys/devices/pci0000:00/0000:04:00.0/numa_node", "1\n");
    fake.set_up("eth2");
    fake.put("sys/class/net/eth2/carrier", "1\n");
    fake.put("sys/class/net/eth2/speed", "10000\n");
    fake.set_address("eth2", "192.0.2.7");
    let found = of(&fake, "0000:04:00.0");
    assert_eq!(found.vendor_name.as_deref(), Some("Intel Corporation"));
    assert_eq!(found.device_name.as_deref(), Some("82599ES 10-Gigabit"));
    assert_eq!((found.function.iommu_group, found.function.numa_node), (Some(14), Some(1)));
    let members: Vec<String> = found.group_members.iter().map(ToString::to_string).collect();
    assert_eq!(
        members,
        ["0000:00:1c.0 (driver pcieport)", "0000:04:00.1 (no driver)", "0000:04:00.2 (driver snd_hda_intel)"]
    );
    let [interface] = found.network.as_slice() else { panic!("{:?}", found.network) };
    assert_eq!((interface.name.as_str(), interface.link().as_str()), ("eth2", "up, 10000 Mbit/s"));
    assert_eq!(of(&fake, "0000:03:00.0").network[0].link(), "down");
    assert_eq!(of(&fake, "0000:03:00.0").function.numa_node, None);
}

#[test]
fn usable_is_what_this_user_could_start_now() {
    let fake = Fake::new();
    fake.run_as(1000);
    assert_eq!(obstacle(&fake, "0000:03:00.0"), "ixgbe has it: sudo ringway bind 0000:03:00.0");
    assert!(obstacle(&fake, "0000:05:00.0").contains("has no IOMMU group"));
    bind(&fake, &for_ada(&["03:00.0"])).unwrap();
    assert!(of(&fake, "0000:03:00.0").usable);

    fake.set_owner("/dev/vfio/12", 0, 0o600);
    assert_eq!(
        obstacle(&fake, "0000:03:00.0"),
        "no rights: /dev/vfio/12 belongs to root: sudo ringway bind 0000:03:00.0 --user ada"
    );
    fake.set_owner("/dev/vfio/12", 1000, 0o600);
    fake.process(4711, "ringway", 100, 1000);
    fake.link("proc/4711/fd/7", "/dev/vfio/12");
    assert_eq!(obstacle(&fake, "0000:03:00.0"), "in use by process 4711 (ringway), through /dev/vfio/12");
}

#[test]
fn a_function_no_driver_knows_is_told_with_those_that_are_known() {
    let fake = Fake::new();
    fake.add("0000:0a:00.0", 0x15b3, 0x1017, 0x02_0000, Some(30), None, false);
    assert_eq!(
        obstacle(&fake, "0000:0a:00.0"),
        "no driver of Ringway's takes 15b3:1017; there are: ixgbe 8086:10fb, virtio-net 1af4:1041"
    );
}

#[test]
fn a_bound_function_whose_group_is_not_viable_names_the_members_in_the_way() {
    let fake = Fake::new();
    fake.add_driver("vfio-pci");
    fake.put("sys/devices/pci0000:00/0000:04:00.1/driver_override", "vfio-pci\n");
    fake.attach("0000:04:00.1", "vfio-pci");
    let text = obstacle(&fake, "0000:04:00.1");
    assert!(text.contains("0000:04:00.0 (driver ixgbe), 0000:04:00.2 (driver snd_hda_intel)"), "{text}");
    assert!(text.contains("ringway bind 0000:04:00.1 --group"), "{text}");
}

#[test]
fn the_status_as_json_has_the_fields_that_scripts_look_for() {
    let fake = Fake::new();
    let json = serde_json::to_value(of(&fake, "0000:04:00.0")).unwrap();
    assert_eq!(json["address"], "0000:04:00.0");
    assert_eq!(
        (&json["vendor"], &json["device"], &json["class"]),
        (&"8086".into(), &"10fb".into(), &"020000".into())
    );
    assert_eq!(json["driver"], "ixgbe");
    assert_eq!(json["iommu_group"], 14);
    assert_eq!(json["group_members"][2]["driver"], "snd_hda_intel");
    assert_eq!(json["network"][0]["name"], "eth2");
    assert_eq!(json["usable"], false);
    assert_eq!(json["obstacle"], "ixgbe has it: sudo ringway bind 0000:04:00.0");
}
