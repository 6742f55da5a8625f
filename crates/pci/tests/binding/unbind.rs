//! Unbinding gives each function back to the driver that was there, or leaves the binding as it was.

use std::time::Duration;

use ringway_pci::Error;
use ringway_pci::bind::{BindRequest, Outcome, UnbindRequest, plan_unbind};
use ringway_pci::kernel::Ownership;

use crate::bind::{ADA, bind, for_ada};
use crate::fake::{Failure, Fake};

fn request(functions: &[&str]) -> UnbindRequest {
    UnbindRequest {
        functions: functions.iter().map(|&name| name.to_owned()).collect(),
        ..UnbindRequest::default()
    }
}

fn unbind(fake: &Fake, request: &UnbindRequest) -> Result<Outcome, Error> {
    plan_unbind(fake, request)?.carry_out(fake)
}

#[test]
fn a_function_goes_back_to_the_driver_that_was_there_and_its_interface_is_awaited() {
    let fake = Fake::new();
    bind(&fake, &for_ada(&["03:00.0", "03:00.1"])).unwrap();
    fake.interfaces_take(Duration::from_secs(3));
    let outcome = unbind(&fake, &request(&["03:00.0"])).unwrap();
    assert_eq!(fake.driver("0000:03:00.0").as_deref(), Some("ixgbe"));
    assert_eq!(fake.driver("0000:03:00.1").as_deref(), Some("vfio-pci"));
    assert_eq!(fake.read("sys/bus/pci/devices/0000:03:00.0/driver_override").unwrap(), "(null)\n");
    assert!(fake.read("run/ringway/0000:03:00.0").is_none());
    assert_eq!(outcome.notes, ["0000:03:00.0 is back with ixgbe, interface eth0"]);
}

#[test]
fn binding_and_unbinding_leave_no_trace_but_the_modules_the_folder_and_the_limit() {
    for (names, group) in [(&["03:00.0", "03:00.1"][..], false), (&["04:00.0"][..], true)] {
        let fake = Fake::new();
        let before = fake.snapshot();
        bind(&fake, &BindRequest { persist: true, group, ..for_ada(names) }).unwrap();
        unbind(&fake, &UnbindRequest { persist: true, ..request(names) }).unwrap();
        // The second NIC of the group had no driver; the kernel's matching gives it the one that its ids ask for.
        if group {
            assert_eq!(fake.driver("0000:04:00.1").as_deref(), Some("ixgbe"));
            assert_eq!(fake.driver("0000:04:00.2").as_deref(), Some("snd_hda_intel"));
            continue;
        }
        let left: Vec<String> = fake
            .snapshot()
            .into_iter()
            .filter(|(name, text)| before.get(name) != Some(text))
            .map(|(name, _)| name)
            .collect();
        let expected = [
            "dev/vfio",
            "dev/vfio/vfio",
            "etc/security",
            "etc/security/limits.d",
            "owner of /dev/vfio/vfio",
            "proc/100/limits",
            "run/ringway",
            "sys/bus/pci/drivers/vfio-pci",
            "sys/bus/pci/drivers/vfio-pci/bind",
            "sys/bus/pci/drivers/vfio-pci/unbind",
            "sys/module/vfio_iommu_type1",
            "sys/module/vfio_iommu_type1/refcnt",
            "sys/module/vfio_pci",
            "sys/module/vfio_pci/refcnt",
        ];
        assert_eq!(left, expected);
        assert!(before.keys().all(|name| fake.snapshot().contains_key(name)));
    }
}

#[test]
fn without_names_all_that_was_bound_is_given_back() {
    let fake = Fake::new();
    bind(&fake, &for_ada(&["03:00.0"])).unwrap();
    bind(&fake, &BindRequest { group: true, ..for_ada(&["04:00.0"]) }).unwrap();
    unbind(&fake, &request(&[])).unwrap();
    for (address, driver) in
        [("0000:03:00.0", "ixgbe"), ("0000:04:00.0", "ixgbe"), ("0000:04:00.2", "snd_hda_intel")]
    {
        assert_eq!(fake.driver(address).as_deref(), Some(driver), "{address}");
    }
    assert!(matches!(unbind(&fake, &request(&[])), Err(Error::NothingNamed)));
}

