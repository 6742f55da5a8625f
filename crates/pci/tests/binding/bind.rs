//! Binding does all that was asked, or leaves the machine as it was.

use ringway_pci::Error;
use ringway_pci::bind::{BindRequest, Outcome, UnbindRequest, plan_bind, plan_unbind};
use ringway_pci::kernel::Ownership;

use crate::fake::{Failure, Fake};

pub const ADA: Ownership = Ownership { user: 1000, mode: 0o600 };

/// A request for ada with as much locked memory as she likes to 64 MiB.
pub fn for_ada(functions: &[&str]) -> BindRequest {
    BindRequest {
        functions: functions.iter().map(|&name| name.to_owned()).collect(),
        user: Some("ada".to_owned()),
        memlock: Some(64 << 20),
        ..BindRequest::default()
    }
}

pub fn bind(fake: &Fake, request: &BindRequest) -> Result<Outcome, Error> {
    plan_bind(fake, request)?.carry_out(fake)
}

#[test]
fn a_bound_function_is_on_vfio_and_its_group_is_the_users() {
    let fake = Fake::new();
    let outcome = bind(&fake, &for_ada(&["03:00.0"])).unwrap();
    assert_eq!(fake.driver("0000:03:00.0").as_deref(), Some("vfio-pci"));
    assert_eq!(fake.owner("/dev/vfio/12"), Some(ADA));
    assert_eq!(fake.driver("0000:03:00.1").as_deref(), Some("ixgbe"));
    assert!(
        fake.read("run/ringway/0000:03:00.0").unwrap().contains("driver=ixgbe\ninterface=eth0\nuser=1000\n")
    );
    assert!(fake.read("sys/module/vfio_iommu_type1/refcnt").is_some());
    assert_eq!(
        outcome.done,
        [
            "load module vfio-pci",
            "load module vfio_iommu_type1",
            "make folder /run/ringway",
            "write /run/ringway/0000:03:00.0",
            "take 0000:03:00.0 from ixgbe",
            "reserve 0000:03:00.0 for vfio-pci",
            "give 0000:03:00.0 to vfio-pci",
            "give /dev/vfio/12 to user 1000 (mode 0600)",
            "set the locked-memory limit of process 100 (bash) to 64 MiB",
        ]
    );
}

#[test]
fn a_plan_that_is_only_shown_changes_nothing() {
    let fake = Fake::new();
    let before = fake.snapshot();
    let request = BindRequest { persist: true, group: true, ..for_ada(&["04:00.0", "eth0"]) };
    let plan = plan_bind(&fake, &request).unwrap();
    assert!(plan.steps().iter().any(|step| step == "give 0000:04:00.0 to vfio-pci"), "{:?}", plan.steps());
    assert_eq!(fake.writes(), 0);
    fake.assert_as(&before, "");
}

/// The requests that every failure is tried on.
fn requests() -> Vec<BindRequest> {
    vec![
        for_ada(&["0000:03:00.0"]),
        BindRequest { persist: true, ..for_ada(&["eth0", "03:00.1"]) },
        BindRequest { persist: true, group: true, ..for_ada(&["04:00.0"]) },
        BindRequest { functions: vec!["03:00.0".to_owned()], ..BindRequest::default() },
    ]
}

