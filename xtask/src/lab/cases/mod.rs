//! The cases, by subject. A case is a name, the configuration it needs, and a function.

mod binding;
mod boot;
mod bridge;
mod capture;
mod capture_tcpdump;
mod confinement;
mod doctor;
mod echo;
mod flows;
mod flows_tshark;
mod forward;
mod forward_offloads;
mod generate;
mod interrupts;
mod ixgbe_driver;
mod ixgbe_model;
mod ixgbe_offloads;
mod persist;
mod ports;
mod refusals;
mod restart;
mod revoked;
mod virtio_modes;

use anyhow::Result;

use super::configuration::Configuration;
use super::machine::Machine;
use super::plan::Plan;

/// One case.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// How it is called on the command line.
    pub name: &'static str,
    /// What it shows, in a few words.
    pub shows: &'static str,
    /// The guest it needs.
    pub configuration: Configuration,
    /// Does it. It leaves the NICs as it found them: with the kernel's own drivers.
    pub run: fn(&mut Machine) -> Result<()>,
}

/// A case that needs no guest: it runs on files, with the same programs.
#[derive(Clone, Copy, Debug)]
pub struct HostCase {
    /// How it is called on the command line.
    pub name: &'static str,
    /// What it shows, in a few words.
    pub shows: &'static str,
    /// Does it.
    pub run: fn(&Plan) -> Result<()>,
}

/// All cases that need no guest. They run first.
pub const ON_HOST: &[HostCase] = &[flows_tshark::CASE];

/// Beginnings of the names of cases that can't pass yet, because what they show isn't built. They are left out
/// unless they are asked for by name.
pub const WAITING: &[&str] = &[];

impl Case {
    /// Whether what it shows isn't built yet.
    pub fn waits(&self) -> bool {
        WAITING.iter().any(|start| self.name.starts_with(start))
    }
}

/// All cases, in the order in which they run.
pub fn all() -> Vec<Case> {
    let mut cases: Vec<Case> = [
        boot::CASES,
        bridge::CASES,
        capture::CASES,
        capture_tcpdump::CASES,
        forward::CASES,
        generate::CASES,
        echo::CASES,
        flows::CASES,
        ixgbe_model::CASES,
        ixgbe_offloads::CASES,
        ixgbe_driver::CASES,
        interrupts::CASES,
        forward_offloads::CASES,
        restart::CASES,
        revoked::CASES,
        virtio_modes::CASES,
        ports::CASES,
        binding::CASES,
        persist::CASES,
        doctor::CASES,
        refusals::CASES,
        confinement::CASES,
    ]
    .concat();
    // Cases of one configuration share a boot.
    cases.sort_by_key(|case| case.configuration);
    cases
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn no_two_cases_have_the_same_name() {
        let cases = all();
        let names: BTreeSet<&str> =
            cases.iter().map(|case| case.name).chain(ON_HOST.iter().map(|case| case.name)).collect();
        assert_eq!(names.len(), cases.len() + ON_HOST.len());
    }
}