#[test]
fn a_companion_goes_back_with_the_last_function_it_was_taken_for() {
    let fake = Fake::empty();
    for driver in ["ixgbe", "snd_hda_intel"] {
        fake.add_driver(driver);
    }
    fake.add("0000:04:00.0", 0x8086, 0x10fb, 0x02_0000, Some(14), Some("ixgbe"), true);
    fake.add("0000:04:00.1", 0x8086, 0x10fb, 0x02_0000, Some(14), Some("ixgbe"), true);
    fake.add("0000:04:00.2", 0x8086, 0xa170, 0x04_0300, Some(14), Some("snd_hda_intel"), false);
    bind(&fake, &BindRequest { group: true, ..for_ada(&["04:00.0", "04:00.1"]) }).unwrap();
    let outcome = unbind(&fake, &request(&["04:00.0"])).unwrap();
    assert_eq!(fake.driver("0000:04:00.2").as_deref(), Some("vfio-pci"));
    assert_eq!(fake.owner("/dev/vfio/14"), Some(ADA));
    let told = "0000:04:00.1 stays on vfio-pci but can't be opened: 0000:04:00.0 is in the same IOMMU group";
    assert!(outcome.notes.iter().any(|note| note == told), "{:?}", outcome.notes);
    bind(&fake, &for_ada(&["04:00.0"])).unwrap();
    unbind(&fake, &request(&["04:00.1", "04:00.0"])).unwrap();
    assert_eq!(fake.driver("0000:04:00.2").as_deref(), Some("snd_hda_intel"));
    assert_eq!(fake.owner("/dev/vfio/14"), None);
}

#[test]
fn whichever_write_fails_the_binding_stays_as_it_was() {
    for failure in [Failure::Refused, Failure::LateError] {
        for (names, group) in [(&["03:00.0", "03:00.1"][..], false), (&["04:00.0"][..], true)] {
            let mut number = 0;
            loop {
                let fake = Fake::new();
                bind(&fake, &BindRequest { persist: true, group, ..for_ada(names) }).unwrap();
                let before = fake.snapshot();
                fake.fail_at(number, failure);
                let result = unbind(&fake, &UnbindRequest { persist: true, ..request(names) });
                if fake.writes() <= number {
                    result.unwrap();
                    break;
                }
                let case = format!("{failure:?} at write {number} of {names:?}");
                match result {
                    Err(error @ Error::Undone { .. }) => {
                        fake.assert_as(&before, &format!("{case}: {error}"));
                        let Error::Undone { undone, .. } = error else { unreachable!() };
                        assert!(undone.left.is_empty(), "{case}: {undone}");
                    }
                    // Loading a module that the ids ask for is tried, not required.
                    Ok(_) => assert!(group, "{case}"),
                    Err(error) => panic!("{case}: {error}"),
                }
                number += 1;
            }
            assert!(number >= 9, "only {number} writes for {names:?}");
        }
    }
}

#[test]
fn an_interface_that_does_not_come_is_an_error_that_undoes_nothing() {
    let fake = Fake::new();
    bind(&fake, &for_ada(&["03:00.0"])).unwrap();
    fake.interfaces_take(Duration::from_secs(3600));
    let error = unbind(&fake, &request(&["03:00.0"])).unwrap_err();
    assert_eq!(
        error.to_string(),
        "0000:03:00.0 is back with its driver ixgbe, but its network interface has not come within 30 s: see `dmesg` \
         for what the driver says"
    );
    assert_eq!(fake.driver("0000:03:00.0").as_deref(), Some("ixgbe"));
}