#[test]
fn whichever_write_fails_the_machine_is_as_before_and_the_error_says_what_was_undone() {
    for failure in [Failure::Refused, Failure::LateError] {
        for request in requests() {
            let mut number = 0;
            loop {
                let fake = Fake::new();
                fake.set_up("eth0");
                let before = fake.snapshot();
                fake.fail_at(number, failure);
                let result = bind(&fake, &request);
                if fake.writes() <= number {
                    result.unwrap();
                    break;
                }
                let case = format!("{failure:?} at write {number} of {request:?}");
                let error = result.expect_err(&case);
                let text = error.to_string();
                let Error::Undone { undone, .. } = error else { panic!("{case}: {text}") };
                fake.assert_as(&before, &format!("{case}: {text}"));
                assert!(undone.left.is_empty(), "{case}: {text}");
                // Each write before the failed one has a reverse that is named, and no more than that.
                let reversed = number + usize::from(failure == Failure::LateError);
                let interfaces = undone.put_back.iter().filter(|step| step.contains("set eth0 up")).count();
                let owners = undone.put_back.iter().filter(|step| step.contains("give /dev/vfio")).count();
                assert!(undone.put_back.len() - interfaces <= reversed, "{case}: {text}");
                assert!(undone.put_back.len() + owners + 2 >= reversed, "{case}: {text}");
                for step in &undone.put_back {
                    assert!(text.contains(step.as_str()), "{case}: {text}");
                }
                number += 1;
            }
            assert!(number >= 6, "only {number} writes for {request:?}");
        }
    }
}

#[test]
fn a_signal_at_whichever_moment_leaves_the_machine_as_before() {
    for request in requests() {
        let mut number = 0;
        loop {
            let fake = Fake::new();
            fake.set_up("eth0");
            let before = fake.snapshot();
            fake.interrupt_after(number);
            let Err(error) = bind(&fake, &request) else { break };
            let case = format!("after write {number} of {request:?}");
            let text = error.to_string();
            assert!(text.contains("interrupted by a signal"), "{case}: {text}");
            fake.assert_as(&before, &format!("{case}: {text}"));
            number += 1;
        }
        assert!(number >= 5, "only {number} writes for {request:?}");
    }
}

#[test]
fn whichever_write_fails_a_binding_that_was_to_change_hands_stays_with_its_user() {
    for failure in [Failure::Refused, Failure::LateError] {
        let mut number = 0;
        loop {
            let fake = Fake::new();
            bind(&fake, &for_ada(&["03:00.0"])).unwrap();
            fake.set_owner("/dev/vfio/vfio", 0, 0o660);
            fake.put("etc/passwd", "root:x:0:0::/:/bin/sh\nbob:x:1001:1001::/:/bin/sh\n");
            fake.process(100, "bash", 1, 1001);
            let before = fake.snapshot();
            fake.fail_at(number, failure);
            let request =
                BindRequest { user: Some("bob".to_owned()), persist: true, ..for_ada(&["03:00.0"]) };
            let result = bind(&fake, &request);
            if fake.writes() <= number {
                result.unwrap();
                assert_eq!(fake.owner("/dev/vfio/12"), Some(Ownership { user: 1001, mode: 0o600 }));
                break;
            }
            let error = result.unwrap_err();
            fake.assert_as(&before, &format!("{failure:?} at write {number}: {error}"));
            number += 1;
        }
        // Record, rule, both nodes, limits file and its folders, limit.
        assert_eq!(number, 8);
    }
}

#[test]
fn an_undone_binding_names_each_thing_put_back_in_its_order() {
    let fake = Fake::new();
    fake.set_up("eth0");
    fake.vfio_refuses("0000:03:00.0");
    let error = bind(&fake, &for_ada(&["03:00.0"])).unwrap_err();
    assert_eq!(
        error.to_string(),
        "'give 0000:03:00.0 to vfio-pci' (a write to /sys/bus/pci/drivers/vfio-pci/bind) failed: Invalid argument \
         (os error 22). Everything is as it was; undone: reserve 0000:03:00.0 for no driver; give 0000:03:00.0 to ixgbe; \
         set eth0 up; remove /run/ringway/0000:03:00.0; remove folder /run/ringway; unload module vfio_iommu_type1; \
         unload module vfio-pci"
    );
    assert_eq!(fake.read("sys/class/net/eth0/flags").unwrap().trim(), "0x1003");
}

