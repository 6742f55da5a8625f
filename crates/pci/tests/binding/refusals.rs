//! What binding refuses, and in which words.

use ringway_pci::bind::{BindRequest, plan_bind};

use crate::bind::{bind, for_ada};
use crate::fake::Fake;

/// The refusal in words; the machine must be as before.
fn refusal(fake: &Fake, request: &BindRequest) -> String {
    let before = fake.snapshot();
    let error = plan_bind(fake, request).expect_err("this should have been refused");
    assert_eq!(fake.writes(), 0);
    fake.assert_as(&before, "");
    error.to_string()
}

#[track_caller]
fn assert_begins(text: &str, beginning: &str) {
    assert!(text.starts_with(beginning), "{text}\nshould begin: {beginning}");
}

fn forced(request: BindRequest) -> BindRequest {
    BindRequest { force: true, ..request }
}

#[test]
fn what_is_not_there_or_not_named_is_refused() {
    let fake = Fake::new();
    assert_begins(&refusal(&fake, &for_ada(&[])), "no function was named: `ringway status` lists");
    assert_begins(&refusal(&fake, &for_ada(&["0000:77:00.0"])), "there is no PCI function at 0000:77:00.0");
    assert_begins(
        &refusal(&fake, &for_ada(&["eth77"])),
        "'eth77' is no PCI address: write domain:bus:device.function",
    );
    fake.put("sys/class/net/br0/flags", "0x1003\n");
    assert_begins(&refusal(&fake, &for_ada(&["br0"])), "br0 is a network interface, but no PCI function's");
    let request = BindRequest { user: Some("eve".to_owned()), ..for_ada(&["03:00.0"]) };
    assert_begins(&refusal(&fake, &request), "there is no user 'eve' on this machine");
    // To chown, this number means that the owner stays.
    for name in ["4294967295", "4294967296", "-1", ""] {
        let request = BindRequest { user: Some(name.to_owned()), ..for_ada(&["03:00.0"]) };
        assert_begins(&refusal(&fake, &request), &format!("there is no user '{name}' on this machine"));
    }
}

#[test]
fn a_device_of_another_kind_is_refused_by_its_kind_even_if_forced() {
    let text = refusal(&Fake::new(), &forced(for_ada(&["08:00.0"])));
    assert_begins(&text, "0000:08:00.0 is no network function but a storage controller (class 010601)");
}

#[test]
fn a_function_without_an_iommu_is_refused_even_if_forced() {
    let fake = Fake::new();
    assert_begins(&refusal(&fake, &forced(for_ada(&["05:00.0"]))), "0000:05:00.0 has no IOMMU group");
    // The kernel can be told to pretend.
    fake.put("sys/kernel/iommu_groups/12/name", "vfio-noiommu\n");
    assert_begins(&refusal(&fake, &forced(for_ada(&["03:00.0"]))), "0000:03:00.0 has no IOMMU group");
}

#[test]
fn an_interface_with_the_default_route_is_refused_by_name() {
    let fake = Fake::new();
    fake.put("proc/net/route", "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\neth0\t00000000\t0100A8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n");
    let text = refusal(&fake, &for_ada(&["03:00.0"]));
    assert_eq!(
        text,
        "0000:03:00.0 is in use: its interface eth0 carries the default route. Set the interface down (`ip link set \
         eth0 down`), or take it all the same with --force"
    );
    bind(&fake, &for_ada(&["03:00.1"])).unwrap();
    bind(&fake, &forced(for_ada(&["03:00.0"]))).unwrap();
}

#[test]
fn a_default_route_of_ipv6_counts_and_a_rejecting_one_does_not() {
    let fake = Fake::new();
    let zeros = "0".repeat(32);
    let route = |flags: &str, name: &str| {
        format!(
            "{zeros} 00 {zeros} 00 fe800000000000000000000000000001 00000400 00000001 00000000 {flags}     {name}\n"
        )
    };
    fake.put("proc/net/ipv6_route", &(route("00200200", "eth1") + &route("00000003", "eth0")));
    assert!(refusal(&fake, &for_ada(&["03:00.0"])).contains("eth0 carries the default route"));
    bind(&fake, &for_ada(&["03:00.1"])).unwrap();
}

#[test]
fn an_interface_that_is_up_with_an_address_is_refused_and_one_without_either_is_not() {
    let fake = Fake::new();
    fake.set_address("eth0", "192.0.2.1");
    fake.set_address("eth0", "fe80::1");
    fake.set_up("eth0");
    fake.set_up("eth1");
    let text = refusal(&fake, &for_ada(&["03:00.0"]));
    assert!(text.contains("its interface eth0 is up with address 192.0.2.1, fe80::1"), "{text}");
    // Down with an address; up without one.
    fake.put("sys/class/net/eth0/flags", "0x1002\n");
    bind(&fake, &for_ada(&["03:00.0", "03:00.1"])).unwrap();
}

#[test]
fn an_interface_that_carries_a_bridge_is_refused_though_it_has_no_address() {
    let fake = Fake::new();
    fake.put("sys/devices/virtual/net/br0/flags", "0x1003\n");
    fake.link("sys/class/net/eth0/master", "../../../../virtual/net/br0");
    fake.link("sys/class/net/eth0/upper_eth0.7", "../../../../virtual/net/eth0.7");
    let text = refusal(&fake, &for_ada(&["03:00.0"]));
    assert!(text.contains("its interface eth0 carries eth0.7, br0"), "{text}");
    assert!(text.contains("Take eth0 out of eth0.7, br0"), "{text}");
}