#[test]
fn an_interface_that_comes_back_under_another_name_is_told() {
    let fake = Fake::new();
    bind(&fake, &for_ada(&["eth0", "eth1"])).unwrap();
    let outcome = unbind(&fake, &request(&["03:00.1"])).unwrap();
    assert_eq!(outcome.notes, ["0000:03:00.1 is back with ixgbe, interface eth0 (was eth1)"]);
}

#[test]
fn a_function_that_a_program_has_open_is_refused_and_the_program_named() {
    let fake = Fake::new();
    bind(&fake, &for_ada(&["03:00.0"])).unwrap();
    fake.process(4711, "ringway", 100, 1000);
    fake.link("proc/4711/fd/7", "/dev/vfio/12");
    let before = fake.snapshot();
    let error = unbind(&fake, &request(&["03:00.0"])).unwrap_err();
    assert_eq!(
        error.to_string(),
        "0000:03:00.0 is in use by process 4711 (ringway), through /dev/vfio/12: end it first"
    );
    fake.assert_as(&before, "");
}

#[test]
fn a_function_that_a_program_has_open_by_its_own_node_is_refused_too() {
    let fake = Fake::new();
    bind(&fake, &for_ada(&["03:00.0"])).unwrap();
    fake.put("sys/devices/pci0000:00/0000:03:00.0/vfio-dev/vfio3/dev", "511:3\n");
    fake.process(4711, "qemu", 100, 1000);
    fake.link("proc/4711/fd/7", "/dev/vfio/devices/vfio3");
    let error = unbind(&fake, &request(&["03:00.0"])).unwrap_err().to_string();
    assert!(error.ends_with("process 4711 (qemu), through /dev/vfio/devices/vfio3: end it first"), "{error}");
}

#[test]
fn a_name_that_a_process_chose_cannot_command_the_terminal() {
    let fake = Fake::new();
    bind(&fake, &for_ada(&["03:00.0"])).unwrap();
    fake.process(4711, "\u{1b}[2J\u{7}ok", 100, 1000);
    fake.link("proc/4711/fd/7", "/dev/vfio/12");
    let error = unbind(&fake, &request(&["03:00.0"])).unwrap_err().to_string();
    assert!(error.contains("process 4711 (?[2J?ok)"), "{error:?}");
}

#[test]
fn a_function_that_was_never_taken_is_left_alone() {
    let fake = Fake::new();
    let error = unbind(&fake, &request(&["03:00.0"])).unwrap_err();
    assert_eq!(
        error.to_string(),
        "0000:03:00.0 is not on vfio-pci (ixgbe has it), so there is nothing to give back"
    );
}

#[test]
fn a_function_bound_by_other_means_goes_to_the_driver_its_ids_ask_for() {
    let fake = Fake::new();
    bind(&fake, &for_ada(&["03:00.0"])).unwrap();
    fake.remove("run/ringway/0000:03:00.0");
    fake.without_driver("ixgbe");
    let outcome = unbind(&fake, &request(&["03:00.0"])).unwrap();
    assert_eq!(fake.driver("0000:03:00.0").as_deref(), Some("ixgbe"));
    assert!(
        outcome.done.contains(&"let the kernel choose a driver for 0000:03:00.0".to_owned()),
        "{outcome:?}"
    );
}

#[test]
fn a_driver_whose_module_has_gone_is_loaded_again() {
    let fake = Fake::new();
    bind(&fake, &for_ada(&["03:00.1", "03:00.0"])).unwrap();
    fake.without_driver("ixgbe");
    unbind(&fake, &request(&["03:00.0"])).unwrap();
    assert_eq!(fake.driver("0000:03:00.0").as_deref(), Some("ixgbe"));
    assert_eq!(fake.driver("0000:03:00.1").as_deref(), Some("vfio-pci"));
}