#[test]
fn a_driver_that_accepts_a_function_and_does_not_take_it_is_noticed() {
    let fake = Fake::new();
    let before = fake.snapshot();
    fake.vfio_ignores("0000:03:00.0");
    let error = bind(&fake, &for_ada(&["03:00.0"])).unwrap_err().to_string();
    assert!(
        error.starts_with("0000:03:00.0 was to go to vfio-pci, but no driver has it: see `dmesg`"),
        "{error}"
    );
    fake.assert_as(&before, "");
}

#[test]
fn what_cannot_be_undone_is_said_and_does_not_keep_the_rest_from_being_undone() {
    let fake = Fake::new();
    // Write number 8 is the taking of the second function; from there on ixgbe takes nothing back.
    fake.fail_at(8, Failure::Refused);
    fake.fail_undo_of("ixgbe/bind");
    let error = bind(&fake, &for_ada(&["03:00.0", "03:00.1"])).unwrap_err();
    let text = error.to_string();
    let Error::Undone { undone, .. } = error else { panic!("{text}") };
    assert!(text.contains("NOT undone: 'give 0000:03:00.1 to ixgbe'"), "{text}");
    assert!(
        !undone.left.is_empty()
            && undone
                .left
                .iter()
                .all(|step| step.contains("to ixgbe") || step.contains("await the interface")),
        "{text}"
    );
    assert!(undone.put_back.contains(&"reserve 0000:03:00.1 for no driver".to_owned()), "{text}");
    assert!(undone.put_back.contains(&"unload module vfio-pci".to_owned()), "{text}");
    assert_eq!(fake.driver("0000:03:00.1"), None);
}

#[test]
fn an_interface_that_comes_back_under_another_name_is_told() {
    let fake = Fake::new();
    // eth0 is free now, and the kernel gives the lowest name that is free.
    bind(&fake, &for_ada(&["eth0"])).unwrap();
    fake.set_up("eth1");
    fake.vfio_refuses("0000:03:00.1");
    let error = bind(&fake, &for_ada(&["eth1"])).unwrap_err().to_string();
    assert!(error.contains("NOT undone: 'set eth1 up' failed: eth1 came back as eth0"), "{error}");
    assert_eq!(fake.read("sys/class/net/eth0/flags").unwrap().trim(), "0x1003");
}

#[test]
fn the_addresses_of_an_interface_taken_by_force_are_named_as_lost_when_it_comes_back() {
    let fake = Fake::new();
    fake.set_up("eth0");
    fake.set_address("eth0", "192.0.2.1");
    fake.vfio_refuses("0000:03:00.0");
    let request = BindRequest { force: true, ..for_ada(&["03:00.0"]) };
    let error = bind(&fake, &request).unwrap_err().to_string();
    assert!(error.ends_with("the addresses of eth0 (192.0.2.1) and its routes; set them again"), "{error}");
}

#[test]
fn a_bridge_and_virtual_functions_taken_by_force_are_named_as_lost() {
    let fake = Fake::new();
    fake.link("sys/class/net/eth0/master", "../../net/br0");
    fake.put("sys/devices/pci0000:00/0000:03:00.0/sriov_numvfs", "4\n");
    fake.vfio_refuses("0000:03:00.0");
    let request = BindRequest { force: true, ..for_ada(&["03:00.0"]) };
    let error = bind(&fake, &request).unwrap_err().to_string();
    for lost in ["br0 on eth0; set that up again", "4 virtual functions of 0000:03:00.0; begin them again"] {
        assert!(error.contains(&format!("What no undoing brings back: {lost}")), "{error}");
    }
}

#[test]
fn a_module_that_cannot_be_loaded_is_reported_in_modprobes_words() {
    let fake = Fake::new();
    let before = fake.snapshot();
    fake.module_fails("vfio-pci");
    let error = bind(&fake, &for_ada(&["03:00.0"])).unwrap_err().to_string();
    assert_eq!(
        error,
        "module vfio-pci can't be loaded: modprobe: FATAL: Module vfio-pci not found. `ringway doctor` says what would help. \
         Nothing had been changed"
    );
    fake.assert_as(&before, "");
}