#[test]
fn a_function_with_virtual_functions_at_work_is_refused() {
    let fake = Fake::new();
    fake.put("sys/devices/pci0000:00/0000:03:00.0/sriov_numvfs", "4\n");
    let text = refusal(&fake, &for_ada(&["03:00.0"]));
    assert!(text.contains("4 virtual functions of it are at work"), "{text}");
    assert!(text.contains("echo 0 > /sys/bus/pci/devices/0000:03:00.0/sriov_numvfs"), "{text}");
}

#[test]
fn a_group_with_others_is_refused_with_the_members_their_drivers_and_the_command() {
    let fake = Fake::new();
    let text = refusal(&fake, &for_ada(&["04:00.0"]));
    assert_eq!(
        text,
        "IOMMU group 14 is not viable for 0000:04:00.0: the kernel holds 0000:04:00.2 (driver snd_hda_intel) in the same \
         group. Take the whole group: ringway bind 0000:04:00.0 --group"
    );
    // Force is for what is in use; it makes no group viable.
    assert_eq!(refusal(&fake, &forced(for_ada(&["04:00.0"]))), text);
}

#[test]
fn a_bridge_in_the_way_is_told_as_such() {
    let fake = Fake::new();
    fake.add_driver("shpchp");
    fake.add("0000:00:1d.0", 0x8086, 0xa111, 0x06_0400, Some(14), Some("shpchp"), false);
    let text = refusal(&fake, &BindRequest { group: true, ..for_ada(&["04:00.0"]) });
    assert!(
        text.contains("0000:00:1d.0 is a bridge and can't be taken: move the card to another slot"),
        "{text}"
    );
}

#[test]
fn a_disk_or_the_screen_in_the_group_is_not_taken_along() {
    let fake = Fake::new();
    fake.add("0000:04:00.3", 0x8086, 0xa102, 0x01_0601, Some(14), Some("ahci"), false);
    fake.link("sys/block/sda", "../devices/pci0000:00/0000:04:00.3/ata1/host0/block/sda");
    let request = BindRequest { group: true, ..for_ada(&["04:00.0"]) };
    assert_begins(&refusal(&fake, &request), "0000:04:00.3 is in use: the disk sda hangs on it");
    fake.remove("sys/block/sda");
    fake.put("sys/devices/pci0000:00/0000:04:00.2/boot_vga", "1\n");
    assert_begins(&refusal(&fake, &request), "0000:04:00.2 is in use: it is the machine's screen");
}

#[test]
fn a_virtio_device_that_goes_around_the_iommu_is_refused_even_if_forced() {
    let fake = Fake::new();
    fake.add("0000:06:00.0", 0x1af4, 0x1000, 0x02_0000, Some(15), Some("virtio-pci"), false);
    let text = refusal(&fake, &forced(for_ada(&["06:00.0"])));
    assert_begins(&text, "0000:06:00.0 goes around the IOMMU (a virtio device with the legacy interface)");
    assert!(text.contains("iommu_platform=on"), "{text}");

    fake.add("0000:07:00.0", 0x1af4, 0x1041, 0x02_0000, Some(16), Some("virtio-pci"), false);
    let virtio = "sys/devices/pci0000:00/0000:07:00.0/virtio3";
    let features = |platform: char| format!("{}{platform}{}\n", "0".repeat(33), "0".repeat(30));
    // Not driven: nothing was negotiated, and nothing can be told.
    fake.put(&format!("{virtio}/features"), &features('0'));
    plan_bind(&fake, &for_ada(&["07:00.0"])).unwrap();
    fake.link(&format!("{virtio}/driver"), "../../../../bus/virtio/drivers/virtio_net");
    let text = refusal(&fake, &forced(for_ada(&["07:00.0"])));
    assert_begins(
        &text,
        "0000:07:00.0 goes around the IOMMU (a virtio device without VIRTIO_F_ACCESS_PLATFORM)",
    );
    fake.put(&format!("{virtio}/features"), &features('1'));
    plan_bind(&fake, &for_ada(&["07:00.0"])).unwrap();
}

#[test]
fn a_lasting_binding_without_udev_is_refused() {
    let fake = Fake::new();
    fake.remove("usr/lib/udev");
    let text = refusal(&fake, &BindRequest { persist: true, ..for_ada(&["03:00.0"]) });
    assert_begins(&text, "there is no udev on this machine (/usr/lib/udev/rules.d is missing)");
}

#[test]
fn an_attribute_that_makes_no_sense_is_named_with_its_path() {
    let fake = Fake::new();
    for (file, text) in [("class", "network"), ("vendor", "0x123456"), ("device", "")] {
        let path = format!("sys/devices/pci0000:00/0000:03:00.0/{file}");
        let good = fake.read(&path).unwrap();
        fake.put(&path, text);
        let error = refusal(&fake, &for_ada(&["03:00.0"]));
        assert_begins(&error, &format!("/sys/bus/pci/devices/0000:03:00.0/{file} holds "));
        fake.put(&path, &good);
    }
}