#[test]
fn another_driver_can_be_named() {
    let fake = Fake::new();
    fake.add("0000:09:00.0", 0x1af4, 0x1041, 0x02_0000, Some(20), None, true);
    bind(&fake, &for_ada(&["09:00.0"])).unwrap();
    let error = unbind(&fake, &UnbindRequest { driver: Some("ixgbe".to_owned()), ..request(&["09:00.0"]) })
        .unwrap_err();
    assert!(error.to_string().contains("'give 0000:09:00.0 to ixgbe'"), "{error}");
    assert_eq!(fake.owner("/dev/vfio/20"), Some(ADA));
    unbind(&fake, &UnbindRequest { driver: Some("virtio-pci".to_owned()), ..request(&["09:00.0"]) }).unwrap();
    assert_eq!(fake.driver("0000:09:00.0").as_deref(), Some("virtio-pci"));
}

#[test]
fn a_driver_named_for_a_nic_is_not_for_what_came_along_with_it() {
    for names in [&["04:00.0"][..], &[]] {
        let fake = Fake::new();
        bind(&fake, &BindRequest { group: true, ..for_ada(&["04:00.0"]) }).unwrap();
        unbind(&fake, &UnbindRequest { driver: Some("ixgbe".to_owned()), ..request(names) }).unwrap();
        assert_eq!(fake.driver("0000:04:00.0").as_deref(), Some("ixgbe"), "{names:?}");
        assert_eq!(fake.driver("0000:04:00.2").as_deref(), Some("snd_hda_intel"), "{names:?}");
    }
}

#[test]
fn what_is_no_driver_to_give_back_to_is_refused_and_quoted() {
    let fake = Fake::new();
    bind(&fake, &for_ada(&["03:00.0"])).unwrap();
    let before = fake.snapshot();
    for name in ["", ".", "..", "../../devices", "/ixgbe", "-r", "--remove", "vfio-pci", "vfio_pci"] {
        let error = unbind(&fake, &UnbindRequest { driver: Some(name.to_owned()), ..request(&["03:00.0"]) })
            .unwrap_err();
        assert!(error.to_string().starts_with(&format!("'{name}' is no driver")), "{error}");
        fake.assert_as(&before, name);
    }
}

#[test]
fn a_function_that_someone_gave_to_a_driver_since_stays_there_and_is_forgotten() {
    let fake = Fake::new();
    bind(&fake, &for_ada(&["03:00.0"])).unwrap();
    fake.detach("0000:03:00.0");
    fake.put("sys/devices/pci0000:00/0000:03:00.0/driver_override", "ixgbe-of-ours\n");
    fake.add_driver("ixgbe-of-ours");
    fake.attach("0000:03:00.0", "ixgbe-of-ours");
    let outcome = unbind(&fake, &request(&[])).unwrap();
    assert_eq!(outcome.done, ["remove /run/ringway/0000:03:00.0"]);
    assert_eq!(outcome.notes, ["0000:03:00.0 is not on vfio-pci: ixgbe-of-ours has it, and keeps it"]);
    assert_eq!(fake.driver("0000:03:00.0").as_deref(), Some("ixgbe-of-ours"));
    let reserved = fake.read("sys/devices/pci0000:00/0000:03:00.0/driver_override").unwrap();
    assert_eq!(reserved, "ixgbe-of-ours\n");
}

#[test]
fn what_was_kept_of_a_card_that_was_taken_out_goes_and_what_came_along_with_it_is_given_back() {
    for names in [&["04:00.0"][..], &[]] {
        let fake = Fake::new();
        bind(&fake, &BindRequest { persist: true, group: true, ..for_ada(&["04:00.0"]) }).unwrap();
        fake.take_out("0000:04:00.0");
        let outcome = unbind(&fake, &UnbindRequest { persist: true, ..request(names) }).unwrap();
        let told = "0000:04:00.0 is no longer in the machine".to_owned();
        assert!(outcome.notes.contains(&told), "{outcome:?}");
        assert_eq!(fake.driver("0000:04:00.2").as_deref(), Some("snd_hda_intel"));
        let left: Vec<String> = fake.snapshot().into_keys().filter(|name| name.contains("ringway")).collect();
        assert_eq!(left, ["run/ringway"]);
    }
}