#[test]
fn a_killed_binding_is_put_right_by_unbind() {
    for request in requests() {
        let mut number = 0;
        loop {
            let fake = Fake::new();
            // A function without driver would get the one that its ids ask for.
            fake.attach("0000:04:00.1", "ixgbe");
            // What binding leaves in a machine for good.
            fake.with_module("vfio-pci");
            fake.with_module("vfio_iommu_type1");
            fake.put("run/ringway/.keep", "");
            fake.put("etc/security/limits.d/.keep", "");
            let before = fake.snapshot();
            fake.fail_at(number, Failure::Killed);
            let killed = bind(&fake, &request);
            let writes = fake.writes();
            fake.heal();
            fake.set_limits(100, "8388608", "8388608");
            let unbind = UnbindRequest { persist: true, ..UnbindRequest::default() };
            match plan_unbind(&fake, &unbind) {
                Ok(plan) => drop(plan.carry_out(&fake).unwrap()),
                Err(Error::NothingNamed) => {}
                Err(error) => panic!("{error}"),
            }
            fake.assert_as(&before, &format!("killed at write {number} of {request:?}"));
            if writes <= number {
                killed.unwrap();
                break;
            }
            number += 1;
        }
        assert!(number >= 4, "only {number} writes for {request:?}");
    }
}

#[test]
fn a_killed_binding_that_is_done_again_still_knows_what_was_there_before() {
    for request in requests() {
        let mut number = 0;
        loop {
            let fake = Fake::new();
            fake.with_module("vfio-pci");
            fake.with_module("vfio_iommu_type1");
            fake.put("run/ringway/.keep", "");
            fake.put("etc/security/limits.d/.keep", "");
            fake.attach("0000:04:00.1", "ixgbe");
            // A driver that would get its functions by no other way than by name.
            for address in ["0000:03:00.0", "0000:03:00.1", "0000:04:00.0", "0000:04:00.1"] {
                fake.put(&format!("sys/devices/pci0000:00/{address}/driver_override"), "ixgbe\n");
            }
            let before = fake.snapshot();
            fake.fail_at(number, Failure::Killed);
            let killed = bind(&fake, &request);
            let writes = fake.writes();
            fake.heal();
            // By address, as an interface is gone by then.
            let mut again = request.clone();
            again
                .functions
                .iter_mut()
                .filter(|name| *name == "eth0")
                .for_each(|name| *name = "03:00.0".to_owned());
            bind(&fake, &again).unwrap();
            let unbind = UnbindRequest { persist: true, ..UnbindRequest::default() };
            plan_unbind(&fake, &unbind).unwrap().carry_out(&fake).unwrap();
            fake.set_limits(100, "8388608", "8388608");
            fake.assert_as(&before, &format!("killed at write {number} of {request:?}"));
            if writes <= number {
                killed.unwrap();
                break;
            }
            number += 1;
        }
        assert!(number >= 4, "only {number} writes for {request:?}");
    }
}

#[test]
fn binding_what_is_bound_changes_only_what_differs_and_keeps_what_was_remembered() {
    let fake = Fake::new();
    bind(&fake, &for_ada(&["03:00.0"])).unwrap();
    assert_eq!(bind(&fake, &for_ada(&["03:00.0"])).unwrap().done, Vec::<String>::new());
    let other = BindRequest { user: Some("1001".to_owned()), ..for_ada(&["03:00.0"]) };
    let done = bind(&fake, &other).unwrap().done;
    assert_eq!(done, ["write /run/ringway/0000:03:00.0", "give /dev/vfio/12 to user 1001 (mode 0600)"]);
    assert!(fake.read("run/ringway/0000:03:00.0").unwrap().contains("driver=ixgbe\n"));
}

#[test]
fn a_group_is_taken_whole_but_for_its_bridge() {
    let fake = Fake::new();
    let outcome = bind(&fake, &BindRequest { group: true, ..for_ada(&["eth2"]) }).unwrap();
    for address in ["0000:04:00.0", "0000:04:00.1", "0000:04:00.2"] {
        assert_eq!(fake.driver(address).as_deref(), Some("vfio-pci"), "{address}");
    }
    assert_eq!(fake.driver("0000:00:1c.0").as_deref(), Some("pcieport"));
    let record = fake.read("run/ringway/0000:04:00.2").unwrap();
    assert!(
        record.contains("driver=snd_hda_intel") && record.contains("companion-of=0000:04:00.0"),
        "{record}"
    );
    let told = "0000:04:00.2 (multimedia device) comes along: it is in the same IOMMU group";
    assert!(outcome.notes.iter().any(|note| note == told), "{:?}", outcome.notes);
}

#[test]
fn members_of_a_group_named_together_need_no_group_option() {
    let fake = Fake::empty();
    fake.add_driver("ixgbe");
    fake.add("0000:04:00.0", 0x8086, 0x10fb, 0x02_0000, Some(14), Some("ixgbe"), true);
    fake.add("0000:04:00.1", 0x8086, 0x10fb, 0x02_0000, Some(14), Some("ixgbe"), true);
    bind(&fake, &for_ada(&["04:00.0", "04:00.1"])).unwrap();
    assert_eq!(fake.driver("0000:04:00.1").as_deref(), Some("vfio-pci"));
}

#[test]
fn the_limit_is_raised_for_the_nearest_process_of_the_user_and_never_lowered() {
    let fake = Fake::new();
    fake.process(150, "sh", 100, 1000);
    // It belongs to who ran it, with the rights of root: no shell of ada's.
    fake.process_with_rights(200, "sudo", 150, 1000, 0);
    let outcome = bind(&fake, &for_ada(&["03:00.0"])).unwrap();
    assert!(fake.read("proc/150/limits").unwrap().contains("67108864"));
    assert!(!fake.read("proc/100/limits").unwrap().contains("67108864"));
    let note =
        "locked memory: process 150 (sh) of ada, and what it starts from now on, may lock 64 MiB (was 8 MiB)";
    assert!(outcome.notes.iter().any(|told| told == note), "{:?}", outcome.notes);

    let fake = Fake::new();
    fake.set_limits(100, "134217728", "unlimited");
    let outcome = bind(&fake, &for_ada(&["03:00.0"])).unwrap();
    assert!(!outcome.done.iter().any(|step| step.contains("limit")), "{:?}", outcome.done);
    let outcome = bind(&fake, &BindRequest { memlock: None, ..for_ada(&["03:00.0"]) }).unwrap();
    assert_eq!(outcome.done, ["set the locked-memory limit of process 100 (bash) to unlimited"]);
}

#[test]
fn without_a_process_of_the_user_the_line_for_the_limits_file_is_told() {
    let fake = Fake::new();
    fake.process(100, "bash", 1, 0);
    let outcome = bind(&fake, &for_ada(&["03:00.0"])).unwrap();
    let told =
        outcome.notes.iter().any(|note| note.contains("`ada - memlock 65536` in /etc/security/limits.d/"));
    assert!(told, "{:?}", outcome.notes);
    let outcome = bind(&fake, &BindRequest { persist: true, ..for_ada(&["03:00.0"]) }).unwrap();
    let told =
        outcome.notes.iter().any(|note| note.ends_with("the limits file holds from the next login on"));
    assert!(told, "{:?}", outcome.notes);
}

#[test]
fn a_container_node_closed_to_users_is_opened_to_all() {
    let fake = Fake::new();
    fake.with_module("vfio-pci");
    fake.set_owner("/dev/vfio/vfio", 0, 0o660);
    bind(&fake, &for_ada(&["03:00.0"])).unwrap();
    assert_eq!(fake.owner("/dev/vfio/vfio"), Some(Ownership { user: 0, mode: 0o666 }));
}