#[test]
fn a_companion_that_was_taken_out_does_not_keep_the_rest_from_going_back() {
    let fake = Fake::new();
    bind(&fake, &BindRequest { group: true, ..for_ada(&["04:00.0"]) }).unwrap();
    fake.take_out("0000:04:00.2");
    unbind(&fake, &request(&["04:00.0"])).unwrap();
    assert_eq!(fake.driver("0000:04:00.0").as_deref(), Some("ixgbe"));
    assert_eq!(fake.read("run/ringway/0000:04:00.2"), None);
}

#[test]
fn a_reservation_that_was_there_before_comes_back() {
    let fake = Fake::new();
    fake.put("sys/devices/pci0000:00/0000:03:00.0/driver_override", "ixgbe\n");
    bind(&fake, &for_ada(&["03:00.0"])).unwrap();
    unbind(&fake, &request(&["03:00.0"])).unwrap();
    assert_eq!(fake.read("sys/devices/pci0000:00/0000:03:00.0/driver_override").unwrap(), "ixgbe\n");
    assert_eq!(fake.driver("0000:03:00.0").as_deref(), Some("ixgbe"));
}

#[test]
fn the_limits_file_of_a_user_who_has_nothing_left_goes_with_the_last_function() {
    let fake = Fake::new();
    bind(&fake, &BindRequest { persist: true, ..for_ada(&["03:00.0"]) }).unwrap();
    let bob = BindRequest { persist: true, user: Some("1001".to_owned()), ..for_ada(&["03:00.0"]) };
    bind(&fake, &bob).unwrap();
    unbind(&fake, &UnbindRequest { persist: true, ..request(&["03:00.0"]) }).unwrap();
    for user in [1000, 1001] {
        assert_eq!(fake.read(&format!("etc/security/limits.d/90-ringway-{user}.conf")), None, "{user}");
    }
}

#[test]
fn a_lasting_binding_is_known_after_a_reboot_and_ends_when_told() {
    let fake = Fake::new();
    bind(&fake, &BindRequest { persist: true, ..for_ada(&["03:00.0", "03:00.1"]) }).unwrap();
    fake.reboot();
    assert_eq!(fake.driver("0000:03:00.0"), None);
    // What the rules do at boot.
    for (address, group) in [("0000:03:00.0", 12), ("0000:03:00.1", 13)] {
        fake.put(&format!("sys/devices/pci0000:00/{address}/driver_override"), "vfio-pci\n");
        fake.attach(address, "vfio-pci");
        fake.set_owner(&format!("/dev/vfio/{group}"), 1000, 0o600);
    }
    let outcome = unbind(&fake, &request(&["03:00.0"])).unwrap();
    assert_eq!(fake.driver("0000:03:00.0").as_deref(), Some("ixgbe"));
    assert!(
        outcome.notes.iter().any(|note| note.contains("will be bound again after a reboot")),
        "{outcome:?}"
    );

    unbind(&fake, &UnbindRequest { persist: true, ..request(&["03:00.0"]) }).unwrap();
    assert!(fake.read("etc/udev/rules.d/70-ringway-0000:03:00.0.rules").is_none());
    assert!(
        fake.read("etc/security/limits.d/90-ringway-1000.conf").is_some(),
        "the other function still needs it"
    );
    assert_eq!(fake.owner("/dev/vfio/13"), Some(Ownership { user: 1000, mode: 0o600 }));

    unbind(&fake, &UnbindRequest { persist: true, ..request(&[]) }).unwrap();
    assert_eq!(fake.driver("0000:03:00.1").as_deref(), Some("ixgbe"));
    assert!(fake.read("etc/udev/rules.d/70-ringway-0000:03:00.1.rules").is_none());
    assert!(fake.read("etc/security/limits.d/90-ringway-1000.conf").is_none());
}