#[test]
fn a_lasting_binding_writes_a_rule_for_each_function_and_a_limit_for_the_user() {
    let fake = Fake::new();
    bind(&fake, &BindRequest { persist: true, ..for_ada(&["03:00.0", "03:00.1"]) }).unwrap();
    let rule = fake.read("etc/udev/rules.d/70-ringway-0000:03:00.0.rules").unwrap();
    for part in [
        "#: driver=ixgbe\n",
        "KERNEL==\"0000:03:00.0\", ATTR{vendor}==\"0x8086\", ATTR{device}==\"0x10fb\"",
        "ATTR{driver_override}=\"vfio-pci\"",
        "TEST==\"/sys/kernel/iommu_groups/%k/devices/0000:03:00.0\", OWNER=\"1000\"",
    ] {
        assert!(rule.contains(part), "{part} in {rule}");
    }
    assert!(fake.read("etc/udev/rules.d/70-ringway-0000:03:00.1.rules").is_some());
    let limits = fake.read("etc/security/limits.d/90-ringway-1000.conf").unwrap();
    assert!(limits.ends_with("\nada - memlock 65536\n"), "{limits}");
}

#[test]
fn a_lasting_limit_is_never_lowered_by_a_later_binding() {
    let fake = Fake::new();
    let limits = |fake: &Fake| fake.read("etc/security/limits.d/90-ringway-1000.conf").unwrap();
    let request = |name, memlock| BindRequest { persist: true, memlock, ..for_ada(&[name]) };
    bind(&fake, &request("03:00.0", Some(4 << 30))).unwrap();
    bind(&fake, &request("03:00.1", Some(1 << 30))).unwrap();
    assert!(limits(&fake).ends_with("\nada - memlock 4194304\n"), "{}", limits(&fake));
    bind(&fake, &request("03:00.1", None)).unwrap();
    bind(&fake, &request("03:00.1", Some(1 << 30))).unwrap();
    assert!(limits(&fake).ends_with("\nada - memlock unlimited\n"), "{}", limits(&fake));
    // What isn't a limit is no reason to fail, or to be kept.
    fake.put("etc/security/limits.d/90-ringway-1000.conf", "ada - memlock much\n");
    bind(&fake, &request("03:00.1", Some(1 << 30))).unwrap();
    assert!(limits(&fake).ends_with("\nada - memlock 1048576\n"), "{}", limits(&fake));
}

#[test]
fn a_rule_that_names_another_user_is_told() {
    let fake = Fake::new();
    bind(&fake, &BindRequest { persist: true, ..for_ada(&["03:00.0"]) }).unwrap();
    let bob = BindRequest { user: Some("1001".to_owned()), ..for_ada(&["03:00.0"]) };
    let told = |outcome: &Outcome| {
        outcome.notes.iter().any(|note| {
            note == "0000:03:00.0 goes back to user 1000 at the next boot, by \
                     /etc/udev/rules.d/70-ringway-0000:03:00.0.rules: bind with --persist to change that"
        })
    };
    let outcome = bind(&fake, &bob).unwrap();
    assert!(told(&outcome), "{outcome:?}");
    let outcome = bind(&fake, &for_ada(&["03:00.0"])).unwrap();
    assert!(!told(&outcome), "{outcome:?}");
}

#[test]
fn for_root_nothing_is_given_away_and_no_limit_is_touched() {
    let fake = Fake::new();
    for user in [None, Some("root".to_owned()), Some("0".to_owned())] {
        let outcome = bind(&fake, &BindRequest { user, ..for_ada(&["03:00.0"]) }).unwrap();
        assert_eq!(fake.owner("/dev/vfio/12"), Some(Ownership { user: 0, mode: 0o600 }));
        assert!(!outcome.done.iter().any(|step| step.contains("limit")), "{:?}", outcome.done);
        assert!(outcome.notes.iter().any(|note| note.contains("--user NAME")), "{:?}", outcome.notes);
    }
}
